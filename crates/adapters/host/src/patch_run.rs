//! The run of one patch step, from refresh to report, across interruptions and reboots.

use crate::dpkg::Installed;
use crate::install::{EARLIER_BOUND, InstallContext, counted, finish_interrupted, install};
use crate::lock::PatchLock;
use crate::progress::{Progress, Stage, load_pending, save_pending, with_pending};
use crate::transaction::wait_for_earlier;
use crate::{HostError, HostReading, HostRoot, read_host, refresh};
use agent_wire::{OfferedVersion, PatchRunReport, PatchStep};
use identifiers::{CommandId, JobId, Timestamp};
use packages::Inventory;
use patching::{
    InstallResult, PatchOperation, PatchPlan, PatchReport, PatchState, PendingInstall, PlanNote, PlannedInstall,
    RebootDecision, RebootFacts, RebootPolicy, RunOutcome, assess, pending_installs, plan_patches, reboot_decision,
};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How long another patch operation on this node is waited for.
const LOCK_BOUND: Duration = Duration::from_secs(2 * 3600);
/// One run asks for no more reboots.
const REBOOTS_MAX: u32 = 2;
/// One run installs no more often: at first, after a reboot, and after interruptions.
const ROUNDS_MAX: u32 = 3;
/// So often a run that asked for a reboot asks again when it is resumed without one.
const REBOOTS_AWAITED_MAX: u32 = 3;

/// The surroundings of a run.
pub struct RunContext<'a> {
    /// The job it belongs to.
    pub job_id: &'a JobId,
    /// The command that belongs to.
    pub command_id: &'a CommandId,
    /// The id of the report to be made; another one for each call. A UUID.
    pub report_id: String,
    /// The job's folder, where progress and outputs are kept. Absolute.
    pub job_dir: &'a Path,
    /// The present boot's id.
    pub boot_id: &'a str,
    /// The clock.
    pub now: &'a dyn Fn() -> Timestamp,
    /// Whether an earlier attempt of this very step was begun: before a reboot, or before this process's predecessor died.
    pub resumed: bool,
    /// What "if needed" means for a reboot on this node.
    pub reboot_policy: RebootPolicy,
    /// The step's standard output, for people.
    pub log: &'a mut dyn Write,
    /// Whether the run was cancelled, or its time is over. A package transaction that runs then is allowed to finish.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchOutcome {
    /// The report, unless the run failed before anything was known. With [`PatchEnd::RebootWanted`] it is the state before
    /// the reboot; the next call makes the final one.
    pub report: Option<PatchRunReport>,
    /// What is installed, as the report saw it.
    pub inventory: Option<Inventory>,
    /// What keeps the report from being complete or current, as sentences; they are in the log too.
    pub warnings: Vec<String>,
    /// How it ended.
    pub end: PatchEnd,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchEnd {
    /// It did what it should; 1 if installations failed, else 0.
    Finished {
        /// The step's exit code.
        exit_code: i32,
    },
    /// The host is to be rebooted, then the step called again with `resumed`.
    RebootWanted {
        /// Why, as a sentence.
        reason: String,
    },
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
    /// It was cancelled.
    Cancelled,
}

/// Runs a patch step on a host.
///
/// Scan: refresh, read, plan, report. Install: refresh, read, plan, install, read again, report; then, by the reboot option
/// and policy, [`PatchEnd::RebootWanted`]: everything needed to go on is in the job's folder by then.
pub fn run_patch(host: &HostRoot, step: &PatchStep, context: RunContext<'_>) -> PatchOutcome {
    let mut run = Run { host, step, context, warnings: Vec::new(), made: None };
    let end = run.carry_out().unwrap_or_else(|error| match error {
        HostError::Cancelled => PatchEnd::Cancelled,
        error => PatchEnd::Failed { message: error.to_string() },
    });
    match &end {
        PatchEnd::Failed { message } => run.say(&format!("Failed: {message}")),
        PatchEnd::Cancelled => run.say("Cancelled."),
        PatchEnd::RebootWanted { .. } | PatchEnd::Finished { .. } => {}
    }
    let (mut report, inventory) =
        run.made.take().map_or((None, None), |(report, inventory)| (Some(report), Some(inventory)));
    if let Some(run_report) = &mut report {
        // What was wrong with the lists must be seen where the counts are seen.
        let warnings = run.warnings.iter().map(|text| PlanNote::HostWarning { text: text.clone() });
        run_report.report.notes.extend(warnings);
    }
    PatchOutcome { report, inventory, warnings: run.warnings, end }
}

