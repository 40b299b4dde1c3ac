//! One patch operation at a time on a node, whoever started it.

use crate::files::make_folder;
use crate::{HostError, HostRoot};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// Held as long as it lives. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct PatchLock(#[allow(dead_code)] File);

impl PatchLock {
    /// Takes `patch.lock` in the state folder; waits for another operation at most so long, and says so.
    pub(crate) fn take(
        host: &HostRoot,
        bound: Duration,
        cancelled: &dyn Fn() -> bool,
        log: &mut dyn Write,
    ) -> Result<Self, HostError> {
        make_folder(&host.state_dir)?;
        let path = host.state_dir.join("patch.lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(HostError::file(&path))?;
        let until = Instant::now() + bound;
        let mut waited = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(HostError::File { path, source: error.into() }),
            }
            if !waited {
                waited = true;
                let _ = writeln!(log, "Waiting for another patch operation on this node to end.");
            }
            if cancelled() {
                return Err(HostError::Cancelled);
            }
            if Instant::now() >= until {
                let what = "another patch operation on this node".to_owned();
                return Err(HostError::Busy { what, seconds: bound.as_secs() });
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_operation_waits_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let host = HostRoot::under("/nowhere", folder.path());
        let never = || false;
        let first = PatchLock::take(&host, Duration::ZERO, &never, &mut Vec::new()).unwrap();
        let mut log = Vec::new();
        let second = PatchLock::take(&host, Duration::ZERO, &never, &mut log);
        assert!(matches!(second, Err(HostError::Busy { .. })));
        assert!(String::from_utf8(log).unwrap().starts_with("Waiting for another patch operation"));
        let cancelled = PatchLock::take(&host, Duration::from_secs(60), &|| true, &mut Vec::new());
        assert!(matches!(cancelled, Err(HostError::Cancelled)));
        drop(first);
        PatchLock::take(&host, Duration::ZERO, &never, &mut Vec::new()).unwrap();
    }
}
