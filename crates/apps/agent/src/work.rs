//! The agent's state: what it knows, keeps and runs. No waiting happens here.

use crate::clock::{Clock, uptime_micros};
use crate::exchanges::Impostor;
use crate::first_inventory::FirstInventory;
use crate::identity::Identity;
use crate::inventory::InventoryRecord;
use crate::jobs::Jobs;
use crate::log::Log;
use crate::orders::{self, Standing};
use crate::reboot::Reboot;
use crate::repeats::Repeats;
use crate::server_address::Servers;
use crate::status::{self, AgentStatus, Connectedness};
use crate::{AgentError, AgentOptions, connection, patching_host, policy};
use agent_wire::{HostFacts, Job, JobRefusal, JobReport, OrderBody, SignedOrder, ToServerBody};
use execution::{JobContext, Journal, JournalBounds, Known, Spool, SpoolBounds};
use identifiers::{JobId, RequestId, Timestamp};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How often old jobs are cleaned away.
const CLEANING: Duration = Duration::from_secs(3600);
/// More jobs than this do not wait at once.
const JOBS_MAX: usize = 1000;

/// Everything but the connection.
pub(crate) struct Work {
    pub(crate) options: AgentOptions,
    pub(crate) identity: Identity,
    pub(crate) servers: Servers,
    pub(crate) log: Rc<Log>,
    pub(crate) journal: Journal,
    pub(crate) spool: Spool,
    pub(crate) inventory: InventoryRecord,
    pub(crate) jobs: Jobs,
    pub(crate) reboot: Reboot,
    pub(crate) first_inventory: FirstInventory,
    pub(crate) boot_id: String,
    /// Tells this run of the agent from every other, on whichever host.
    instance: String,
    /// Told when the spool has something new.
    pub(crate) spooled: Rc<Notify>,
    /// Told when there is something to do for jobs.
    pub(crate) stirred: Rc<Notify>,
    clock: Clock,
    connection: Connectedness,
    last_error: Option<(Timestamp, String)>,
    /// Trouble of the work, and of calling the server.
    troubles: Repeats,
    calls: Repeats,
    next_action: String,
    written: Option<AgentStatus>,
    cleaned_at: Option<Instant>,
    /// What of the policy's limits can be enforced on this host.
    limits: String,
    /// The server did not take the node's next key when it was called last.
    pub(crate) next_key_refused: bool,
    /// Whom the agent has met in the server's place since the server was last there.
    pub(crate) impostors: Vec<Impostor>,
}

impl Work {
    pub(crate) fn open(options: AgentOptions, log: Rc<Log>) -> Result<Self, AgentError> {
        let identity = Identity::load(&options.data_directory)?;
        let servers = Servers::of(&identity)?;
        let node_directory = identity.node_directory(&options.data_directory);
        let mut journal = Journal::open(&node_directory, JournalBounds::default())?;
        journal.note(identity.incarnation, Timestamp::EPOCH)?;
        let spool = Spool::open(&node_directory, SpoolBounds::default())?;
        if spool.damaged() > 0 {
            log.line(format_args!("{} unsent messages were damaged on disk and are set aside", spool.damaged()));
        }
        // Said once: it does not change while the host runs.
        let limits = execution::limits_in_words();
        log.line(&limits);
        let mut work = Self {
            inventory: InventoryRecord::open(&node_directory)?,
            options,
            identity,
            servers,
            log,
            journal,
            spool,
            jobs: Jobs::default(),
            reboot: Reboot::default(),
            first_inventory: FirstInventory::default(),
            boot_id: execution::boot_id()?,
            instance: crate::keys::nonce()?.to_string(),
            spooled: Rc::new(Notify::new()),
            stirred: Rc::new(Notify::new()),
            clock: Clock::default(),
            connection: Connectedness::Disconnected { since: execution::now() },
            last_error: None,
            troubles: Repeats::default(),
            calls: Repeats::default(),
            next_action: "connecting".to_owned(),
            written: None,
            cleaned_at: None,
            limits,
            next_key_refused: false,
            impostors: Vec::new(),
        };
        work.find_jobs()?;
        Ok(work)
    }