struct Run<'h, 'c> {
    host: &'h HostRoot,
    step: &'h PatchStep,
    context: RunContext<'c>,
    warnings: Vec<String>,
    made: Option<(PatchRunReport, Inventory)>,
}

impl Run<'_, '_> {
    fn say(&mut self, line: &str) {
        // A log that cannot be written to must not stop a run.
        let _ = writeln!(self.context.log, "{line}");
    }

    fn now(&self) -> Timestamp {
        (self.context.now)()
    }

    fn carry_out(&mut self) -> Result<PatchEnd, HostError> {
        let installs = self.step.operation == PatchOperation::Install;
        if installs && !self.host.privileged {
            return Err(HostError::NotPrivileged);
        }
        let _lock = PatchLock::take(self.host, LOCK_BOUND, self.context.cancelled, self.context.log)?;
        if installs { self.install() } else { self.scan() }
    }

    fn scan(&mut self) -> Result<PatchEnd, HostError> {
        let started_at = self.now();
        if self.host.privileged {
            let apt = crate::apt::Apt::of_host(self.host)?;
            wait_for_earlier(&apt, EARLIER_BOUND, self.context.cancelled, self.context.log)?;
        }
        let reading = self.refresh_and_read()?;
        let plan = match self.plan(&reading) {
            Ok(plan) => plan,
            Err(end) => return Ok(end),
        };
        let pending = load_pending(self.host, self.context.boot_id)?;
        let report = self.report(&reading, &plan, started_at, &[], pending);
        self.say_report(&report);
        self.keep_report(report, reading);
        Ok(PatchEnd::Finished { exit_code: 0 })
    }

    fn install(&mut self) -> Result<PatchEnd, HostError> {
        let mut progress = self.begin_or_resume()?;
        if let Some(end) = self.reboot_still_awaited(&mut progress)? {
            return Ok(end);
        }
        let mut reading = self.refresh_and_read()?;
        let mut plan = match self.plan(&reading) {
            Ok(plan) => plan,
            Err(end) => return Ok(end),
        };
        let wanted: Vec<PlannedInstall> =
            plan.install.iter().filter(|planned| !progress.has_tried(planned)).cloned().collect();
        let mut cancelled = false;
        if !wanted.is_empty() && self.may_install(&progress) {
            cancelled = self.install_round(&mut progress, wanted, &plan.blocked)?;
            reading = self.read()?;
            plan = match self.plan(&reading) {
                Ok(plan) => plan,
                Err(end) => return Ok(end),
            };
        } else if progress.results.is_empty() {
            self.say("Nothing is to be installed.");
        }
        let decision = self.decide_reboot(&progress)?;
        let pending = self.remember_pending(&progress, &decision)?;
        let report = self.report(&reading, &plan, progress.started_at, &progress.results, pending);
        self.say_report(&report);
        let failed = report.summary.failed_count > 0;
        self.keep_report(report, reading);
        self.say(&format!("Decision: {}.", decision.reason));
        if decision.reboot && !cancelled {
            if progress.reboots < REBOOTS_MAX {
                progress.reboots += 1;
                progress.reboots_awaited = 0;
                progress.stage = Stage::Rebooting;
                progress.save(self.context.job_dir)?;
                return Ok(PatchEnd::RebootWanted { reason: decision.reason.to_string() });
            }
            self.say(&format!("This run has rebooted {REBOOTS_MAX} times already and does not ask again."));
        }
        progress.stage = Stage::Ended;
        progress.save(self.context.job_dir)?;
        Ok(if cancelled { PatchEnd::Cancelled } else { PatchEnd::Finished { exit_code: i32::from(failed) } })
    }

