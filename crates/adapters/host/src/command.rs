//! Running a program to its end with bounds on time and output.

use crate::HostError;
use crate::files::{make_folder, read_end};
use crate::session::own_session;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The most output of one program that is read back.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 8 << 20;
/// How often a running program and a cancellation are looked at.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How a program ended and what it said on standard output and standard error, in the order written.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself; whether with code 0.
    Itself { success: bool },
    /// We killed it, because its time was over.
    TimedOut,
    /// We killed it, because the run was cancelled.
    Cancelled,
}

impl Ran {
    pub(crate) fn succeeded(&self) -> bool {
        self.ended == Ended::Itself { success: true }
    }
}

/// Runs a program that may be killed at any moment without harm: in its own session, its output in a file of `work_dir`
/// that is removed afterwards.
pub(crate) fn run_killable(
    command: &mut Command,
    work_dir: &Path,
    bound: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<Ran, HostError> {
    make_folder(work_dir)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let path = work_dir.join(format!("{program}-{}.out", std::process::id()));
    let mut child = spawn_into(command, &path)?;
    let until = Instant::now() + bound;
    let failed = |source| HostError::Program { program: program.clone(), source };
    let ended = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Ended::Itself { success: status.success() };
        }
        let why = match () {
            () if cancelled() => Some(Ended::Cancelled),
            () if Instant::now() >= until => Some(Ended::TimedOut),
            () => None,
        };
        if let Some(why) = why {
            kill_session(&child);
            child.wait().map_err(failed)?;
            break why;
        }
        thread::sleep(LOOK_AGAIN);
    };
    let output = read_end(&path, OUTPUT_BYTES_MAX).map_err(HostError::file(&path))?;
    // What is left behind would be overwritten by the next call.
    let _ = std::fs::remove_file(&path);
    Ok(Ran { ended, output })
}

/// Starts a program in its own session with both outputs in one file.
pub(crate) fn spawn_into(command: &mut Command, path: &Path) -> Result<std::process::Child, HostError> {
    let file = File::create(path).map_err(HostError::file(path))?;
    let again = file.try_clone().map_err(HostError::file(path))?;
    command.stdout(Stdio::from(file)).stderr(Stdio::from(again));
    own_session(command);
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().map_err(|source| HostError::Program { program, source })
}

fn kill_session(child: &std::process::Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, bound: Duration, cancelled: bool) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let ran = run_killable(&mut command, folder.path(), bound, &|| cancelled).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the output file is gone");
        ran
    }

    #[test]
    fn code_and_both_outputs_come_back_in_order() {
        let ran = run("echo one; echo two >&2; exit 3", Duration::from_secs(20), false);
        assert_eq!(ran.ended, Ended::Itself { success: false });
        assert_eq!(ran.output, "one\ntwo\n");
        assert!(run("true", Duration::from_secs(20), false).succeeded());
    }

    #[test]
    fn its_whole_session_ends_when_its_time_is_over_or_it_is_cancelled() {
        let begun = Instant::now();
        let ran = run("echo begun; sleep 300 & sleep 300", Duration::from_millis(200), false);
        assert_eq!((ran.ended, ran.output.as_str()), (Ended::TimedOut, "begun\n"));
        assert_eq!(run("sleep 300", Duration::from_secs(300), true).ended, Ended::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
