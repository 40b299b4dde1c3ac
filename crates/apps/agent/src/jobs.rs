//! The jobs that are not over, or whose end the server was not told: when each starts, and what is told of it.

use crate::AgentError;
use crate::policy;
use crate::status::JobLine;
use crate::work::Work;
use agent_wire::{Job, StepAction, StepStatus, ToServerBody};
use execution::{JobFolder, JobState, REBOOT_BOUND_SECONDS, StepState, durable, start_supervisor};
use identifiers::{CommandId, JobId, RequestId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// So many jobs without patch steps run at once (the SSM agent's `CommandWorkersLimit`).
const PARALLEL_MAX: usize = 5;
/// A supervisor that cannot be started for a job that has not begun is tried so often.
const STARTS_MAX: u32 = 5;
/// No patch step has more attempts.
const ATTEMPTS_MAX: u32 = 16;

/// All jobs that need attention.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    active: BTreeMap<JobId, Active>,
    /// Supervisors whose job is over, but which still hold a stream for what the job left running.
    lingering: Vec<Child>,
}

#[derive(Debug)]
struct Active {
    folder: JobFolder,
    command_id: CommandId,
    /// The request that it is done for: every line of the log about the job ends with it.
    request_id: RequestId,
    document_name: String,
    steps: Vec<String>,
    sequence: u64,
    expires_at: Timestamp,
    patches: bool,
    phase: Phase,
    delivery: Delivery,
    failures: u32,
    state: Option<JobState>,
}

/// What a job waits for.
#[derive(Debug)]
enum Phase {
    /// A supervisor; not before the instant.
    Waiting(Instant),
    /// Its supervisor's end; `None`: the supervisor of an earlier agent.
    Running(Option<Child>),
    /// The end of this boot.
    AwaitingReboot,
    /// The server being told of its end.
    Over,
}

/// What has been put into the spool of a job's progress: `delivery.json` in its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Delivery {
    /// Of so many steps the beginning.
    begun: usize,
    /// Of each step the reports of so many attempts.
    attempts: BTreeMap<usize, u32>,
    /// The result.
    finished: bool,
}

/// Whether the server has been told of a job's end, or will be from the spool.
pub(crate) fn is_delivered(folder: &JobFolder) -> bool {
    let delivery = durable::read_json::<Delivery>(&folder.path().join("delivery.json"), 1 << 20);
    delivery.ok().flatten().is_some_and(|delivery| delivery.finished)
}

impl Jobs {
    pub(crate) fn len(&self) -> usize {
        self.active.len()
    }

    /// Whether anything moves that must be looked at soon.
    pub(crate) fn any(&self) -> bool {
        !self.active.is_empty() || !self.lingering.is_empty()
    }

    fn running(&self, patches: bool) -> usize {
        let running = self.active.values().filter(|job| matches!(job.phase, Phase::Running(_)));
        running.filter(|job| job.patches == patches).count()
    }
}

impl Active {
    fn progress(&self) -> String {
        let step = self.state.as_ref().and_then(|state| {
            let at = state.steps.iter().position(|step| !matches!(step, StepState::Done { .. }))?;
            Some((at, self.steps.get(at)?))
        });
        let step = step.map(|(at, name)| format!(" step {} of {} ({name})", at + 1, self.steps.len()));
        match self.phase {
            Phase::Waiting(_) => "waiting to start".to_owned(),
            Phase::Running(_) => format!("running{}", step.unwrap_or_default()),
            Phase::AwaitingReboot => "waiting for a reboot".to_owned(),
            Phase::Over => "over; its result is not yet in the spool".to_owned(),
        }
    }
}

impl Work {
    /// Finds the jobs of earlier agents: those that wait, those whose supervisor lives, those whose supervisor died.
    pub(crate) fn find_jobs(&mut self) -> Result<(), AgentError> {
        for folder in self.journal.folders()? {
            if is_delivered(&folder) {
                continue;
            }
            match folder.job() {
                Ok((order, job)) => self.add_job(folder, &job, &order.request_id, order.expires_at),
                // Only a failing disk does this; the other jobs go on.
                Err(e) => self.trouble(format_args!("a job cannot be read: {e}")),
            }
        }
        Ok(())
    }

