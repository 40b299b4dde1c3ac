//! A script step: what its exit code means, and what becomes of its processes when the supervisor dies.

use super::output::BoundedFile;
use super::script::{Script, ScriptEnd};
use super::transaction::Transactions;
use super::{Attempt, StepEnd, Supervision, script, tree};
use crate::{ExecutionError, Stop, durable};
use agent_wire::StepStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which processes a script step has, for the supervisor that follows one that died.
#[derive(Debug, Serialize, Deserialize)]
struct Processes {
    boot_id: String,
    /// The supervisor's session; 0 where the supervisor could not have its own.
    session: i32,
    /// The script's process group; 0 until it is known.
    group: i32,
}

pub(super) fn run(
    job: &mut Supervision<'_>,
    attempt: &Attempt,
    (lines, working_directory): (&[String], &str),
    streams: (&mut BoundedFile, &mut BoundedFile),
    stop: &dyn Fn() -> Option<Stop>,
) -> Result<StepEnd, ExecutionError> {
    let step_path = job.folder.step_path(attempt.index);
    let processes_path = step_path.join("processes.json");
    let own = rustix::process::getpid();
    let leads = rustix::process::getsid(None).is_ok_and(|session| session == own);
    let session = if leads { own.as_raw_nonzero().get() } else { 0 };
    let known = |group| Processes { boot_id: job.boot_id.clone(), session, group };
    durable::write_json(&processes_path, &known(0))?;
    let group = job.group.as_ref().and_then(|group| group.step(attempt.index));
    let script = Script {
        lines,
        working_directory,
        command_id: &job.job.command_id,
        request_id: &job.request_id,
        context: &job.context,
        job_path: job.folder.path(),
        step_path: &step_path,
        group: group.as_ref(),
    };
    let end = script::run(&script, streams, stop, &mut job.leftovers, |group| {
        // Not having it makes the successor kill by session alone.
        let _ = durable::write_json(&processes_path, &known(group));
    })?;
    let out_of_memory = group.is_some_and(|group| group.out_of_memory());
    Ok(explained(meaning(end), out_of_memory))
}

/// A step that failed after the kernel had ended one of its processes says so.
fn explained(end: StepEnd, out_of_memory: bool) -> StepEnd {
    match end {
        StepEnd::Over { status: StepStatus::Failed, exit_code, remark } if out_of_memory => {
            let why =
                "The kernel ended a process of it because the job used more memory than this node allows (memory_max).";
            let remark = remark.map_or_else(|| why.to_owned(), |remark| format!("{remark} {why}"));
            StepEnd::Over { status: StepStatus::Failed, exit_code, remark: Some(remark) }
        }
        end => end,
    }
}

/// The contract of aws:runShellScript: 0 is success; 168 and 169 end the document as success and failure; 194 asks for
/// a reboot, after which the same step runs again; a killed step has 137.
fn meaning(end: ScriptEnd) -> StepEnd {
    let over = |status, exit_code, remark| StepEnd::Over { status, exit_code, remark };
    match end {
        ScriptEnd::Exited(0) => over(StepStatus::Success, 0, None),
        ScriptEnd::Exited(168) => {
            let remark = "Step exited with code 168. Therefore, marking step as succeeded. Further document steps will be skipped.";
            over(StepStatus::Success, 168, Some(remark.to_owned()))
        }
        ScriptEnd::Exited(169) => {
            let remark =
                "Step exited with code 169. Therefore, marking step as Failed. Further document steps will be skipped.";
            over(StepStatus::Failed, 169, Some(remark.to_owned()))
        }
        ScriptEnd::Exited(194) => StepEnd::RebootWanted { reason: "a script exited with code 194".to_owned() },
        ScriptEnd::Exited(code) => over(StepStatus::Failed, code, None),
        ScriptEnd::Signalled(signal) => {
            over(StepStatus::Failed, 128 + signal, Some(format!("The script was ended by signal {signal}.")))
        }
        ScriptEnd::Stopped { why, all_gone, transaction } => {
            let (status, mut remark) = match why {
                Stop::Cancelled => (StepStatus::Cancelled, "Cancelled: its processes were killed.".to_owned()),
                Stop::TimedOut => (StepStatus::TimedOut, "Its time was over: its processes were killed.".to_owned()),
            };
            if transaction {
                remark.push_str(" The package transaction that it had begun was left to finish first.");
            }
            if !all_gone {
                remark.push_str(" Some of them do not end (uninterruptible sleep).");
            }
            over(status, 137, Some(remark))
        }
        ScriptEnd::NotStarted(reason) => StepEnd::failed(reason),
    }
}

/// Kills what an interrupted script step has left running during this boot.
pub(super) fn end_leftovers(job: &Supervision<'_>, index: usize, boot_id: &str) {
    let read = |index| {
        let path = job.folder.step_path(index).join("processes.json");
        durable::read_json::<Processes>(&path, 4096).ok().flatten()
    };
    let Some(left) = read(index) else { return };
    if left.boot_id != job.boot_id || boot_id != job.boot_id {
        return;
    }
    // What earlier steps left running was left on purpose.
    let spared: BTreeSet<i32> =
        (0..index).filter_map(read).map(|earlier| earlier.group).filter(|group| *group > 0).collect();
    if let Some(group) = job.group.as_ref().and_then(|group| group.step(index)) {
        // Whatever has left the session, too.
        let processes = group.processes();
        let kept = Transactions::among(&processes, &tree::processes()).all();
        group.free(&kept);
        if group.processes().is_disjoint(&kept) {
            group.kill();
        }
    }
    tree::kill_session(left.session, &spared);
}
