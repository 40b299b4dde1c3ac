//! The process that owns one running job.

mod output;
mod patch_step;
mod script;
mod script_step;
mod transaction;
mod tree;

use crate::cgroup::JobGroup;
use crate::{ExecutionError, JobContext, JobFolder, JobLock, JobState, PatchRunner, StepState, Stop, durable};
use crate::{host_state, report};
use agent_wire::{Job, Step, StepAction, StepStatus};
use identifiers::RequestId;
use output::BoundedFile;
use policy::Limits;
use script::Leftovers;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a step waits for the reboot it asked for, in seconds of the host's clock.
pub const REBOOT_BOUND_SECONDS: i64 = 1800;
/// How often a step is begun at most: once, and again after each reboot or interruption that allows it.
const ATTEMPTS_MAX: u32 = 6;
/// What the SSM agent makes of a timeout outside the range it allows, in seconds.
const TIMEOUT_DEFAULT_SECONDS: u32 = 3600;

/// How a supervisor's work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervised {
    /// The job is over; its result is written.
    Finished,
    /// A step waits for a reboot, which is the agent's to perform.
    AwaitingReboot,
    /// Another supervisor has the job.
    Elsewhere,
}

/// Starts a supervisor for a job: `argv` and then the job's folder. It outlives this process.
///
/// # Errors
/// When it cannot be started.
pub fn start_supervisor(argv: &[OsString], folder: &JobFolder) -> Result<Child, ExecutionError> {
    let path = folder.path().join("supervisor.log");
    let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let log = open().map_err(ExecutionError::file("opening", &path))?;
    let log_too = log.try_clone().map_err(ExecutionError::file("opening", &path))?;
    let (program, arguments) = argv.split_first().ok_or_else(|| ExecutionError::System {
        doing: "starting a supervisor",
        source: std::io::Error::from(std::io::ErrorKind::InvalidInput),
    })?;
    let mut command = Command::new(program);
    command.args(arguments).arg(folder.path()).current_dir("/");
    command.stdin(Stdio::null()).stdout(log).stderr(log_too);
    command.spawn().map_err(|source| ExecutionError::System { doing: "starting a supervisor", source })
}

/// Runs what is left of a job, as the only one to do so; `patches` runs its patch steps, `limits` hold for its scripts.
///
/// Call it in a process that does nothing else: it makes the process a session leader and a child subreaper, and it
/// returns only when nobody holds a stream of the job's scripts any more.
///
/// # Errors
/// When the job cannot be read or its progress cannot be written down; another supervisor may then go on.
pub fn supervise(
    folder: &JobFolder,
    patches: &mut dyn PatchRunner,
    limits: &Limits,
) -> Result<Supervised, ExecutionError> {
    // Own session: a Ctrl-C or a hang-up meant for the agent does not reach the job. It fails where this process
    // leads a group already, which is a session of its own then or a person at a terminal.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| ExecutionError::System { doing: "becoming a child subreaper", source: e.into() })?;
    let Some(lock) = lock_with_patience(folder)? else { return Ok(Supervised::Elsewhere) };
    let mut supervision = Supervision::begin(folder, limits)?;
    supervision.note("supervised");
    let end = supervision.run(patches)?;
    supervision.note(match end {
        Supervised::AwaitingReboot => "waits for a reboot",
        Supervised::Finished | Supervised::Elsewhere => "finished",
    });
    let leftovers = std::mem::take(&mut supervision.leftovers);
    drop(lock);
    leftovers.wait();
    if let Some(group) = supervision.group {
        group.remove_if_empty();
    }
    Ok(end)
}

