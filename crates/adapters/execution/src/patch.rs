use agent_wire::{PatchRunReport, PatchStep};
use identifiers::{CommandId, JobId};
use packages::Inventory;
use std::io::Write;
use std::path::Path;

/// Why a running step is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The job was cancelled.
    Cancelled,
    /// The step's time is over.
    TimedOut,
}

/// What runs patch steps: the host's package manager, in the supervisor's own process.
pub trait PatchRunner {
    /// Scans or installs. It asks `run.stop` between its phases and never in the middle of a package transaction.
    fn run_patch(&mut self, step: &PatchStep, run: &mut PatchRun<'_>) -> PatchOutcome;
}

/// One attempt at a patch step.
pub struct PatchRun<'a> {
    /// The job it belongs to.
    pub job_id: &'a JobId,
    /// The command it belongs to.
    pub command_id: &'a CommandId,
    /// A folder of this step alone, where an attempt may leave what the next one needs. Absolute if the journal's is.
    pub step_path: &'a Path,
    /// The present boot.
    pub boot_id: &'a str,
    /// The id for this attempt's report: a fresh UUID.
    pub report_id: String,
    /// Whether an earlier attempt ended in a reboot it had asked for.
    pub rebooted: bool,
    /// Whether an earlier attempt was interrupted: assess before doing anything.
    pub resumed: bool,
    /// Whether, and why, to end at the next point where that does no harm.
    pub stop: &'a dyn Fn() -> Option<Stop>,
    /// What the step says: its standard output.
    pub stdout: &'a mut dyn Write,
}

/// What a patch step found and did.
pub struct PatchOutcome {
    /// The report, unless it failed before there was anything to report.
    pub report: Option<PatchRunReport>,
    /// What is installed now, if that was read.
    pub inventory: Option<Inventory>,
    /// How it ended.
    pub end: PatchEnd,
}

/// How an attempt at a patch step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchEnd {
    /// It came to its end.
    Finished {
        /// The step's exit code; 0 if all went well.
        exit_code: i32,
    },
    /// It goes on after a reboot, which it does not perform itself.
    RebootWanted {
        /// Why a reboot is wanted, for the log.
        reason: String,
    },
    /// It ended early because `stop` said so.
    Stopped,
    /// It did not do what it should.
    Failed {
        /// Why, for the step's standard error.
        reason: String,
    },
}
