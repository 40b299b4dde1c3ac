//! Whether a patch is missing. The decision is in one function, `decide`, below.
//!
//! It follows the order that Patch Manager documents for Linux: global filters, approval rules, approved patches,
//! rejected patches. What it needs to know of one version is asked in `Approval::verdict`.
//!
//! For apt there are no release dates, so `ApproveAfterDays` and `ApproveUntilDate` have no effect (a note says so), and a
//! version counts as a security update if a security archive offers exactly that version ([`packages::Archive`]).
//! AWS gives apt packages no classification; here it is `Security` for a security update and empty otherwise, so that
//! `SecurityNonCompliantCount` means something. The vendor's severity does not exist and stays empty.

use crate::{ApprovalRule, ComplianceLevel};
use crate::{Coverage, PatchBaseline, PatchFilter, PatchFilterKey, PatchState, Reason, RejectedPatchesAction};
use identifiers::Timestamp;
use packages::{
    Archive, AvailableUpdate, Distribution, HostPackage, InstallState, NotTaken, OperatingSystem, PackageKey,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// What should happen to the packages of one host, and why. Nothing has been done yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchPlan {
    /// The instant it was made for.
    pub planned_at: Timestamp,
    /// One for each installed package, sorted by name and architecture.
    pub decisions: Vec<PatchDecision>,
    /// What an Install run installs: exactly these versions. Sorted likewise.
    pub install: Vec<PlannedInstall>,
    /// Rejected and blocked: an Install run must change none of these, not even as dependencies. Sorted.
    pub blocked: Vec<String>,
    /// What whoever reads the plan should know besides.
    pub notes: Vec<PlanNote>,
}

/// The decision on one installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchDecision {
    /// The installed package.
    pub key: PackageKey,
    /// Its version.
    pub installed_version: String,
    /// How far its installation has come.
    pub install_state: InstallState,
    /// The newer version, if there is one, approved or not.
    pub available_version: Option<String>,
    /// What follows.
    pub state: PatchState,
    /// Why.
    pub reason: Reason,
    /// The rule that approves the missing or installed version, from 0; `None` if a list or nothing does.
    pub rule: Option<u32>,
    /// The compliance level of that approval.
    pub compliance_level: ComplianceLevel,
    /// `Security` if the missing or installed version comes from a security archive, else empty.
    pub classification: String,
    /// The vendor's severity; empty for apt, which has none.
    pub severity: String,
    /// Whether the missing or installed version comes from a security archive.
    pub security: bool,
}

/// One package to bring to one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedInstall {
    /// The binary package.
    pub name: String,
    /// The architecture of the installed package.
    pub architecture: String,
    /// The installed version.
    pub from: String,
    /// The approved version.
    pub to: String,
}

/// Something that a reader of the plan should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanNote {
    /// These rules (from 0) carry an approval delay or date, which has no effect for apt.
    ApprovalDatesIgnored {
        /// Which rules.
        rules: Vec<u32>,
    },
    /// The list of approved patches names packages that are not installed; patching updates and never adds.
    ApprovedButNotInstalled {
        /// The packages.
        names: Vec<String>,
    },
    /// dpkg has not finished with a package.
    NotFullyInstalled {
        /// Which.
        key: PackageKey,
        /// How far it has come.
        state: InstallState,
    },
    /// The host found something wrong with what the plan was made from, e.g. lists that could not be refreshed.
    HostWarning {
        /// What, as a sentence.
        text: String,
    },
}

impl std::fmt::Display for PlanNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApprovalDatesIgnored { rules } => {
                let numbers: Vec<String> = rules.iter().map(|rule| (rule + 1).to_string()).collect();
                write!(
                    f,
                    "approval delays and dates have no effect here, because apt archives carry no release dates (approval rule {})",
                    numbers.join(", ")
                )
            }
            Self::ApprovedButNotInstalled { names } => {
                write!(f, "approved by name but not installed, so not added: {}", names.join(", "))
            }
            Self::NotFullyInstalled { key, state } => {
                let state = state.as_str();
                write!(f, "{}:{}: dpkg has not finished installing it ({state})", key.name, key.architecture)
            }
            Self::HostWarning { text } => f.write_str(text),
        }
    }
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlanRefused {
    /// The host's distribution is none that patch baselines know.
    #[error("patching does not know the distribution '{id}'")]
    UnknownDistribution {
        /// `ID` of os-release.
        id: String,
    },
    /// The baseline is for another operating system.
    #[error("the patch baseline is for {baseline}, but this host is {host}")]
    WrongOperatingSystem {
        /// The baseline's.
        baseline: String,
        /// The host's.
        host: String,
    },
    /// Patching this operating system does not exist yet.
    #[error("patching {operating_system} is not supported yet")]
    NotSupportedYet {
        /// The operating system.
        operating_system: String,
    },
    /// The baseline replaces the node's repositories, which does not exist yet.
    #[error("the patch baseline's source '{name}' applies to this host, and alternative sources are not supported yet")]
    SourcesNotSupportedYet {
        /// The source.
        name: String,
    },
    /// A filter looks at something that packages of this kind do not have.
    #[error("the patch baseline filters by {key}, which packages of this operating system do not have")]
    FilterNotForThisSystem {
        /// The filter's key.
        key: PatchFilterKey,
    },
}