    /// A new run, or what an earlier attempt left, brought up to date: its transaction has ended, and what it installed is
    /// known.
    fn begin_or_resume(&mut self) -> Result<Progress, HostError> {
        let left = match self.context.resumed {
            true => Progress::load(self.context.job_dir, self.context.job_id)?,
            false => None,
        };
        self.settle()?;
        let installed = Installed::read(self.host)?;
        let Some(mut progress) = left else {
            let mut progress = Progress::begin(self.context.job_id, self.now(), self.context.boot_id);
            progress.before = snapshot(&installed);
            progress.save(self.context.job_dir)?;
            return Ok(progress);
        };
        self.say("Going on with a run that was begun earlier.");
        for planned in std::mem::take(&mut progress.in_flight) {
            if installed.has(&planned) && !progress.has_tried(&planned) {
                progress.results.push(result_of(&planned));
            }
        }
        if progress.boot_id != self.context.boot_id {
            progress.boot_id = self.context.boot_id.to_owned();
            progress.before = snapshot(&installed);
            progress.boot_results_from = progress.results.len();
            progress.stage = Stage::Installing;
        }
        progress.save(self.context.job_dir)?;
        Ok(progress)
    }

    /// Waits for a package transaction that outlived its run, and lets dpkg finish what was interrupted.
    fn settle(&mut self) -> Result<(), HostError> {
        let context = InstallContext {
            job_dir: self.context.job_dir,
            log: self.context.log,
            cancelled: self.context.cancelled,
            on_results: &mut |_| Ok(()),
        };
        finish_interrupted(self.host, context)
    }

    /// A run that asked for a reboot and finds itself in the same boot asks again, but not for ever.
    fn reboot_still_awaited(&mut self, progress: &mut Progress) -> Result<Option<PatchEnd>, HostError> {
        if progress.stage != Stage::Rebooting {
            return Ok(None);
        }
        progress.reboots_awaited += 1;
        if progress.reboots_awaited < REBOOTS_AWAITED_MAX {
            progress.save(self.context.job_dir)?;
            return Ok(Some(PatchEnd::RebootWanted { reason: "reboot: asked for earlier, not done yet".to_owned() }));
        }
        progress.stage = Stage::Ended;
        progress.save(self.context.job_dir)?;
        let reading = self.read()?;
        if let Ok(plan) = self.plan(&reading) {
            let pending = load_pending(self.host, self.context.boot_id)?;
            let report = self.report(&reading, &plan, progress.started_at, &progress.results, pending);
            self.keep_report(report, reading);
        }
        let message = format!("a reboot was asked for {REBOOTS_AWAITED_MAX} times and has not happened");
        Ok(Some(PatchEnd::Failed { message }))
    }

    /// After a reboot one further round is allowed, after interruptions a few.
    fn may_install(&mut self, progress: &Progress) -> bool {
        let may = progress.rounds < ROUNDS_MAX && progress.reboots < REBOOTS_MAX;
        if !may {
            self.say("This run has installed often enough; what is still missing is left to the next one.");
        }
        may
    }