    pub(crate) fn add_job(&mut self, folder: JobFolder, job: &Job, request_id: &RequestId, expires_at: Timestamp) {
        let phase = match folder.try_lock() {
            Ok(None) => {
                self.log.line(format_args!(
                    "job {}: its supervisor runs; waiting for it request_id={request_id}",
                    job.job_id
                ));
                Phase::Running(None)
            }
            _ => Phase::Waiting(Instant::now()),
        };
        let delivery = durable::read_json(&folder.path().join("delivery.json"), 1 << 20).ok().flatten();
        let active = Active {
            sequence: folder.state().map_or(0, |state| state.sequence),
            folder,
            command_id: job.command_id.clone(),
            request_id: request_id.clone(),
            document_name: job.document_name.clone(),
            steps: job.steps.iter().map(|step| step.name.clone()).collect(),
            expires_at,
            patches: job.steps.iter().any(|step| matches!(step.action, StepAction::Patch(_))),
            phase,
            delivery: delivery.unwrap_or_default(),
            failures: 0,
            state: None,
        };
        self.jobs.active.insert(job.job_id.clone(), active);
    }

    /// The folder of a step of a job that is not over.
    pub(crate) fn step_path(&self, job_id: &JobId, step: &str) -> Option<PathBuf> {
        let job = self.jobs.active.get(job_id)?;
        let index = job.steps.iter().position(|name| name == step)?;
        Some(job.folder.step_path(index))
    }

    pub(crate) fn job_lines(&self) -> Vec<JobLine> {
        let line = |(job_id, job): (&JobId, &Active)| JobLine {
            job_id: job_id.clone(),
            document_name: job.document_name.clone(),
            progress: job.progress(),
        };
        self.jobs.active.iter().map(line).collect()
    }

    /// Looks after all jobs once. Returns whether to look again soon.
    pub(crate) fn look_after_jobs(&mut self) -> bool {
        for job_id in self.jobs.active.keys().cloned().collect::<Vec<_>>() {
            let Some(mut job) = self.jobs.active.remove(&job_id) else { continue };
            match self.look_after(&job_id, &mut job) {
                Ok(true) => {
                    if let Phase::Running(Some(child)) = job.phase {
                        self.jobs.lingering.push(child);
                    }
                    continue;
                }
                Ok(false) => {}
                Err(e) => self.trouble(format_args!("job {job_id}: {e} request_id={}", job.request_id)),
            }
            self.jobs.active.insert(job_id, job);
        }
        self.jobs.lingering.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if !self.wait_for_reboot() {
            self.start_jobs();
        }
        self.show();
        self.jobs.any()
    }

    /// Looks after one job; says whether nothing is left to do for it.
    fn look_after(&mut self, job_id: &JobId, job: &mut Active) -> Result<bool, AgentError> {
        // Asked before the state is read: what the supervisor wrote last is then seen.
        let ended = match &mut job.phase {
            Phase::Running(Some(child)) => !matches!(child.try_wait(), Ok(None)),
            Phase::Running(None) => job.folder.try_lock()?.is_some(),
            Phase::Waiting(_) | Phase::AwaitingReboot | Phase::Over => false,
        };
        let mut state = match (&job.state, &job.phase) {
            // Nobody changes the state of a job that waits; a thousand of them are not read again and again.
            (Some(known), Phase::Waiting(_) | Phase::AwaitingReboot) => known.clone(),
            _ => job.folder.state()?,
        };
        if matches!(job.phase, Phase::Waiting(_)) && state.untouched() && job.folder.cancel_wanted() {
            let now = execution::now();
            let reason = "Cancelled before it was started.";
            if self.journal.end_untouched(&job.folder, StepStatus::Cancelled, reason, now)? {
                state = job.folder.state()?;
            }
        }
        let delivered = self.deliver(job_id, job, &state)?;
        job.state = Some(state.clone());
        if state.finished_at.is_some() {
            if !matches!(job.phase, Phase::Running(Some(_))) {
                job.phase = Phase::Over;
            }
            return Ok(delivered);
        }
        if ended && job.folder.try_lock()?.is_none() {
            // Ours found that an earlier agent's supervisor has the job.
            job.phase = Phase::Running(None);
        } else if ended {
            job.phase = Phase::Waiting(Instant::now());
            if state.awaiting_reboot().is_none() {
                self.supervisor_failed(job_id, job, &state, "its supervisor ended before the job did")?;
            }
        }
        if matches!(job.phase, Phase::Waiting(_)) && self.must_await_reboot(&job.folder, &state) {
            job.phase = Phase::AwaitingReboot;
        } else if matches!(job.phase, Phase::AwaitingReboot) && !self.must_await_reboot(&job.folder, &state) {
            job.phase = Phase::Waiting(Instant::now());
        }
        Ok(false)
    }

