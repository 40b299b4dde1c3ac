//! What the agent reports: results of steps, patch runs, inventories.

use identifiers::{CommandId, JobId, Timestamp};
use packages::{Distribution, InstalledPackage, PackageKey};
use patching::PatchReport;
use serde::{Deserialize, Serialize};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Exit code 0, or a scan or installation that did what it should.
    Success,
    /// Anything else.
    Failed,
    /// Its time was over; the process tree was killed.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// It was not to be run.
    Skipped,
    /// The host lost power, or the agent's supervisor died, while it ran; it was not run again.
    Interrupted,
}

/// One step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// How it ended.
    pub status: StepStatus,
    /// The exit code; -1 where there is none.
    pub exit_code: i32,
    /// When it began; absent if it never did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Standard output, invalid UTF-8 replaced, cut to the agent's bound.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Whether standard output was cut.
    pub stdout_truncated: bool,
    /// Whether standard error was cut.
    pub stderr_truncated: bool,
}

/// A job's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// Which job.
    pub job_id: JobId,
    /// The command it belongs to.
    pub command_id: CommandId,
    /// Its steps, in order.
    pub steps: Vec<StepReport>,
    /// When the last step ended.
    pub finished_at: Timestamp,
}

/// What a scan or an installation found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchRunReport {
    /// Unique; a report that comes twice counts once. A UUID.
    pub report_id: String,
    /// The job it belongs to.
    pub job_id: JobId,
    /// The command it belongs to.
    pub command_id: CommandId,
    /// Summary, rows, notes.
    pub report: PatchReport,
    /// The digest of the inventory this report was made from.
    pub inventory_digest: String,
    /// Versions offered by the repositories for installed packages, with the versions' architectures: for their first sight.
    pub offered: Vec<OfferedVersion>,
}

/// A version that a repository offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedVersion {
    /// The binary package.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version.
    pub version: String,
}

/// What is installed: a delta against an inventory the server has, or, without one, everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryReport {
    /// When it was read.
    pub at: Timestamp,
    /// The command during which it was read, if any.
    pub command_id: Option<CommandId>,
    /// The host's distribution.
    pub distribution: Distribution,
    /// The digest of the inventory this is a delta against; absent: `present` is everything.
    pub from_digest: Option<String>,
    /// The digest of the inventory after it.
    pub to_digest: String,
    /// New and changed packages.
    pub present: Vec<InstalledPackage>,
    /// Packages that are gone.
    pub absent: Vec<PackageKey>,
}
