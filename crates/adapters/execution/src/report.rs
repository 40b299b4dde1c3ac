use crate::{ExecutionError, JobFolder, JobState, StepState, durable};
use agent_wire::{Job, JobReport, StepReport, StepStatus};
use identifiers::Timestamp;

/// How much of each stream a report carries, in bytes; the node's disk keeps more.
pub const REPORT_BYTES_MAX: usize = 100_000;
/// How much of each stream the disk keeps, in bytes.
pub(crate) const STREAM_BYTES_MAX: u64 = 1 << 20;

/// The report of a job whose steps are all over.
pub(crate) fn job_report(
    folder: &JobFolder,
    job: &Job,
    state: &JobState,
    finished_at: Timestamp,
) -> Result<JobReport, ExecutionError> {
    let steps = job.steps.iter().zip(&state.steps).enumerate();
    let steps = steps.map(|(index, (step, state))| step_report(folder, index, &step.name, state));
    Ok(JobReport {
        job_id: job.job_id.clone(),
        command_id: job.command_id.clone(),
        steps: steps.collect::<Result<_, _>>()?,
        finished_at,
    })
}

fn step_report(folder: &JobFolder, index: usize, name: &str, state: &StepState) -> Result<StepReport, ExecutionError> {
    let (stdout, stdout_cut) = stream(folder, index, "stdout")?;
    let (stderr, stderr_cut) = stream(folder, index, "stderr")?;
    let mut report = StepReport {
        name: name.to_owned(),
        status: StepStatus::Failed,
        exit_code: -1,
        started_at: state.started_at(),
        finished_at: None,
        stdout,
        stderr,
        stdout_truncated: stdout_cut,
        stderr_truncated: stderr_cut,
    };
    if let StepState::Done { status, exit_code, finished_at, stdout_truncated, stderr_truncated, .. } = state {
        report.status = *status;
        report.exit_code = *exit_code;
        report.finished_at = Some(*finished_at);
        report.stdout_truncated |= stdout_truncated;
        report.stderr_truncated |= stderr_truncated;
    }
    Ok(report)
}

fn stream(folder: &JobFolder, index: usize, name: &str) -> Result<(String, bool), ExecutionError> {
    // Remarks of the supervisor follow the bounded output, hence the margin.
    let bytes = durable::read(&folder.step_path(index).join(name), 2 * STREAM_BYTES_MAX)?.unwrap_or_default();
    Ok(text_of(&bytes, REPORT_BYTES_MAX))
}

/// The first `bytes_max` bytes as text, cut between characters, and whether anything was cut.
fn text_of(bytes: &[u8], bytes_max: usize) -> (String, bool) {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= bytes_max {
        return (text.into_owned(), false);
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    (text.get(..end).unwrap_or_default().to_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::text_of;
    use proptest::prelude::*;

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(text_of("aé".as_bytes(), 2), ("a".to_owned(), true));
        assert_eq!(text_of("aé".as_bytes(), 3), ("aé".to_owned(), false));
        assert_eq!(text_of(b"\xff", 3), ("\u{fffd}".to_owned(), false));
    }

    proptest! {
        #[test]
        fn a_cut_text_is_never_longer_than_its_bound(bytes in proptest::collection::vec(any::<u8>(), 0..64), max in 0usize..32) {
            prop_assert!(text_of(&bytes, max).0.len() <= max);
        }
    }
}