    /// Whether a step waits for a reboot that can still come. If not, a supervisor says what that means for the step.
    fn must_await_reboot(&self, folder: &JobFolder, state: &JobState) -> bool {
        let Some((since, boot_id, _)) = state.awaiting_reboot() else { return false };
        boot_id == self.boot_id
            && !folder.cancel_wanted()
            && folder.reboot_failure().is_none()
            && execution::now().micros_since(since) < REBOOT_BOUND_SECONDS * 1_000_000
    }

    /// Sees to the reboot that jobs wait for; says whether any does.
    fn wait_for_reboot(&mut self) -> bool {
        let waits = |job: &&Active| matches!(job.phase, Phase::AwaitingReboot);
        let why = self.jobs.active.values().find(waits).map(|job| {
            let reason = job.state.as_ref().and_then(|state| Some(state.awaiting_reboot()?.2.to_owned()));
            reason.unwrap_or_default()
        });
        let Some(why) = why else {
            self.forget_reboot();
            return false;
        };
        let others_run = self.jobs.running(false) + self.jobs.running(true) > 0;
        let denied = policy::in_force(&self.options.data_directory).reboot_denied();
        if let Some(reason) = denied.or_else(|| self.see_to_reboot(&why, others_run)) {
            let mut failed = Vec::new();
            for job in self.jobs.active.values().filter(waits) {
                failed.extend(job.folder.reboot_failed(&reason).err());
            }
            for e in failed {
                self.trouble(e);
            }
        }
        true
    }

    /// Starts what may start now, in the order of the journal.
    fn start_jobs(&mut self) {
        let now = Instant::now();
        let mut waiting: Vec<(u64, JobId)> = self
            .jobs
            .active
            .iter()
            .filter_map(|(job_id, job)| match job.phase {
                Phase::Waiting(until) if until <= now => Some((job.sequence, job_id.clone())),
                _ => None,
            })
            .collect();
        waiting.sort();
        for (_, job_id) in waiting {
            let Some(mut job) = self.jobs.active.remove(&job_id) else { continue };
            // One patch operation a node: two would wait for each other's locks, or see each other's half.
            let room = if job.patches { 1 } else { PARALLEL_MAX };
            if self.jobs.running(job.patches) < room
                && let Err(e) = self.start(&job_id, &mut job)
            {
                self.trouble(format_args!("job {job_id}: {e} request_id={}", job.request_id));
            }
            self.jobs.active.insert(job_id, job);
        }
    }

    fn start(&mut self, job_id: &JobId, job: &mut Active) -> Result<(), AgentError> {
        let now = self.now();
        if now >= job.expires_at && job.folder.state()?.untouched() {
            // It waited too long, perhaps while the host was off: its window may be over.
            let reason = format!("Not run: its order expired at {} before it could start.", job.expires_at);
            self.log.line(format_args!("job {job_id}: {reason} request_id={}", job.request_id));
            self.journal.end_untouched(&job.folder, StepStatus::Cancelled, &reason, now)?;
            job.state = None;
            return Ok(());
        }
        let state = job.folder.state()?;
        if state.untouched()
            && let Err(reason) = self.allowed(&job.folder.job()?.1)
        {
            // The policy, or the hour, is another one than when the order came.
            self.log.line(format_args!("job {job_id} is not run: {reason}"));
            self.journal.end_untouched(&job.folder, StepStatus::Failed, &format!("Not run: {reason}"), now)?;
            job.state = None;
            return Ok(());
        }
        let mut argv = self.options.program.clone();
        argv.extend(["supervise", "--reboot-policy", self.options.reboot_policy.as_str(), "--data"].map(Into::into));
        argv.push(
            std::path::absolute(&self.options.data_directory)
                .map_err(|e| AgentError::system("finding the data folder", e))?
                .into(),
        );
        match start_supervisor(&argv, &job.folder) {
            Ok(child) => {
                job.phase = Phase::Running(Some(child));
                Ok(())
            }
            Err(e) => {
                let state = job.folder.state()?;
                self.supervisor_failed(job_id, job, &state, &e.to_string())
            }
        }
    }