    /// The true time, as far as it is known.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now(execution::now(), uptime_micros(), self.journal.watermarks().issued_at)
    }

    /// What may be the time: what this host's clock says, and what a signed order has said last.
    pub(crate) fn times(&self) -> [Timestamp; 2] {
        let signed = self.journal.watermarks().issued_at.max(self.identity.registered_at);
        [self.now(), signed]
    }

    pub(crate) fn learn_time(&mut self, server: Timestamp) {
        self.clock.learn(server, execution::now(), uptime_micros());
        let offset = self.clock.offset_seconds();
        if offset.abs() > 60 {
            self.log.line(format_args!(
                "the server's clock is {offset} s ahead of this host's; orders expire by the server's"
            ));
        }
    }

    /// What the host is now.
    pub(crate) fn facts(&self) -> HostFacts {
        let facts = patching_host::facts(&self.options.data_directory, self.servers.current());
        HostFacts { agent_instance: self.instance.clone(), ..facts }
    }

    /// Keeps a message for the server. What cannot be kept is said in the log.
    pub(crate) fn tell(&mut self, body: ToServerBody) -> bool {
        match self.spool.push(body) {
            Ok(_) => {
                self.spooled.notify_one();
                true
            }
            Err(e) => {
                self.trouble(format_args!("a message for the server cannot be kept: {e}"));
                false
            }
        }
    }

    /// Obeys an order, or says why not.
    pub(crate) fn order(&mut self, signed: &SignedOrder) {
        let watermarks = self.journal.watermarks();
        let job_keys = self.identity.job_keys();
        let standing = Standing {
            node_id: &self.identity.node_id,
            job_keys: &job_keys,
            incarnation: watermarks.incarnation,
            forgotten_until: watermarks.forgotten_until,
            now: self.now(),
        };
        let order = match orders::judge(signed, &standing) {
            Ok(order) => order,
            Err(refusal) => {
                self.trouble(format_args!("an order was refused: {}", refusal.reason));
                // A late copy of what is written down already (the server's clock was set back, say): its refusal must not
                // end the job, which has a result or will have one.
                let job_id = refusal.job_id.filter(|job_id| self.journal.find(job_id).is_none());
                self.tell(ToServerBody::OrderRefused { reason: refusal.reason, job_id });
                return;
            }
        };
        // Durable before anything is done, so that an older order is refused after a crash too.
        if let Err(e) = self.journal.note(order.incarnation, order.issued_at) {
            self.trouble(format_args!("an order cannot be obeyed: {e}"));
            return;
        }
        match order.body {
            OrderBody::Run(job) => self.order_to_run(signed, job, &order.request_id, order.expires_at),
            OrderBody::Cancel { job_id } => self.order_to_cancel(&job_id, &order.request_id, order.expires_at),
        }
        self.stirred.notify_one();
    }

    fn order_to_run(&mut self, signed: &SignedOrder, job: Job, request_id: &RequestId, expires_at: Timestamp) {
        let job_id = job.job_id.clone();
        match self.journal.find(&job_id) {
            Some(Known::Folder(folder)) => {
                self.log
                    .line(format_args!("job {job_id} was ordered again; it is not run again request_id={request_id}"));
                match folder.result() {
                    Ok(Some(report)) => self.tell_result_again(report),
                    _ => _ = self.tell(ToServerBody::JobAccepted { job_id }),
                }
            }
            Some(Known::Gone) => {
                self.log.line(format_args!(
                    "job {job_id} was ordered again, long after its end; it is not run again request_id={request_id}"
                ));
                let reason = "It was run or cancelled before, and its result is no longer kept.".to_owned();
                self.tell(ToServerBody::JobRefused { job_id, reason, cause: JobRefusal::Other });
            }
            None if self.jobs.len() >= JOBS_MAX => {
                let reason = format!("{JOBS_MAX} jobs wait on this node already.");
                self.tell(ToServerBody::JobRefused { job_id, reason, cause: JobRefusal::Other });
            }
            None if let Err(reason) = self.allowed(&job) => {
                self.log.line(format_args!("job {job_id} is refused: {reason} request_id={request_id}"));
                self.tell(ToServerBody::JobRefused { job_id, reason, cause: JobRefusal::Policy });
            }
            None => match self.journal.accept(signed, &job, &self.job_context(), execution::now()) {
                Ok(folder) => {
                    let document = &job.document_name;
                    self.log.line(format_args!("job {job_id} accepted: {document} request_id={request_id}"));
                    self.tell(ToServerBody::JobAccepted { job_id });
                    self.add_job(folder, &job, request_id, expires_at);
                }
                Err(e) => {
                    self.trouble(format_args!("job {job_id} cannot be written down: {e} request_id={request_id}"));
                    self.tell(ToServerBody::JobRefused {
                        job_id,
                        reason: format!("It cannot be written down: {e}."),
                        cause: JobRefusal::Other,
                    });
                }
            },
        }
    }

    /// Whether the node's own policy allows a job now.
    pub(crate) fn allowed(&self, job: &Job) -> Result<(), String> {
        policy::in_force(&self.options.data_directory).judge(job)
    }

    fn order_to_cancel(&mut self, job_id: &JobId, request_id: &RequestId, expires_at: Timestamp) {
        self.log.line(format_args!("job {job_id} is to be cancelled request_id={request_id}"));
        let done = match self.journal.find(job_id) {
            Some(Known::Folder(folder)) => match folder.result() {
                Ok(Some(report)) => {
                    self.tell_result_again(report);
                    Ok(())
                }
                _ => folder.cancel(),
            },
            Some(Known::Gone) => Ok(()),
            None => {
                // The order to run may still come, also one that expires later than this one.
                let until = expires_at.max(self.now().plus_seconds(7 * 24 * 3600));
                let done = self.journal.forestall(job_id, until);
                let reason = "It was cancelled before it came.".to_owned();
                self.tell(ToServerBody::JobRefused { job_id: job_id.clone(), reason, cause: JobRefusal::Other });
                done
            }
        };
        if let Err(e) = done {
            self.trouble(format_args!("job {job_id} cannot be cancelled: {e}"));
        }
    }

    fn job_context(&self) -> JobContext {
        let facts = self.facts();
        JobContext {
            node_id: self.identity.node_id.clone(),
            region: self.identity.region.clone(),
            platform_name: facts.distribution.name,
            platform_version: facts.distribution.version_id,
            reboot_command: self.reboot_words(),
        }
    }

    /// Tells a job's result, unless it is on its way.
    pub(crate) fn tell_result(&mut self, report: JobReport) -> bool {
        let on_its_way = self.spool.messages().is_ok_and(|messages| {
            messages.iter().any(
                |message| matches!(&message.body, ToServerBody::JobFinished(other) if other.job_id == report.job_id),
            )
        });
        on_its_way || self.tell(ToServerBody::JobFinished(fitted(report)))
    }

    fn tell_result_again(&mut self, report: JobReport) {
        self.tell_result(report);
    }

    /// Cleans old jobs away, now and then.
    pub(crate) fn clean(&mut self) {
        if self.cleaned_at.is_some_and(|at| at.elapsed() < CLEANING) {
            return;
        }
        self.cleaned_at = Some(Instant::now());
        let now = self.now();
        execution::remove_empty_groups();
        if let Err(e) = self.journal.clean(now, crate::jobs::is_delivered) {
            self.trouble(format_args!("old jobs cannot be cleaned away: {e}"));
        }
    }

    /// Something went wrong: the log and the status say so.
    pub(crate) fn trouble(&mut self, text: impl std::fmt::Display) {
        let (text, now) = (text.to_string(), execution::now());
        if let Some(line) = self.troubles.failed(&text, now) {
            self.log.line(line);
        }
        self.last_error = Some((now, text));
    }

    /// A call failed or a session broke, and the agent will call again.
    pub(crate) fn not_connected(&mut self, error: &str) {
        let now = execution::now();
        if let Some(line) = self.calls.failed(error, now) {
            self.log.line(format_args!("{line}; calling again until it answers"));
        }
        self.last_error = Some((now, error.to_owned()));
    }

    /// The server has let this agent in.
    pub(crate) fn greeted(&mut self) {
        let before = self.calls.recovered(execution::now()).map(|before| format!(" {before}")).unwrap_or_default();
        self.log.line(format_args!("connected to {}{before}; waiting for orders", self.servers.current()));
    }

    /// The connection came or went; `next` is what follows.
    pub(crate) fn connected(&mut self, connected: bool, next: String) {
        let now = execution::now();
        self.connection = match (self.connection, connected) {
            (kept @ Connectedness::Connected { .. }, true) | (kept @ Connectedness::Disconnected { .. }, false) => kept,
            (_, true) => Connectedness::Connected { since: now },
            (_, false) => Connectedness::Disconnected { since: now },
        };
        self.next_action = next;
        self.show();
    }

    /// Writes the status if it changed.
    pub(crate) fn show(&mut self) {
        let mut status = AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node_id: self.identity.node_id.clone(),
            server: self.servers.current().to_string(),
            connection: self.connection,
            last_error: self.last_error.clone(),
            next_action: self.next_action.clone(),
            jobs: self.job_lines(),
            spooled_messages: self.spool.len(),
            clock_offset_seconds: self.clock.offset_seconds(),
            policy: policy::in_force(&self.options.data_directory).summary(),
            limits: self.limits.clone(),
            written_at: self.written.as_ref().map_or(Timestamp::EPOCH, |written| written.written_at),
        };
        if self.written.as_ref() == Some(&status) {
            return;
        }
        status.written_at = execution::now();
        // The status is for people; the work goes on without it.
        if status::write_status(&self.options.data_directory, &status).is_ok() {
            self.written = Some(status);
        }
    }
}