/// Decides for every installed package of a host whether a patch is missing, and what is to be installed.
///
/// The order of `packages` does not matter. Packages of which only configuration files are left are not installed and get
/// no decision.
///
/// # Errors
/// When this baseline cannot be planned for on this host.
pub fn plan_patches(
    baseline: &PatchBaseline,
    distribution: &Distribution,
    packages: &[HostPackage],
    now: Timestamp,
) -> Result<PatchPlan, PlanRefused> {
    let approval = Approval::new(baseline, distribution)?;
    let mut present: Vec<&HostPackage> =
        packages.iter().filter(|package| package.installed.state != InstallState::ConfigFiles).collect();
    present.sort_by(|a, b| a.installed.cmp(&b.installed));
    let decided: Vec<(PatchDecision, bool)> = present.iter().map(|package| decide(&approval, package)).collect();
    let install =
        decided.iter().filter(|(_, install)| *install).filter_map(|(decision, _)| planned(decision)).collect();
    let decisions: Vec<PatchDecision> = decided.into_iter().map(|(decision, _)| decision).collect();
    let blocked = match baseline.rejected_patches_action {
        RejectedPatchesAction::Block => baseline.rejected_patches.iter().cloned().collect::<BTreeSet<_>>(),
        RejectedPatchesAction::AllowAsDependency => BTreeSet::new(),
    };
    let notes = notes(baseline, &decisions);
    Ok(PatchPlan { planned_at: now, decisions, install, blocked: blocked.into_iter().collect(), notes })
}

/// Decides whether a patch is missing. The second value: whether an Install run installs it.
///
/// 1. A rejected package is never missing.
/// 2. It is missing if apt's candidate is newer than what is installed and the baseline approves that version. A hold
///    or a phased rollout keeps it from being installed, not from being missing.
/// 3. Otherwise it is installed, and the baseline covers the installed version or not. A newer version that a pin keeps
///    out is not apt's candidate, and so makes nothing missing.
fn decide(approval: &Approval<'_>, package: &HostPackage) -> (PatchDecision, bool) {
    if let Some(action) = approval.rejection(&package.installed.name) {
        let state = match action {
            RejectedPatchesAction::Block => PatchState::InstalledRejected,
            RejectedPatchesAction::AllowAsDependency => PatchState::InstalledOther,
        };
        return (decision(package, state, Reason::Rejected { action }, None, Version::Installed), false);
    }
    let candidate = package.update.as_ref().filter(|update| !matches!(update.not_taken, Some(NotTaken::Pinned { .. })));
    let Some(update) = candidate else { return (without_candidate(approval, package), false) };
    match approval.verdict(&Offer::update(package, update)) {
        Verdict::Approved(by) => {
            let held = package.installed.held || update.not_taken == Some(NotTaken::Held);
            let (reason, install) = match update.not_taken {
                _ if held => (Reason::Held, false),
                Some(NotTaken::Phased { percentage }) => (Reason::Phased { percentage }, false),
                _ => (by.reason(), true),
            };
            (decision(package, PatchState::Missing, reason, Some(by), Version::Update(update)), install)
        }
        Verdict::NotApproved(why) => (installed(approval, package, why.of_update()), false),
    }
}

/// Nothing newer that apt would take: the state follows from the installed version.
fn without_candidate(approval: &Approval<'_>, package: &HostPackage) -> PatchDecision {
    let pinned = package.update.as_ref().and_then(|update| update.not_taken.as_ref());
    let reason = match pinned {
        Some(NotTaken::Pinned { priority }) => Reason::Pinned { priority: *priority },
        _ if !fully_installed(package.installed.state) => Reason::NotFullyInstalled { state: package.installed.state },
        _ if package.archives.is_empty() => Reason::NotOfferedAnyMore,
        _ => Reason::UpToDate {
            coverage: match approval.verdict(&Offer::installed(package)) {
                Verdict::Approved(by) => by.coverage(),
                Verdict::NotApproved(why) => why.of_installed(),
            },
        },
    };
    installed(approval, package, reason)
}

