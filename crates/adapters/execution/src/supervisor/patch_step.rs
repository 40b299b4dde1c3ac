//! A patch step: an attempt by the runner, and its report and inventory written down.

use super::output::BoundedFile;
use super::{Attempt, StepEnd, Supervision};
use crate::{ExecutionError, PatchEnd, PatchRun, PatchRunner, Stop, durable, host_state};
use agent_wire::{PatchStep, StepStatus};

pub(super) fn run(
    job: &Supervision<'_>,
    attempt: &Attempt,
    step: &PatchStep,
    (stdout, stop): (&mut BoundedFile, &dyn Fn() -> Option<Stop>),
    patches: &mut dyn PatchRunner,
) -> Result<StepEnd, ExecutionError> {
    // The runner says that it stopped, not why.
    let stopped = std::cell::Cell::new(None);
    let asked = || {
        let why = stop();
        stopped.set(stopped.get().or(why));
        why
    };
    let step_path = job.folder.step_path(attempt.index);
    let mut run = PatchRun {
        step_path: &step_path,
        boot_id: &job.boot_id,
        job_id: &job.job.job_id,
        command_id: &job.job.command_id,
        report_id: host_state::uuid()?,
        rebooted: attempt.rebooted,
        resumed: attempt.resumed,
        stop: &asked,
        stdout,
    };
    let outcome = patches.run_patch(step, &mut run);
    if let Some(inventory) = &outcome.inventory {
        durable::write_json(&job.folder.inventory_path(attempt.index, attempt.number), inventory)?;
    }
    if let Some(report) = &outcome.report {
        durable::write_json(&job.folder.patch_run_path(attempt.index, attempt.number), report)?;
    }
    let over = |status, exit_code, remark: &str| StepEnd::Over { status, exit_code, remark: Some(remark.to_owned()) };
    Ok(match outcome.end {
        PatchEnd::Finished { exit_code } => {
            let status = if exit_code == 0 { StepStatus::Success } else { StepStatus::Failed };
            StepEnd::Over { status, exit_code, remark: None }
        }
        PatchEnd::RebootWanted { reason } => StepEnd::RebootWanted { reason },
        PatchEnd::Failed { reason } => StepEnd::failed(reason),
        PatchEnd::Stopped => match stopped.get() {
            Some(Stop::TimedOut) => over(StepStatus::TimedOut, 137, "Its time was over."),
            Some(Stop::Cancelled) | None => over(StepStatus::Cancelled, 137, "Cancelled."),
        },
    })
}