    /// Installs; whether it was cancelled.
    fn install_round(
        &mut self,
        progress: &mut Progress,
        wanted: Vec<PlannedInstall>,
        blocked: &[String],
    ) -> Result<bool, HostError> {
        self.say(&format!("To be installed: {}.", counted(wanted.len(), "package")));
        for planned in &wanted {
            self.say(&format!("  {} {} {} -> {}", planned.name, planned.architecture, planned.from, planned.to));
        }
        progress.rounds += 1;
        progress.in_flight.clone_from(&wanted);
        progress.save(self.context.job_dir)?;
        let earlier: Vec<InstallResult> = progress.results.clone();
        let job_dir = self.context.job_dir;
        let mut keep = |results: &[InstallResult]| {
            progress.results = earlier.iter().chain(results).cloned().collect();
            progress.save(job_dir)
        };
        let context =
            InstallContext { job_dir, log: self.context.log, cancelled: self.context.cancelled, on_results: &mut keep };
        let outcome = install(self.host, &wanted, blocked, context)?;
        progress.in_flight.clear();
        progress.save(job_dir)?;
        for change in &outcome.changed {
            let from = change.from.as_deref().unwrap_or("not installed");
            self.say(&format!("Changed: {} {} {from} -> {}", change.key.name, change.key.architecture, change.to));
        }
        Ok(outcome.cancelled)
    }

    fn decide_reboot(&self, progress: &Progress) -> Result<RebootDecision, HostError> {
        let installed = Installed::read(self.host)?;
        let before: std::collections::BTreeMap<_, _> =
            progress.before.iter().map(|(key, version)| (key, version.as_str())).collect();
        let changed = installed.versions().filter(|(key, version)| before.get(key) != Some(version));
        let is_pending = |install: &PendingInstall| {
            let found = installed.find(&install.key.name, &install.key.architecture);
            found.is_some_and(|(version, _)| version == install.version)
        };
        let facts = RebootFacts {
            installed_any: progress.results_of_boot().iter().any(|result| result.failure.is_none()),
            pending_any: load_pending(self.host, self.context.boot_id)?.iter().any(is_pending),
            reboot_required_file: self.host.path("run/reboot-required").exists(),
            changed_packages: changed.map(|(key, _)| key.name.clone()).collect(),
        };
        Ok(reboot_decision(self.step.reboot_option, self.context.reboot_policy, &facts))
    }

    fn remember_pending(
        &self,
        progress: &Progress,
        decision: &RebootDecision,
    ) -> Result<Vec<PendingInstall>, HostError> {
        let boot_id = self.context.boot_id;
        let new = pending_installs(progress.results_of_boot(), self.step.reboot_option, decision, boot_id);
        let pending = with_pending(load_pending(self.host, boot_id)?, new);
        save_pending(self.host, &pending)?;
        Ok(pending)
    }

    fn refresh_and_read(&mut self) -> Result<HostReading, HostError> {
        self.say("Refreshing the package lists.");
        let refreshed = refresh(self.host, self.now(), false, self.context.cancelled)?;
        let at = refreshed.at.map(Timestamp::to_human).unwrap_or_else(|| "never".to_owned());
        if refreshed.skipped {
            self.say(&format!("They are young: refreshed at {at}."));
        }
        if let Some(words) = &refreshed.failure {
            self.warn(format!(
                "the package lists could not be refreshed (last success: {at}), so the old ones are used: {words}"
            ));
        }
        for warning in refreshed.warnings {
            self.warn(format!("apt: {warning}"));
        }
        if (self.context.cancelled)() {
            return Err(HostError::Cancelled);
        }
        let reading = self.read();
        match (reading, refreshed.failure) {
            (Err(HostError::NoPackageLists { folder, .. }), Some(words)) => {
                Err(HostError::NoPackageLists { folder, hint: format!("; refreshing them failed: {words}") })
            }
            (reading, _) => reading,
        }
    }

    fn read(&mut self) -> Result<HostReading, HostError> {
        let reading = read_host(self.host, self.now())?;
        for warning in &reading.warnings {
            if !self.warnings.contains(warning) {
                self.warn(warning.clone());
            }
        }
        Ok(reading)
    }

    fn warn(&mut self, warning: String) {
        self.say(&format!("Warning: {warning}"));
        self.warnings.push(warning);
    }