/// The agent holds the lock for a moment when it looks whether a supervisor lives; a supervisor holds it for long.
fn lock_with_patience(folder: &JobFolder) -> Result<Option<JobLock>, ExecutionError> {
    for _ in 0..100 {
        if let Some(lock) = folder.try_lock()? {
            return Ok(Some(lock));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(None)
}

/// What a step's kind makes of one attempt.
enum StepEnd {
    Over { status: StepStatus, exit_code: i32, remark: Option<String> },
    RebootWanted { reason: String },
}

impl StepEnd {
    fn failed(remark: impl Into<String>) -> Self {
        Self::Over { status: StepStatus::Failed, exit_code: 1, remark: Some(remark.into()) }
    }
}

/// Why the steps that have not begun will not.
struct Rest {
    status: StepStatus,
    exit_code: i32,
    reason: &'static str,
}

/// One attempt at one step.
struct Attempt {
    index: usize,
    number: u32,
    started_at: identifiers::Timestamp,
    rebooted: bool,
    resumed: bool,
}

struct Supervision<'a> {
    folder: &'a JobFolder,
    job: Job,
    /// The request that the job is done for.
    request_id: RequestId,
    context: JobContext,
    state: JobState,
    boot_id: String,
    leftovers: Leftovers,
    /// The control group of the job's scripts, where there is one.
    group: Option<JobGroup>,
}

impl<'a> Supervision<'a> {
    fn begin(folder: &'a JobFolder, limits: &Limits) -> Result<Self, ExecutionError> {
        let (order, job) = folder.job()?;
        let request_id = order.request_id;
        let state = folder.state()?;
        if state.steps.len() != job.steps.len() {
            return Err(ExecutionError::damaged(folder.path(), "its state has another number of steps than its order"));
        }
        let context = folder.context()?;
        let scripts = job.steps.iter().any(|step| matches!(step.action, StepAction::RunShellScript { .. }));
        let open = state.finished_at.is_none();
        let group = (scripts && open).then(|| JobGroup::make(job.job_id.as_str(), limits)).flatten();
        let boot_id = host_state::boot_id()?;
        Ok(Self { folder, job, request_id, context, state, boot_id, leftovers: Leftovers::default(), group })
    }

    /// A line in the job's own log, which is this process's standard error.
    fn note(&self, text: &str) {
        let (now, job, request) = (host_state::now(), &self.job.job_id, &self.request_id);
        let _ = writeln!(std::io::stderr(), "{now} job {job} {text} request_id={request}");
    }

    fn run(&mut self, patches: &mut dyn PatchRunner) -> Result<Supervised, ExecutionError> {
        if self.state.finished_at.is_some() {
            return Ok(Supervised::Finished);
        }
        for (index, step) in self.job.steps.clone().iter().enumerate() {
            let Some(state) = self.state.steps.get(index).cloned() else { continue };
            if matches!(state, StepState::Done { .. }) {
                continue;
            }
            if let (StepState::Waiting, Some(rest)) = (&state, self.rest()) {
                self.set(index, StepState::never_began(rest.status, rest.exit_code, host_state::now()), rest.reason)?;
                continue;
            }
            if self.step(index, step, state, patches)? == Supervised::AwaitingReboot {
                return Ok(Supervised::AwaitingReboot);
            }
        }
        let now = host_state::now();
        self.folder.write_result(&report::job_report(self.folder, &self.job, &self.state, now)?)?;
        self.state.finished_at = Some(now);
        self.folder.write_state(&self.state)?;
        Ok(Supervised::Finished)
    }

    /// What the steps that are over mean for those that have not begun: exit codes 168 and 169 of a script end the
    /// document (the SSM agent's contract), and so do a cancellation and an interruption.
    fn rest(&self) -> Option<Rest> {
        let skipped = |reason| Some(Rest { status: StepStatus::Skipped, exit_code: 0, reason });
        for (step, state) in self.job.steps.iter().zip(&self.state.steps) {
            let StepState::Done { status, exit_code, .. } = state else { continue };
            let script = matches!(step.action, StepAction::RunShellScript { .. });
            match (status, exit_code) {
                (StepStatus::Interrupted, _) => return skipped("Not run: an earlier step was interrupted."),
                (StepStatus::Success | StepStatus::Failed, 168 | 169) if script => {
                    return skipped("Not run: an earlier step ended the document.");
                }
                _ => {}
            }
        }
        let cancelled =
            Rest { status: StepStatus::Cancelled, exit_code: -1, reason: "Not run: the job was cancelled." };
        self.folder.cancel_wanted().then_some(cancelled)
    }

    /// Runs one step as far as it goes now.
    fn step(
        &mut self,
        index: usize,
        step: &Step,
        state: StepState,
        patches: &mut dyn PatchRunner,
    ) -> Result<Supervised, ExecutionError> {
        let attempt = match self.attempt(index, step, state)? {
            Turn::Begin(attempt) => attempt,
            Turn::Wait => return Ok(Supervised::AwaitingReboot),
            Turn::Over => return Ok(Supervised::Finished),
        };
        let started =
            StepState::Started { at: attempt.started_at, boot_id: self.boot_id.clone(), attempt: attempt.number };
        // From here on a script never starts again: durable before anything is spawned.
        self.set(index, started, "")?;
        let step_path = self.folder.step_path(index);
        let mut stdout = BoundedFile::open(&step_path, "stdout")?;
        let mut stderr = BoundedFile::open(&step_path, "stderr")?;
        let timeout = Duration::from_secs(u64::from(match step.timeout_seconds {
            seconds @ 1..=172_800 => seconds,
            _ => TIMEOUT_DEFAULT_SECONDS,
        }));
        let stop = stop_reason(self.folder, Instant::now() + timeout);
        let end = match &step.action {
            StepAction::RunShellScript { lines, working_directory } => {
                script_step::run(self, &attempt, (lines, working_directory), (&mut stdout, &mut stderr), &stop)?
            }
            StepAction::Patch(patch) => patch_step::run(self, &attempt, patch, (&mut stdout, &stop), patches)?,
            StepAction::Skip { reason } => {
                StepEnd::Over { status: StepStatus::Skipped, exit_code: 0, remark: Some(reason.clone()) }
            }
        };
        self.record(&attempt, step, end, stdout, stderr)
    }

    /// What the step's state allows now.
    fn attempt(&mut self, index: usize, step: &Step, state: StepState) -> Result<Turn, ExecutionError> {
        let begin = |number, started_at, rebooted, resumed| {
            Turn::Begin(Attempt { index, number, started_at, rebooted, resumed })
        };
        let now = host_state::now();
        Ok(match state {
            StepState::Waiting => begin(1, now, false, false),
            StepState::Done { .. } => Turn::Over,
            StepState::Started { at, boot_id, attempt } => {
                script_step::end_leftovers(self, index, &boot_id);
                let resumable = matches!(step.action, StepAction::Patch(_));
                if resumable && attempt < ATTEMPTS_MAX && !self.folder.cancel_wanted() {
                    // A patch step assesses the host before it does anything.
                    return Ok(begin(attempt + 1, at, attempt > 1, true));
                }
                let why =
                    if boot_id == self.boot_id { "its supervisor died" } else { "the host lost power or was rebooted" };
                let remark = format!("Interrupted: {why} while the step ran. It was not run again.");
                self.set(index, over(StepStatus::Interrupted, -1, at, now), &remark)?;
                Turn::Over
            }
            StepState::AwaitingReboot { started_at, since, boot_id, attempt, .. } => {
                if boot_id != self.boot_id {
                    return Ok(begin(attempt + 1, started_at, true, false));
                }
                let bounded = now.micros_since(since) >= REBOOT_BOUND_SECONDS * 1_000_000;
                let (status, remark) = if let Some(reason) = self.folder.reboot_failure() {
                    (StepStatus::Failed, format!("A reboot was wanted but cannot be had: {reason}"))
                } else if self.folder.cancel_wanted() {
                    (StepStatus::Cancelled, "Cancelled while it waited for a reboot.".to_owned())
                } else if bounded {
                    let command = &self.context.reboot_command;
                    let text = format!(
                        "A reboot was wanted, but the host was still in the same boot {REBOOT_BOUND_SECONDS} seconds later (command: {command})."
                    );
                    (StepStatus::Failed, text)
                } else {
                    return Ok(Turn::Wait);
                };
                self.set(index, over(status, 1, started_at, now), &remark)?;
                Turn::Over
            }
        })
    }

    /// Writes down how an attempt ended.
    fn record(
        &mut self,
        attempt: &Attempt,
        step: &Step,
        end: StepEnd,
        mut stdout: BoundedFile,
        mut stderr: BoundedFile,
    ) -> Result<Supervised, ExecutionError> {
        let end = match end {
            StepEnd::RebootWanted { .. } if attempt.number >= ATTEMPTS_MAX => StepEnd::failed(format!(
                "The step asked for a reboot {ATTEMPTS_MAX} times; it is not given another one."
            )),
            end => end,
        };
        let now = host_state::now();
        let (state, result) = match end {
            StepEnd::Over { status, exit_code, remark } => {
                if let Some(text) = remark {
                    // A skipped step says why where people look first.
                    if matches!(step.action, StepAction::Skip { .. }) {
                        stdout.remark(&text)
                    } else {
                        stderr.remark(&text)
                    }
                }
                let state = StepState::Done {
                    status,
                    exit_code,
                    started_at: Some(attempt.started_at),
                    finished_at: now,
                    stdout_truncated: stdout.truncated(),
                    stderr_truncated: stderr.truncated(),
                };
                (state, Supervised::Finished)
            }
            StepEnd::RebootWanted { reason } => {
                let state = StepState::AwaitingReboot {
                    started_at: attempt.started_at,
                    since: now,
                    boot_id: self.boot_id.clone(),
                    attempt: attempt.number,
                    reason,
                };
                (state, Supervised::AwaitingReboot)
            }
        };
        stdout.sync();
        stderr.sync();
        self.set(attempt.index, state, "")?;
        Ok(result)
    }

    /// Writes a step's state down, after a remark on its standard error if there is one.
    fn set(&mut self, index: usize, state: StepState, remark: &str) -> Result<(), ExecutionError> {
        let path = self.folder.step_path(index);
        durable::create_directory(&path)?;
        if !remark.is_empty() {
            BoundedFile::open(&path, "stderr")?.remark(remark);
        }
        if let Some(place) = self.state.steps.get_mut(index) {
            *place = state;
        }
        self.folder.write_state(&self.state)
    }
}

/// What a step's state allows.
enum Turn {
    Begin(Attempt),
    Wait,
    Over,
}

fn over(
    status: StepStatus,
    exit_code: i32,
    started_at: identifiers::Timestamp,
    finished_at: identifiers::Timestamp,
) -> StepState {
    StepState::Done {
        status,
        exit_code,
        started_at: Some(started_at),
        finished_at,
        stdout_truncated: false,
        stderr_truncated: false,
    }
}

fn stop_reason(folder: &JobFolder, until: Instant) -> impl Fn() -> Option<Stop> + 'static {
    let folder = folder.clone();
    move || {
        if folder.cancel_wanted() {
            return Some(Stop::Cancelled);
        }
        (Instant::now() >= until).then_some(Stop::TimedOut)
    }
}
