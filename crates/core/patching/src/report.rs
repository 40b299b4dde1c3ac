//! What a run's report says: states after what was tried, rows, counts.
//!
//! AWS documents that an Install leaves no patch in the state Missing. Here what was not tried (held, phased, interrupted
//! before its turn, new since the run began) stays Missing with its reason, because Failed would be untrue.

use crate::plan::fully_installed;
use crate::{ComplianceLevel, PatchDecision, PatchOperation, PatchPlan, PatchState, PlanNote, Reason, RebootOption};
use identifiers::{BaselineId, Timestamp};
use packages::PackageKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happened in a run, for the report on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// What the run was to do.
    pub operation: PatchOperation,
    /// The baseline that governed it.
    pub baseline_id: BaselineId,
    /// The node's patch group; empty if it has none.
    pub patch_group: String,
    /// The snapshot id given with the command; empty if none.
    pub snapshot_id: String,
    /// What was allowed to follow.
    pub reboot_option: RebootOption,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What was tried in this run, with its result.
    pub installs: Vec<InstallResult>,
    /// What runs up to now have installed and what a reboot must follow ([`crate::pending_installs`]).
    pub pending: Vec<PendingInstall>,
    /// The present boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When packages were installed, where that is known.
    pub installed_at: Vec<(PackageKey, Timestamp)>,
}

/// One installation that a run tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallResult {
    /// The package.
    pub key: PackageKey,
    /// The version that should have been installed.
    pub version: String,
    /// What the package manager said where it failed; `None`: it reported success.
    pub failure: Option<String>,
}

/// An installation that a reboot must follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingInstall {
    /// The package.
    pub key: PackageKey,
    /// The version that was installed.
    pub version: String,
    /// The boot during which it was installed.
    pub boot_id: String,
}

/// What a run found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchReport {
    /// Its counts and circumstances.
    pub summary: PatchSummary,
    /// One row for each installed package, sorted by name and architecture.
    pub rows: Vec<PatchRow>,
    /// The plan's notes.
    pub notes: Vec<PlanNote>,
}

/// Counts and circumstances of a run (SSM model, `InstancePatchState`).
///
/// Not here, because always 0 for Linux: `AvailableSecurityUpdateCount`. Nor `NotApplicableCount`: what is not installed
/// is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSummary {
    /// What the run did.
    pub operation: PatchOperation,
    /// The baseline that governed it.
    pub baseline_id: BaselineId,
    /// The node's patch group; empty if it has none.
    pub patch_group: String,
    /// The snapshot id given with the command; empty if none.
    pub snapshot_id: String,
    /// What was allowed to follow.
    pub reboot_option: RebootOption,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// When an Install with NoReboot last ended on this node; kept from report to report by [`crate::record_report`].
    pub last_no_reboot_install_at: Option<Timestamp>,
    /// Approved and present.
    pub installed_count: u32,
    /// Present, not approved.
    pub installed_other_count: u32,
    /// Present, not rebooted since.
    pub installed_pending_reboot_count: u32,
    /// Present, rejected and blocked.
    pub installed_rejected_count: u32,
    /// Approved and absent.
    pub missing_count: u32,
    /// Tried in this run, failed.
    pub failed_count: u32,
    /// Non-compliant, with the compliance level CRITICAL. Overlaps with the next one.
    pub critical_non_compliant_count: u32,
    /// Non-compliant, with the classification Security.
    pub security_non_compliant_count: u32,
    /// Non-compliant, neither of the two.
    pub other_non_compliant_count: u32,
    /// What a reader of these counts should know.
    #[serde(default)]
    pub notes: Vec<PlanNote>,
}

