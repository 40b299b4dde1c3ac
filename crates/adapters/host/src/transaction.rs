//! A package transaction: `apt-get` or `dpkg` changing packages, in a session of its own, with its output in a file of the
//! job's folder, so that it survives the death of this process; and finding one that did.

use crate::HostError;
use crate::apt::{Apt, TRANSACTION_VARIABLE};
use crate::command::{LOOK_AGAIN, OUTPUT_BYTES_MAX, spawn_into};
use crate::files::{make_folder, read_end};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How a transaction ended. Whether it succeeded is for dpkg's status to say.
pub(crate) struct Transacted {
    pub(crate) output: String,
}

/// Runs a transaction to its end, however long it takes: a running dpkg is always allowed to finish. What it says is
/// copied to `log` while it runs.
pub(crate) fn transact(
    apt: &Apt,
    command: &mut Command,
    job_dir: &Path,
    log: &mut dyn Write,
) -> Result<Transacted, HostError> {
    make_folder(job_dir)?;
    let path = free_name(job_dir);
    command.env(TRANSACTION_VARIABLE, apt.transaction_mark());
    let mut child = spawn_into(command, &path)?;
    let mut follow = Follow { path: path.clone(), at: 0 };
    loop {
        let ended = child.try_wait().map_err(|source| HostError::Program { program: "apt-get".to_owned(), source })?;
        follow.copy(log);
        if ended.is_some() {
            break;
        }
        thread::sleep(LOOK_AGAIN);
    }
    let output = read_end(&path, OUTPUT_BYTES_MAX).map_err(HostError::file(&path))?;
    Ok(Transacted { output })
}

/// `transaction-1.log`, or the next number that is free: the outputs of earlier attempts stay.
fn free_name(job_dir: &Path) -> PathBuf {
    let path = |number: u32| job_dir.join(format!("transaction-{number}.log"));
    (1..).map(path).find(|path| !path.exists()).unwrap_or_else(|| path(0))
}

/// Copies what is new in a file. A log that cannot be written to must not stop a transaction.
struct Follow {
    path: PathBuf,
    at: u64,
}

impl Follow {
    fn copy(&mut self, log: &mut dyn Write) {
        let Ok(mut file) = File::open(&self.path) else { return };
        let mut new = Vec::new();
        if file.seek(SeekFrom::Start(self.at)).is_ok() && file.take(OUTPUT_BYTES_MAX).read_to_end(&mut new).is_ok() {
            self.at += new.len() as u64;
            let _ = log.write_all(&new);
        }
    }
}

/// Waits until no transaction that an earlier attempt started on this host is running.
///
/// # Errors
/// [`HostError::Busy`] after `bound`, [`HostError::Cancelled`].
pub(crate) fn wait_for_earlier(
    apt: &Apt,
    bound: Duration,
    cancelled: &dyn Fn() -> bool,
    log: &mut dyn Write,
) -> Result<bool, HostError> {
    let until = Instant::now() + bound;
    let mut waited = false;
    while let Some(process) = earlier(apt.transaction_mark()) {
        if !waited {
            let _ = writeln!(log, "Waiting for a package transaction of an earlier attempt (process {process}).");
        }
        waited = true;
        if cancelled() {
            return Err(HostError::Cancelled);
        }
        if Instant::now() >= until {
            let what = format!("the package transaction of an earlier attempt (process {process})");
            return Err(HostError::Busy { what, seconds: bound.as_secs() });
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(waited)
}

/// A process that is `apt-get` or `dpkg`, carries our mark for this host in its environment and runs as our user. Daemons
/// that a package started inherit the mark, but not the name; name and mark anybody can take on, and without the user
/// anybody could hold up patching for ever.
fn earlier(mark: &Path) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let mut ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let our_uid = rustix::process::geteuid().as_raw();
    ids.find(|id| {
        let name = std::fs::read(format!("/proc/{id}/comm")).unwrap_or_default();
        matches!(name.trim_ascii_end(), b"apt-get" | b"dpkg") && carries(*id, mark) && runs_as(*id, our_uid)
    })
}

fn carries(id: u32, mark: &Path) -> bool {
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    environment.split(|b| *b == 0).any(|variable| {
        variable
            .strip_prefix(TRANSACTION_VARIABLE.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| value == mark.as_os_str().as_bytes())
    })
}

/// Whether the process was started by this user and acts as it: its real and its effective user, the first two of `Uid:`
/// (proc_pid_status(5)).
fn runs_as(id: u32, uid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/status")).is_ok_and(|status| is_of(&status, uid))
}

fn is_of(status: &str, uid: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let mut ids = line.split_ascii_whitespace().map(str::parse::<u32>);
    let mut is_ours = || ids.next() == Some(Ok(uid));
    is_ours() && is_ours()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ours_by_its_real_and_its_effective_user() {
        let status = |ids: &str| format!("Name:\tapt-get\nUid:\t{ids}\nGid:\t0\t0\t0\t0\n");
        assert!(is_of(&status("0\t0\t0\t0"), 0));
        assert!(!is_of(&status("1000\t1000\t1000\t1000"), 0));
        assert!(!is_of(&status("1000\t0\t0\t0"), 0), "a program with set-user-ID is started by anybody");
        assert!(!is_of(&status("0\t100\t0\t0"), 0));
        assert!(!is_of("Name:\tapt-get\n", 0));
        let our_uid = rustix::process::geteuid().as_raw();
        assert!(runs_as(std::process::id(), our_uid) && !runs_as(std::process::id(), our_uid + 1));
    }
}