    /// Tries again later; a job that has not begun is given up after some tries.
    fn supervisor_failed(
        &mut self,
        job_id: &JobId,
        job: &mut Active,
        state: &JobState,
        why: &str,
    ) -> Result<(), AgentError> {
        job.failures += 1;
        let pause = Duration::from_secs(2_u64.saturating_pow(job.failures).min(60));
        job.phase = Phase::Waiting(Instant::now() + pause);
        self.trouble(format_args!(
            "job {job_id}: {why}; next try in {} s request_id={}",
            pause.as_secs(),
            job.request_id
        ));
        if job.failures >= STARTS_MAX && state.untouched() {
            let reason = format!("It could not be started: {why}.");
            self.journal.end_untouched(&job.folder, StepStatus::Failed, &reason, execution::now())?;
            job.state = None;
        }
        Ok(())
    }

    /// Puts into the spool what the server has not been told of a job; says whether that is all there will ever be.
    fn deliver(&mut self, job_id: &JobId, job: &mut Active, state: &JobState) -> Result<bool, AgentError> {
        let before = job.delivery.clone();
        let end = self.deliver_progress(job_id, job, state);
        if end.is_ok() && state.finished_at.is_some() && !job.delivery.finished {
            let report =
                job.folder.result()?.ok_or_else(|| AgentError::system("reading a result", "it is not there"))?;
            job.delivery.finished = self.tell_result(report);
            if job.delivery.finished {
                self.log.line(format_args!("job {job_id} is over request_id={}", job.request_id));
            }
        }
        if job.delivery != before {
            durable::write_json(&job.folder.path().join("delivery.json"), &job.delivery)?;
        }
        end?;
        Ok(job.delivery.finished)
    }

    fn deliver_progress(&mut self, job_id: &JobId, job: &mut Active, state: &JobState) -> Result<(), AgentError> {
        for (index, (name, step)) in job.steps.clone().iter().zip(&state.steps).enumerate() {
            if job.delivery.begun == index && *step != StepState::Waiting {
                if let Some(at) = step.started_at() {
                    let begun = ToServerBody::StepStarted { job_id: job_id.clone(), step: name.clone(), at };
                    self.tell(begun);
                }
                job.delivery.begun = index + 1;
            }
            if !job.patches {
                continue;
            }
            let complete = match step {
                StepState::Waiting => 0,
                StepState::Started { attempt, .. } => attempt.saturating_sub(1),
                StepState::AwaitingReboot { attempt, .. } => *attempt,
                StepState::Done { .. } => ATTEMPTS_MAX,
            };
            let told = job.delivery.attempts.get(&index).copied().unwrap_or(0);
            for attempt in told + 1..=complete {
                self.deliver_attempt(job, index, attempt)?;
                job.delivery.attempts.insert(index, attempt);
            }
        }
        Ok(())
    }

    fn deliver_attempt(&mut self, job: &Active, index: usize, attempt: u32) -> Result<(), AgentError> {
        let at = execution::now();
        if let Some(inventory) = job.folder.inventory(index, attempt)? {
            self.inventory.note(&mut self.spool, inventory, Some(job.command_id.clone()), at)?;
            self.spooled.notify_one();
        }
        let Some(report) = job.folder.patch_run(index, attempt)? else { return Ok(()) };
        let on_its_way = self.spool.messages()?.into_iter().any(
            |message| matches!(message.body, ToServerBody::PatchRun(other) if other.report_id == report.report_id),
        );
        if !on_its_way {
            self.spool.push(ToServerBody::PatchRun(Box::new(report)))?;
            self.spooled.notify_one();
        }
        Ok(())
    }
}
