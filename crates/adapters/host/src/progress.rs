//! What must outlive this process: how far an installation has come, and what waits for a reboot.

use crate::files::{make_folder, read_if_there, write_durably};
use crate::{HostError, HostRoot};
use identifiers::{JobId, Timestamp};
use packages::PackageKey;
use patching::{InstallResult, PendingInstall, PlannedInstall};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It installs, or is about to.
    Installing,
    /// It has asked for a reboot.
    Rebooting,
    /// It has ended.
    Ended,
}

/// An Install run, in `patch-progress.json` of its job's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) job_id: JobId,
    pub(crate) started_at: Timestamp,
    pub(crate) stage: Stage,
    /// The boot that `before` and `boot_results_from` belong to.
    pub(crate) boot_id: String,
    /// What was installed when the run, or this boot of it, began.
    pub(crate) before: Vec<(PackageKey, String)>,
    /// What this round installs, until its results are all in.
    pub(crate) in_flight: Vec<PlannedInstall>,
    /// The results so far.
    pub(crate) results: Vec<InstallResult>,
    /// How many of the results are of earlier boots.
    pub(crate) boot_results_from: usize,
    /// How often packages were installed.
    pub(crate) rounds: u32,
    /// How many reboots it has asked for.
    pub(crate) reboots: u32,
    /// How often it was resumed without the reboot having happened.
    pub(crate) reboots_awaited: u32,
}

impl Progress {
    const FILE: &'static str = "patch-progress.json";

    pub(crate) fn begin(job_id: &JobId, now: Timestamp, boot_id: &str) -> Self {
        Self {
            job_id: job_id.clone(),
            started_at: now,
            stage: Stage::Installing,
            boot_id: boot_id.to_owned(),
            before: Vec::new(),
            in_flight: Vec::new(),
            results: Vec::new(),
            boot_results_from: 0,
            rounds: 0,
            reboots: 0,
            reboots_awaited: 0,
        }
    }

    /// What an earlier attempt of this job left; `None` if it left nothing, or nothing that can be read.
    pub(crate) fn load(job_dir: &Path, job_id: &JobId) -> Result<Option<Self>, HostError> {
        let path = job_dir.join(Self::FILE);
        let file = read_if_there(&path).map_err(HostError::file(&path))?;
        let progress: Option<Self> = file.and_then(|file| serde_json::from_slice(&file).ok());
        Ok(progress.filter(|progress| progress.job_id == *job_id))
    }

    pub(crate) fn save(&self, job_dir: &Path) -> Result<(), HostError> {
        make_folder(job_dir)?;
        write_durably(&job_dir.join(Self::FILE), &serde_json::to_vec(self).unwrap_or_default())
    }

    /// The results of the present boot.
    pub(crate) fn results_of_boot(&self) -> &[InstallResult] {
        self.results.get(self.boot_results_from..).unwrap_or_default()
    }

    /// Whether a version was already tried in this run, with or without success.
    pub(crate) fn has_tried(&self, planned: &PlannedInstall) -> bool {
        self.results.iter().any(|result| {
            result.key.name == planned.name
                && result.key.architecture == planned.architecture
                && result.version == planned.to
        })
    }
}

/// Where what waits for a reboot is kept, across runs: in the state folder.
const PENDING_FILE: &str = "installed-since-boot.json";

/// What earlier runs installed in this boot and a reboot must follow.
pub(crate) fn load_pending(host: &HostRoot, boot_id: &str) -> Result<Vec<PendingInstall>, HostError> {
    let path = host.state_dir.join(PENDING_FILE);
    let file = read_if_there(&path).map_err(HostError::file(&path))?;
    let all: Vec<PendingInstall> = file.and_then(|file| serde_json::from_slice(&file).ok()).unwrap_or_default();
    Ok(all.into_iter().filter(|install| install.boot_id == boot_id).collect())
}

/// Keeps what waits for a reboot; each package counts once, in its newest version.
pub(crate) fn save_pending(host: &HostRoot, pending: &[PendingInstall]) -> Result<(), HostError> {
    make_folder(&host.state_dir)?;
    write_durably(&host.state_dir.join(PENDING_FILE), &serde_json::to_vec(pending).unwrap_or_default())
}

/// Adds installations to those that wait already.
pub(crate) fn with_pending(mut pending: Vec<PendingInstall>, new: Vec<PendingInstall>) -> Vec<PendingInstall> {
    pending.retain(|old| !new.iter().any(|install| install.key == old.key));
    pending.extend(new);
    pending
}