    fn plan(&mut self, reading: &HostReading) -> Result<PatchPlan, PatchEnd> {
        let state = &reading.state;
        plan_patches(&self.step.baseline, &state.inventory.distribution, &state.packages, self.now())
            .map_err(|refused| PatchEnd::Failed { message: refused.to_string() })
    }

    fn report(
        &self,
        reading: &HostReading,
        plan: &PatchPlan,
        started_at: Timestamp,
        installs: &[InstallResult],
        pending: Vec<PendingInstall>,
    ) -> PatchReport {
        let outcome = RunOutcome {
            operation: self.step.operation,
            baseline_id: self.step.baseline.id.clone(),
            patch_group: self.step.patch_group.clone(),
            snapshot_id: self.step.snapshot_id.clone(),
            reboot_option: self.step.reboot_option,
            started_at,
            ended_at: self.now(),
            installs: installs.to_vec(),
            pending,
            boot_id: self.context.boot_id.to_owned(),
            installed_at: reading.installed_at.clone(),
        };
        assess(plan, &outcome)
    }

    fn keep_report(&mut self, report: PatchReport, reading: HostReading) {
        let offered = reading.state.packages.iter().filter_map(|package| {
            let update = package.update.as_ref()?;
            Some(OfferedVersion {
                name: package.installed.name.clone(),
                architecture: update.architecture.clone(),
                version: update.version.clone(),
            })
        });
        let made = PatchRunReport {
            report_id: self.context.report_id.clone(),
            job_id: self.context.job_id.clone(),
            command_id: self.context.command_id.clone(),
            report,
            inventory_digest: reading.state.inventory.digest(),
            offered: offered.collect(),
        };
        self.made = Some((made, reading.state.inventory));
    }

    fn say_report(&mut self, report: &PatchReport) {
        for (state, title) in [
            (PatchState::Missing, "Missing"),
            (PatchState::Failed, "Failed"),
            (PatchState::InstalledPendingReboot, "Installed, waiting for a reboot"),
            (PatchState::InstalledRejected, "Installed although rejected and blocked"),
        ] {
            let rows: Vec<_> = report.rows.iter().filter(|row| row.state == state).collect();
            if rows.is_empty() {
                continue;
            }
            self.say(&format!("{title}:"));
            for row in rows {
                let what = match &row.available_version {
                    Some(available) if row.state != PatchState::InstalledPendingReboot => {
                        format!("{} -> {available}", row.installed_version)
                    }
                    _ => row.installed_version.clone(),
                };
                self.say(&format!("  {} {} {what} ({})", row.name, row.architecture, row.reason));
            }
        }
        let left = report.rows.iter().filter(|row| !row.state.is_non_compliant() && row.available_version.is_some());
        let left: Vec<String> = left.map(|row| format!("  {} ({})", row.name, row.reason)).collect();
        if !left.is_empty() {
            self.say("Newer versions that are left alone:");
            left.iter().for_each(|line| self.say(line));
        }
        for note in &report.notes {
            self.say(&format!("Note: {note}"));
        }
        let s = &report.summary;
        self.say(&format!(
            "{}: {} missing, {} failed, {} installed, {} waiting for a reboot, {} rejected, {} other.",
            s.operation,
            s.missing_count,
            s.failed_count,
            s.installed_count,
            s.installed_pending_reboot_count,
            s.installed_rejected_count,
            s.installed_other_count
        ));
    }
}

fn snapshot(installed: &Installed) -> Vec<(packages::PackageKey, String)> {
    installed.versions().map(|(key, version)| (key.clone(), version.to_owned())).collect()
}

fn result_of(planned: &PlannedInstall) -> InstallResult {
    let key = packages::PackageKey { name: planned.name.clone(), architecture: planned.architecture.clone() };
    InstallResult { key, version: planned.to.clone(), failure: None }
}
