//! A job in an agent's journal, step by step.

use std::collections::BTreeMap;

use agent_wire::{Job, JobReport, PatchRunReport, Step, StepAction, StepReport, StepStatus};
use identifiers::Timestamp;

/// How far a step is.
#[derive(Debug, Clone)]
pub(super) enum StepState {
    Waiting,
    /// Since when, by the host's clock and in seconds of the steady one.
    Running {
        since: Timestamp,
        steady: i64,
    },
    Done(StepReport),
}

/// What is noted as told of a job.
#[derive(Debug, Clone, Default)]
struct Told {
    begun: usize,
    patched: usize,
    over: bool,
}

/// What is to be told of a job next.
pub(super) enum Untold {
    /// This step has begun.
    Begun(usize, String, Timestamp),
    /// A patch step found this.
    Patched(Box<PatchRunReport>),
    /// It is over.
    Over(JobReport),
}

/// A job that was written down.
#[derive(Debug, Clone)]
pub(super) struct WrittenJob {
    pub(super) job: Job,
    /// Its place in the journal.
    pub(super) place: usize,
    pub(super) expires_at: Timestamp,
    pub(super) steps: Vec<StepState>,
    cancelled: bool,
    /// What its patch steps found, by place.
    pub(super) runs: BTreeMap<usize, Box<PatchRunReport>>,
    told: Told,
    /// Its result, once it is over.
    pub(super) report: Option<JobReport>,
}

/// What is to be done next for a job.
pub(super) enum Next {
    /// Nothing: it is over.
    Nothing,
    /// This step begins.
    Begin(Box<Step>),
    /// This step, begun then by the host's clock and by the steady one, ends.
    End(Box<Step>, Timestamp, i64),
    /// Steps were passed over without running; look again.
    Again,
}

/// How a step ends.
pub(super) struct StepEnd {
    pub(super) status: StepStatus,
    pub(super) exit_code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl StepEnd {
    pub(super) fn without_running(status: StepStatus, reason: &str) -> Self {
        Self { status, exit_code: -1, stdout: String::new(), stderr: reason.to_owned() }
    }
}

impl WrittenJob {
    pub(super) fn new(job: Job, place: usize, expires_at: Timestamp) -> Self {
        let steps = vec![StepState::Waiting; job.steps.len()];
        Self {
            job,
            place,
            expires_at,
            steps,
            cancelled: false,
            runs: BTreeMap::new(),
            told: Told::default(),
            report: None,
        }
    }

    /// Whether it has a patch step, of which one runs at a time on a host.
    pub(super) fn patches(&self) -> bool {
        self.job.steps.iter().any(|step| matches!(step.action, StepAction::Patch(_)))
    }

    /// Whether it has begun and is not over.
    pub(super) fn runs(&self) -> bool {
        self.report.is_none() && !self.is_untouched()
    }

    fn is_untouched(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, StepState::Waiting))
    }

    /// It is to be cancelled; gives its result where it is over.
    pub(super) fn cancel(&mut self) -> Option<JobReport> {
        self.cancelled = self.report.is_none();
        self.report.clone()
    }

    /// The first thing that is not noted as told.
    pub(super) fn untold(&self) -> Option<Untold> {
        let steps = self.job.steps.iter().zip(&self.steps).enumerate().skip(self.told.begun);
        for (place, (step, state)) in steps {
            if let Some(at) = begun_at(state) {
                return Some(Untold::Begun(place, step.name.clone(), at));
            }
        }
        if let Some(run) = self.runs.values().nth(self.told.patched) {
            return Some(Untold::Patched(run.clone()));
        }
        self.report.clone().filter(|_| !self.told.over).map(Untold::Over)
    }

    pub(super) fn note_told(&mut self, told: &Untold) {
        match told {
            Untold::Begun(place, ..) => self.told.begun = place + 1,
            Untold::Patched(_) => self.told.patched += 1,
            Untold::Over(_) => self.told.over = true,
        }
    }

    /// The place of the step that is at work or comes next.
    pub(super) fn at(&self) -> Option<usize> {
        self.steps.iter().position(|step| !matches!(step, StepState::Done(_)))
    }

    /// Ends the step that is at work, or the next one.
    pub(super) fn end_step(&mut self, end: StepEnd, now: Timestamp) {
        let Some(at) = self.at() else { return };
        let (Some(step), Some(state)) = (self.job.steps.get(at), self.steps.get_mut(at)) else { return };
        let started_at = match state {
            StepState::Running { since, .. } => Some(*since),
            _ => None,
        };
        *state = StepState::Done(StepReport {
            name: step.name.clone(),
            status: end.status,
            exit_code: end.exit_code,
            started_at,
            finished_at: Some(now),
            stdout: end.stdout,
            stderr: end.stderr,
            stdout_truncated: false,
            stderr_truncated: false,
        });
    }

    /// Begins the next step.
    pub(super) fn begin_step(&mut self, now: Timestamp, steady: i64) {
        if let Some(state) = self.at().and_then(|at| self.steps.get_mut(at)) {
            *state = StepState::Running { since: now, steady };
        }
    }

    /// What is to be done next, at `now` by the host's clock; `judged` is what its agent takes the time to be.
    pub(super) fn next(&mut self, now: Timestamp, judged: Timestamp) -> Next {
        if self.report.is_some() {
            return Next::Nothing;
        }
        let Some(at) = self.at() else {
            self.report = Some(self.result(now));
            return Next::Nothing;
        };
        let (Some(step), Some(state)) = (self.job.steps.get(at).cloned(), self.steps.get(at).cloned()) else {
            return Next::Nothing;
        };
        if let StepState::Running { since, steady } = state {
            return Next::End(Box::new(step), since, steady);
        }
        if self.cancelled {
            self.end_step(StepEnd::without_running(StepStatus::Cancelled, "Cancelled."), now);
        } else if self.is_untouched() && judged >= self.expires_at {
            self.cancelled = true;
            self.end_step(StepEnd::without_running(StepStatus::Cancelled, "Not run: its order expired."), now);
        } else if let StepAction::Skip { reason } = &step.action {
            self.end_step(StepEnd::without_running(StepStatus::Skipped, reason), now);
        } else {
            return Next::Begin(Box::new(step));
        }
        Next::Again
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    fn result(&self, now: Timestamp) -> JobReport {
        let done = |step: &StepState| match step {
            StepState::Done(report) => Some(report.clone()),
            _ => None,
        };
        JobReport {
            job_id: self.job.job_id.clone(),
            command_id: self.job.command_id.clone(),
            steps: self.steps.iter().filter_map(done).collect(),
            finished_at: now,
        }
    }

    /// The host went down: a script that ran is interrupted and never run again; a patch step is resumed.
    pub(super) fn interrupt(&mut self, now: Timestamp) {
        let Some(at) = self.at() else { return };
        let running = matches!(self.steps.get(at), Some(StepState::Running { .. }));
        let resumable = self.job.steps.get(at).is_some_and(|step| matches!(step.action, StepAction::Patch(_)));
        if running && !resumable {
            let end = StepEnd::without_running(StepStatus::Interrupted, "The host went down.");
            self.end_step(end, now);
        }
    }
}

fn begun_at(state: &StepState) -> Option<Timestamp> {
    match state {
        StepState::Waiting => None,
        StepState::Running { since, .. } => Some(*since),
        StepState::Done(report) => report.started_at,
    }
}
