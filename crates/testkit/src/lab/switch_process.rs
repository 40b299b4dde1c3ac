use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for;

/// A process of the machine whose network is the lab's switch. Dropping it kills it.
#[derive(Debug)]
pub struct SwitchProcess {
    child: Child,
    log_path: PathBuf,
}

impl SwitchProcess {
    pub(super) fn new(child: Child, log_path: PathBuf) -> Self {
        Self { child, log_path }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// When it has ended already.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_running(), "it has ended already\n{}", self.log_text());
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        Ok(())
    }

    /// Ends it at once (SIGKILL) and waits for that.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not within `bound`.
    pub fn wait_end(&mut self, bound: Duration) -> anyhow::Result<ExitStatus> {
        let Self { child, log_path } = self;
        wait_for("the process to end", bound, || child.try_wait().ok().flatten())
            .with_context(|| std::fs::read_to_string(log_path).unwrap_or_default())
    }

    /// Where its standard output and standard error go.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// What it has written so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log_path).unwrap_or_default()
    }
}

impl Drop for SwitchProcess {
    fn drop(&mut self) {
        // Ended already, or the kernel does it when the lab's keeper ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log_text();
            let from = log.len().saturating_sub(8_000);
            eprintln!("--- {} ---\n{}", self.log_path.display(), String::from_utf8_lossy(&log.as_bytes()[from..]));
        }
    }
}
