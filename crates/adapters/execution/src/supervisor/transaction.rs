//! Package transactions that scripts run: a running dpkg, apt or rpm is always allowed to finish.
//!
//! One is known by the lock of its package database, which it holds from its beginning to its end: a record lock (fcntl(2)), not the
//! kind that scripts take with flock(1). What belongs to it is everything below it, and whatever a maintainer script of a package
//! has started, such as the package's own daemon.

use super::tree::Process;
use rustix::process::{Flock, FlockType, fcntl_getlk};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// The locks of package databases (dpkg(1), apt-get(8), rpm(8)). The lists' lock is none of them: fetching may be ended.
const LOCKS: [&str; 4] =
    ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/rpm/.rpm.lock", "/usr/lib/sysimage/rpm/.rpm.lock"];
/// In the environment of everything that a maintainer script of dpkg starts (dpkg(1), "Internal environment").
const MAINTAINER_SCRIPT: &[u8] = b"DPKG_MAINTSCRIPT_PACKAGE=";

/// What of some processes is left to finish.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// The transactions themselves, and everything below them.
    pub(super) running: BTreeSet<i32>,
    /// What packages have started, and which is theirs now.
    pub(super) started: BTreeSet<i32>,
}

impl Transactions {
    /// Looks for them among `pids`; `table`: all processes.
    pub(super) fn among(pids: &BTreeSet<i32>, table: &[Process]) -> Self {
        // The kernel is asked about each lock, because its list of all locks is read in pieces, and misses some while others
        // change; the list knows the locks of other roots.
        let asked: BTreeSet<i32> = LOCKS.iter().filter_map(|lock| holder(Path::new(lock))).collect();
        let lockers = lockers(&std::fs::read_to_string("/proc/locks").unwrap_or_default());
        let holds = |pid: &i32| asked.contains(pid) || lockers.contains(pid) && has_lock_open(*pid);
        let holders: Vec<i32> = pids.iter().copied().filter(holds).collect();
        let mut running: BTreeSet<i32> = holders.iter().copied().collect();
        for holder in holders {
            running.extend(super::tree::descendants(table, holder, &BTreeSet::new()));
        }
        let started = pids.iter().copied().filter(|pid| !running.contains(pid) && is_of_package(*pid)).collect();
        Self { running, started }
    }

    /// Both.
    pub(super) fn all(&self) -> BTreeSet<i32> {
        &self.running | &self.started
    }
}

/// Who holds a record lock on this file (F_GETLK, fcntl(2)). This process has none on it that closing the file would end.
fn holder(lock: &Path) -> Option<i32> {
    let file = File::open(lock).ok()?;
    let held = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    held.pid.map(rustix::process::Pid::as_raw_pid)
}

/// Who holds record locks for writing (proc_locks(5)): `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`.
fn lockers(locks: &str) -> BTreeSet<i32> {
    let locker = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let kinds = [words.next()?, words.next()?, words.next()?];
        if kinds != ["POSIX", "ADVISORY", "WRITE"] {
            return None;
        }
        words.next()?.parse().ok()
    };
    locks.lines().filter_map(locker).collect()
}

fn has_lock_open(pid: i32) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let files = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    files.into_iter().any(|file| LOCKS.iter().any(|lock| file == Path::new(lock)))
}

fn is_of_package(pid: i32) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(MAINTAINER_SCRIPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_holders_of_record_locks_count() {
        let locks = "1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 0 EOF\n2: FLOCK  ADVISORY  WRITE 2 fe:00:1 0 EOF\n\
                     2: -> POSIX  ADVISORY  WRITE 3 fe:00:5678 0 EOF\n3: POSIX  ADVISORY  READ  4 fe:00:1 0 EOF\nnonsense";
        assert_eq!(lockers(locks), BTreeSet::from([1234]));
    }
}