/// INSTALLED if the baseline would approve the installed version, else INSTALLED_OTHER. A version that no archive offers
/// any more could not be approved.
fn installed(approval: &Approval<'_>, package: &HostPackage, reason: Reason) -> PatchDecision {
    match approval.verdict(&Offer::installed(package)) {
        Verdict::Approved(by) if !package.archives.is_empty() => {
            decision(package, PatchState::Installed, reason, Some(by), Version::Installed)
        }
        _ => decision(package, PatchState::InstalledOther, reason, None, Version::Installed),
    }
}

/// dpkg treats a package that waits for triggers as working (dpkg(1), "Package states").
pub(crate) fn fully_installed(state: InstallState) -> bool {
    matches!(state, InstallState::Installed | InstallState::TriggersAwaited | InstallState::TriggersPending)
}

/// Which version a decision is about.
enum Version<'a> {
    Installed,
    Update(&'a AvailableUpdate),
}

fn decision(
    package: &HostPackage,
    state: PatchState,
    reason: Reason,
    by: Option<ApprovedBy>,
    about: Version<'_>,
) -> PatchDecision {
    let security = match about {
        Version::Installed => package.archives.iter().any(Archive::is_security),
        Version::Update(update) => update.is_security(),
    };
    PatchDecision {
        key: PackageKey { name: package.installed.name.clone(), architecture: package.installed.architecture.clone() },
        installed_version: package.installed.version.clone(),
        install_state: package.installed.state,
        available_version: package.update.as_ref().map(|update| update.version.clone()),
        state,
        reason,
        rule: by.and_then(|by| by.rule),
        compliance_level: by.map(|by| by.compliance_level).unwrap_or_default(),
        classification: if security { "Security".to_owned() } else { String::new() },
        severity: String::new(),
        security,
    }
}

fn planned(decision: &PatchDecision) -> Option<PlannedInstall> {
    Some(PlannedInstall {
        name: decision.key.name.clone(),
        architecture: decision.key.architecture.clone(),
        from: decision.installed_version.clone(),
        to: decision.available_version.clone()?,
    })
}

fn notes(baseline: &PatchBaseline, decisions: &[PatchDecision]) -> Vec<PlanNote> {
    let mut notes = Vec::new();
    let dated =
        |rule: &ApprovalRule| rule.approve_after_days.is_some_and(|days| days > 0) || rule.approve_until_date.is_some();
    let rules: Vec<u32> =
        (0u32..).zip(&baseline.approval_rules).filter(|(_, rule)| dated(rule)).map(|(number, _)| number).collect();
    if !rules.is_empty() {
        notes.push(PlanNote::ApprovalDatesIgnored { rules });
    }
    let installed: BTreeSet<&str> = decisions.iter().map(|decision| decision.key.name.as_str()).collect();
    let absent: BTreeSet<&String> =
        baseline.approved_patches.iter().filter(|name| !installed.contains(name.as_str())).collect();
    if !absent.is_empty() {
        notes.push(PlanNote::ApprovedButNotInstalled { names: absent.into_iter().cloned().collect() });
    }
    notes.extend(
        decisions
            .iter()
            .filter(|decision| !fully_installed(decision.install_state))
            .map(|decision| PlanNote::NotFullyInstalled { key: decision.key.clone(), state: decision.install_state }),
    );
    notes
}

/// What filters can look at in one version of an apt package.
struct Offer<'a> {
    name: &'a str,
    section: &'a str,
    priority: &'a str,
    security: bool,
}

impl<'a> Offer<'a> {
    fn update(package: &'a HostPackage, update: &'a AvailableUpdate) -> Self {
        Self {
            name: &package.installed.name,
            section: &update.section,
            priority: &update.priority,
            security: update.is_security(),
        }
    }

    fn installed(package: &'a HostPackage) -> Self {
        Self {
            name: &package.installed.name,
            section: &package.installed.section,
            priority: &package.installed.priority,
            security: package.archives.iter().any(Archive::is_security),
        }
    }
}

/// What the baseline says of one version.
enum Verdict {
    Approved(ApprovedBy),
    NotApproved(NotApproved),
}

#[derive(Clone, Copy)]
struct ApprovedBy {
    /// `None`: the list of approved patches.
    rule: Option<u32>,
    compliance_level: ComplianceLevel,
}

impl ApprovedBy {
    fn reason(self) -> Reason {
        self.rule.map_or(Reason::ApprovedByList, |rule| Reason::ApprovedByRule { rule })
    }

    fn coverage(self) -> Coverage {
        self.rule.map_or(Coverage::ApprovedByList, |rule| Coverage::ApprovedByRule { rule })
    }
}

enum NotApproved {
    NotFromSecurityArchive,
    FilteredOut(PatchFilterKey),
    NoRuleMatches,
}