/// A report that fits into a frame: outputs are halved until it does.
fn fitted(mut report: JobReport) -> JobReport {
    let mut bytes_max = execution::REPORT_BYTES_MAX;
    while connection::encoded(&report).is_err() && bytes_max > 0 {
        bytes_max /= 2;
        for step in &mut report.steps {
            for (text, truncated) in
                [(&mut step.stdout, &mut step.stdout_truncated), (&mut step.stderr, &mut step.stderr_truncated)]
            {
                if text.len() > bytes_max {
                    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                    text.truncate(end);
                    *truncated = true;
                }
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_wire::{StepReport, StepStatus};
    use identifiers::{CommandId, IdSource, SeededIds};

    #[test]
    fn a_report_too_large_for_a_frame_loses_output_and_says_so() {
        let noise = |seed| {
            let mut noise = vec![0; 100_000];
            SeededIds::new(seed).fill(&mut noise);
            noise.iter().map(|byte| char::from(b' ' + byte % 95)).collect::<String>()
        };
        let step = |seed| StepReport {
            name: "step".to_owned(),
            status: StepStatus::Success,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            stdout: noise(seed),
            stderr: noise(seed + 100),
            stdout_truncated: false,
            stderr_truncated: false,
        };
        let id = "11111111-2222-4333-8444-555555555555";
        let report = JobReport {
            job_id: JobId::parse(id).unwrap(),
            command_id: CommandId::parse(id).unwrap(),
            steps: (0..20).map(step).collect(),
            finished_at: Timestamp::EPOCH,
        };
        assert!(connection::encoded(&report).is_err(), "the test needs a report that does not fit");
        let fitted = fitted(report);
        assert!(connection::encoded(&fitted).is_ok());
        assert!(fitted.steps[0].stdout_truncated && fitted.steps[0].stdout.len() >= 10_000);
    }
}