/// The state of one package's patch after a run (SSM model, `PatchComplianceData`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRow {
    /// The binary package.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version that the row is about: the approved one where it is missing or failed, else the installed one.
    pub version: String,
    /// `Security` if that version comes from a security archive, else empty.
    pub classification: String,
    /// The vendor's severity; empty for apt, which has none.
    pub severity: String,
    /// The state.
    pub state: PatchState,
    /// When the installed version was installed; [`Timestamp::EPOCH`] if that is unknown or the patch is absent.
    pub installed_at: Timestamp,
    /// The compliance level of the approval.
    pub compliance_level: ComplianceLevel,
    /// Why it is in this state.
    pub reason: Reason,
    /// What is installed.
    pub installed_version: String,
    /// A newer version, if there is one, approved or not.
    pub available_version: Option<String>,
}

impl PatchRow {
    /// `name.arch`: the API's `KBId`, unique on one node.
    #[must_use]
    pub fn kb_id(&self) -> String {
        format!("{}.{}", self.name, self.architecture)
    }

    /// `name.arch:version`: the API's `Title`, which override lists match.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}.{}:{}", self.name, self.architecture, self.version)
    }
}

impl PatchSummary {
    /// How many patches keep the node from complying.
    #[must_use]
    pub fn non_compliant_count(&self) -> u32 {
        self.missing_count + self.failed_count + self.installed_rejected_count + self.installed_pending_reboot_count
    }
}

impl PatchReport {
    /// The highest compliance level among the patches that do not comply; UNSPECIFIED where all do.
    #[must_use]
    pub fn overall_severity(&self) -> ComplianceLevel {
        let failing = self.rows.iter().filter(|row| row.state.is_non_compliant());
        failing.map(|row| row.compliance_level).max().unwrap_or_default()
    }
}

/// Makes the report of a run from the plan made after it (for a Scan: the only plan).
#[must_use]
pub fn assess(plan_after: &PatchPlan, outcome: &RunOutcome) -> PatchReport {
    let installed_at: BTreeMap<&PackageKey, Timestamp> =
        outcome.installed_at.iter().map(|(key, at)| (key, *at)).collect();
    let tried: BTreeMap<&str, Vec<&InstallResult>> = by_name(&outcome.installs, |install| &install.key);
    let pending: Vec<&PendingInstall> =
        outcome.pending.iter().filter(|install| install.boot_id == outcome.boot_id).collect();
    let pending: BTreeMap<&str, Vec<&PendingInstall>> = by_name(pending, |install| &install.key);
    let rows: Vec<PatchRow> = plan_after
        .decisions
        .iter()
        .map(|decision| {
            let name = decision.key.name.as_str();
            let tried = tried.get(name).map(Vec::as_slice).unwrap_or_default();
            let pending = pending.get(name).map(Vec::as_slice).unwrap_or_default();
            let (state, reason) = state_after(decision, tried, pending);
            row(decision, state, reason, installed_at.get(&decision.key).copied())
        })
        .collect();
    PatchReport { summary: summarise(&rows, outcome), rows, notes: plan_after.notes.clone() }
}

fn by_name<'a, T>(
    items: impl IntoIterator<Item = &'a T>,
    name: impl Fn(&'a T) -> &'a PackageKey,
) -> BTreeMap<&'a str, Vec<&'a T>> {
    let mut map: BTreeMap<&'a str, Vec<&'a T>> = BTreeMap::new();
    for item in items {
        map.entry(name(item).name.as_str()).or_default().push(item);
    }
    map
}

/// The state after a run: what was tried in it may have failed, and what was installed may wait for a reboot.
fn state_after(
    decision: &PatchDecision,
    tried: &[&InstallResult],
    pending: &[&PendingInstall],
) -> (PatchState, Reason) {
    let failed = tried.iter().filter(|install| same_package(&decision.key, &install.key)).find_map(|install| {
        failure(decision, install).map(|message| (PatchState::Failed, Reason::InstallFailed { message }))
    });
    if let Some(failed) = failed {
        return failed;
    }
    let waits = matches!(decision.state, PatchState::Installed | PatchState::InstalledOther)
        && pending
            .iter()
            .any(|install| same_package(&decision.key, &install.key) && install.version == decision.installed_version);
    if waits {
        return (PatchState::InstalledPendingReboot, Reason::PendingReboot);
    }
    (decision.state, decision.reason.clone())
}

