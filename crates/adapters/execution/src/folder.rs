use crate::{ExecutionError, JobState, durable};
use agent_wire::{Job, JobReport, Order, OrderBody, PatchRunReport, SignedOrder};
use identifiers::{JobId, NodeId};
use packages::Inventory;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No file of ours that is read whole is larger.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What a job's scripts are told of the node (their environment), written beside the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobContext {
    /// `AWS_SSM_INSTANCE_ID`.
    pub node_id: NodeId,
    /// `AWS_SSM_REGION_NAME`.
    pub region: String,
    /// `AWS_SSM_PLATFORM_NAME`.
    pub platform_name: String,
    /// `AWS_SSM_PLATFORM_VERSION`.
    pub platform_version: String,
    /// The command that reboots the host, for messages; the agent runs it.
    pub reboot_command: String,
}

/// One job's folder.
///
/// `order.json`, `context.json`: written by the agent before the job exists. `state.json`, `result.json`, `steps/`:
/// written by whoever holds `lock`. `cancel`, `reboot_failed`: left by the agent for the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFolder {
    path: PathBuf,
}

/// The right to change a job's state; ends with the value or its process, whichever is first.
#[derive(Debug)]
pub struct JobLock(#[allow(dead_code, reason = "held, not read: closing the file gives the lock back")] File);

impl JobFolder {
    /// The folder at `path`; nothing is read or made.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The order as it was signed.
    ///
    /// # Errors
    /// When it cannot be read or is no order.
    pub fn signed_order(&self) -> Result<SignedOrder, ExecutionError> {
        self.wanted("order.json")
    }

    /// The order and its job.
    ///
    /// # Errors
    /// When they cannot be read or the order runs nothing.
    pub fn job(&self) -> Result<(Order, Job), ExecutionError> {
        let signed = self.signed_order()?;
        let path = self.path.join("order.json");
        let order: Order = agent_wire::read(&signed.payload).map_err(|e| ExecutionError::damaged(&path, e))?;
        match order.body.clone() {
            OrderBody::Run(job) => Ok((order, job)),
            OrderBody::Cancel { .. } => Err(ExecutionError::damaged(&path, "it runs nothing")),
        }
    }

    /// What the job's scripts are told of the node.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn context(&self) -> Result<JobContext, ExecutionError> {
        self.wanted("context.json")
    }

    /// How far the job has come.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<JobState, ExecutionError> {
        self.wanted("state.json")
    }

    /// Writes the state down, durably. Only for whoever holds the lock.
    pub(crate) fn write_state(&self, state: &JobState) -> Result<(), ExecutionError> {
        durable::write_json(&self.path.join("state.json"), state)
    }

    /// The job's result, once it has one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn result(&self) -> Result<Option<JobReport>, ExecutionError> {
        durable::read_json(&self.path.join("result.json"), FILE_BYTES_MAX)
    }

    pub(crate) fn write_result(&self, report: &JobReport) -> Result<(), ExecutionError> {
        durable::write_json(&self.path.join("result.json"), report)
    }

    /// Asks the supervisor to end the job; it looks every quarter of a second.
    ///
    /// # Errors
    /// When the wish cannot be written down.
    pub fn cancel(&self) -> Result<(), ExecutionError> {
        durable::write(&self.path.join("cancel"), b"")
    }

    /// Whether the job is to end.
    #[must_use]
    pub fn cancel_wanted(&self) -> bool {
        self.path.join("cancel").exists()
    }

    /// Tells the supervisor that the reboot it waits for cannot be had.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn reboot_failed(&self, reason: &str) -> Result<(), ExecutionError> {
        durable::write(&self.path.join("reboot_failed"), reason.as_bytes())
    }

    /// Why the reboot cannot be had, if that is known.
    #[must_use]
    pub fn reboot_failure(&self) -> Option<String> {
        let text = durable::read(&self.path.join("reboot_failed"), 64 << 10).ok()??;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Takes the lock, unless another process has it: then a supervisor lives.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn try_lock(&self) -> Result<Option<JobLock>, ExecutionError> {
        let path = self.path.join("lock");
        // Standard library files are closed on exec, so no script inherits the lock.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(ExecutionError::file("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(JobLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(ExecutionError::file("locking", &path)(e)),
        }
    }

    /// The folder of one step; the steps' names are the server's words and never become file names.
    #[must_use]
    pub fn step_path(&self, index: usize) -> PathBuf {
        self.path.join("steps").join(format!("{index:02}"))
    }

    /// The report that an attempt at a patch step made, if it made one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn patch_run(&self, index: usize, attempt: u32) -> Result<Option<PatchRunReport>, ExecutionError> {
        durable::read_json(&self.patch_run_path(index, attempt), FILE_BYTES_MAX)
    }

    /// The inventory that an attempt at a patch step read, if it read one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inventory(&self, index: usize, attempt: u32) -> Result<Option<Inventory>, ExecutionError> {
        durable::read_json(&self.inventory_path(index, attempt), FILE_BYTES_MAX)
    }

    pub(crate) fn patch_run_path(&self, index: usize, attempt: u32) -> PathBuf {
        self.step_path(index).join(format!("patch_run-{attempt}.json"))
    }

    pub(crate) fn inventory_path(&self, index: usize, attempt: u32) -> PathBuf {
        self.step_path(index).join(format!("inventory-{attempt}.json"))
    }

    /// The job's id, which is the folder's name.
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        JobId::parse(self.path.file_name()?.to_str()?).ok()
    }

    fn wanted<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, ExecutionError> {
        let path = self.path.join(name);
        durable::read_json(&path, FILE_BYTES_MAX)?.ok_or_else(|| ExecutionError::damaged(&path, "it is not there"))
    }
}