impl NotApproved {
    fn of_update(self) -> Reason {
        match self {
            Self::NotFromSecurityArchive => Reason::NotFromSecurityArchive,
            Self::FilteredOut(filter) => Reason::FilteredOut { filter },
            Self::NoRuleMatches => Reason::NoRuleMatches,
        }
    }

    fn of_installed(self) -> Coverage {
        match self {
            Self::NotFromSecurityArchive => Coverage::NotFromSecurityArchive,
            Self::FilteredOut(filter) => Coverage::FilteredOut { filter },
            Self::NoRuleMatches => Coverage::NoRuleMatches,
        }
    }
}

/// A baseline ready to be asked about the packages of one host.
struct Approval<'a> {
    baseline: &'a PatchBaseline,
    product: String,
    approved: BTreeSet<&'a str>,
    rejected: BTreeSet<&'a str>,
}

impl<'a> Approval<'a> {
    fn new(baseline: &'a PatchBaseline, distribution: &Distribution) -> Result<Self, PlanRefused> {
        let Some(host) = OperatingSystem::of(distribution) else {
            return Err(PlanRefused::UnknownDistribution { id: distribution.id.clone() });
        };
        if host != baseline.operating_system {
            return Err(PlanRefused::WrongOperatingSystem {
                baseline: baseline.operating_system.as_str().to_owned(),
                host: host.as_str().to_owned(),
            });
        }
        if !host.uses_apt() {
            return Err(PlanRefused::NotSupportedYet { operating_system: host.as_str().to_owned() });
        }
        let product = distribution.product();
        let applies = |products: &[String]| products.iter().any(|value| value == "*" || *value == product);
        if let Some(source) = baseline.sources.iter().find(|source| applies(&source.products)) {
            return Err(PlanRefused::SourcesNotSupportedYet { name: source.name.clone() });
        }
        let in_rules = baseline.approval_rules.iter().flat_map(|rule| &rule.filters);
        let known = [PatchFilterKey::Product, PatchFilterKey::Priority, PatchFilterKey::Section];
        if let Some(filter) = baseline.global_filters.iter().chain(in_rules).find(|filter| !known.contains(&filter.key))
        {
            return Err(PlanRefused::FilterNotForThisSystem { key: filter.key });
        }
        Ok(Self {
            baseline,
            product,
            approved: baseline.approved_patches.iter().map(String::as_str).collect(),
            rejected: baseline.rejected_patches.iter().map(String::as_str).collect(),
        })
    }

    fn rejection(&self, name: &str) -> Option<RejectedPatchesAction> {
        self.rejected.contains(name).then_some(self.baseline.rejected_patches_action)
    }

    /// Whether the baseline approves this version. Where several rules, or a rule and the list, approve it, the highest
    /// compliance level counts, and among equals the first rule: AWS does not say, and too loud is better than too quiet.
    fn verdict(&self, offer: &Offer<'_>) -> Verdict {
        let list = self
            .approved
            .contains(offer.name)
            .then_some(ApprovedBy { rule: None, compliance_level: self.baseline.approved_patches_compliance_level });
        let list_approves = list.filter(|_| self.baseline.approved_patches_enable_non_security || offer.security);
        let outside = self.baseline.global_filters.iter().find(|filter| !self.matches(filter, offer));
        let matching = || {
            let all = |rule: &ApprovalRule| rule.filters.iter().all(|filter| self.matches(filter, offer));
            (0u32..).zip(&self.baseline.approval_rules).filter(move |(_, rule)| outside.is_none() && all(rule))
        };
        let by_rules = matching()
            .filter(|(_, rule)| rule.enable_non_security || offer.security)
            .map(|(number, rule)| ApprovedBy { rule: Some(number), compliance_level: rule.compliance_level });
        let best = by_rules
            .chain(list_approves)
            .reduce(|best, next| if next.compliance_level > best.compliance_level { next } else { best });
        if let Some(by) = best {
            return Verdict::Approved(by);
        }
        Verdict::NotApproved(match outside {
            _ if list.is_some() || matching().next().is_some() => NotApproved::NotFromSecurityArchive,
            Some(filter) => NotApproved::FilteredOut(filter.key),
            None => NotApproved::NoRuleMatches,
        })
    }

    fn matches(&self, filter: &PatchFilter, offer: &Offer<'_>) -> bool {
        let any = |found: &str| filter.values.iter().any(|value| value == "*" || value.eq_ignore_ascii_case(found));
        match filter.key {
            PatchFilterKey::Product => any(&self.product),
            // Debian Policy 2.5: `optional` is the default, so it is what an absent priority means.
            PatchFilterKey::Priority => any(if offer.priority.is_empty() { "optional" } else { offer.priority }),
            PatchFilterKey::Section => any(offer.section),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