/// Why an installation counts as failed; `None` if it does not.
///
/// It failed if the package manager said so and the patch is still missing or dpkg has not finished with it; and if it is
/// still missing at the very version that the package manager said it installed.
fn failure(decision: &PatchDecision, install: &InstallResult) -> Option<String> {
    let missing = decision.state == PatchState::Missing;
    let unfinished = decision.installed_version == install.version && !fully_installed(decision.install_state);
    match &install.failure {
        Some(message) if missing || unfinished => Some(message.clone()),
        None if missing && decision.available_version.as_deref() == Some(install.version.as_str()) => Some(format!(
            "the package manager reported success, but version {} is still installed",
            decision.installed_version
        )),
        _ => None,
    }
}

/// Whether two keys are one package although its architecture may have changed to or from `all` with its version.
fn same_package(a: &PackageKey, b: &PackageKey) -> bool {
    a.name == b.name && (a.architecture == b.architecture || a.architecture == "all" || b.architecture == "all")
}

fn row(decision: &PatchDecision, state: PatchState, reason: Reason, installed_at: Option<Timestamp>) -> PatchRow {
    let absent = matches!(state, PatchState::Missing | PatchState::Failed);
    let version = match &decision.available_version {
        Some(available) if absent && decision.state == PatchState::Missing => available.clone(),
        _ => decision.installed_version.clone(),
    };
    PatchRow {
        name: decision.key.name.clone(),
        architecture: decision.key.architecture.clone(),
        version,
        classification: decision.classification.clone(),
        severity: decision.severity.clone(),
        state,
        installed_at: installed_at.filter(|_| !absent).unwrap_or(Timestamp::EPOCH),
        compliance_level: decision.compliance_level,
        reason,
        installed_version: decision.installed_version.clone(),
        available_version: decision.available_version.clone(),
    }
}

fn summarise(rows: &[PatchRow], outcome: &RunOutcome) -> PatchSummary {
    let count = |wanted: &dyn Fn(&PatchRow) -> bool| {
        u32::try_from(rows.iter().filter(|row| wanted(row)).count()).unwrap_or(u32::MAX)
    };
    let in_state = |state: PatchState| count(&|row| row.state == state);
    let critical = |row: &PatchRow| row.compliance_level == ComplianceLevel::Critical;
    let security = |row: &PatchRow| row.classification == "Security";
    let no_reboot_install =
        outcome.operation == PatchOperation::Install && outcome.reboot_option == RebootOption::NoReboot;
    PatchSummary {
        notes: Vec::new(),
        operation: outcome.operation,
        baseline_id: outcome.baseline_id.clone(),
        patch_group: outcome.patch_group.clone(),
        snapshot_id: outcome.snapshot_id.clone(),
        reboot_option: outcome.reboot_option,
        started_at: outcome.started_at,
        ended_at: outcome.ended_at,
        last_no_reboot_install_at: no_reboot_install.then_some(outcome.ended_at),
        installed_count: in_state(PatchState::Installed),
        installed_other_count: in_state(PatchState::InstalledOther),
        installed_pending_reboot_count: in_state(PatchState::InstalledPendingReboot),
        installed_rejected_count: in_state(PatchState::InstalledRejected),
        missing_count: in_state(PatchState::Missing),
        failed_count: in_state(PatchState::Failed),
        critical_non_compliant_count: count(&|row| row.state.is_non_compliant() && critical(row)),
        security_non_compliant_count: count(&|row| row.state.is_non_compliant() && security(row)),
        other_non_compliant_count: count(&|row| row.state.is_non_compliant() && !critical(row) && !security(row)),
    }
}

#[cfg(test)]
mod tests;
