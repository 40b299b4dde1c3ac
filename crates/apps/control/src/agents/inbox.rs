//! What agents say, one message at a time. A message is acknowledged when what it says is durable; one that came before
//! changes nothing and is acknowledged again.

use std::sync::{Arc, OnceLock};

use access::{Action, Decision, Principal, Resource};
use agent_wire::{FromServer, JobRefusal, JobReport, StepReport, StepStatus as ReportedStatus, ToServer, ToServerBody};
use changes::Changes;
use commands::{
    AgentRefusal, Invocation, InvocationEvent, Outcome, Report, StepOutcome, StepStatus, StepText, outcome_of_steps,
};
use identifiers::{JobId, Timestamp};
use store::{ApplyError, Write};
use tracing::Instrument;

use super::{AgentSession, bounds::bound, handshake::node_facts};
use crate::{Error, Server, commit::ATTEMPTS_MAX};

/// What became of a message.
pub(super) struct Kept {
    acknowledged: bool,
    answers: Vec<FromServer>,
}

impl Kept {
    /// It is durable.
    pub(super) fn done() -> Self {
        Self { acknowledged: true, answers: Vec::new() }
    }

    /// It is dealt with, and this is to be said besides.
    pub(super) fn answered(answer: FromServer) -> Self {
        Self { acknowledged: true, answers: vec![answer] }
    }

    /// It makes no sense; said again it would make no more.
    pub(super) fn refused(reason: &str) -> Self {
        tracing::warn!("an agent's message was dropped: {reason}");
        Self { acknowledged: true, answers: Vec::new() }
    }

    /// It came over a connection that is not the node's newest: it is said again over that one.
    pub(super) fn overtaken() -> Self {
        Self { acknowledged: false, answers: Vec::new() }
    }
}

impl Server {
    /// Takes in one message and gives what is to be answered. Without an acknowledgement the agent says it again.
    pub async fn agent_message(self: &Arc<Self>, session: &AgentSession, message: ToServer) -> Vec<FromServer> {
        let id = message.id;
        if matches!(message.body, ToServerBody::Unknown) {
            self.metrics.agent_message("unknown");
            return vec![FromServer::Unsupported { id }];
        }
        if let Err(reason) = authorised(session) {
            tracing::error!(node = %session.node_id, "a node's message was refused: {reason}");
            return Vec::new();
        }
        if !self.sessions.is_current(&session.node_id, session.epoch) {
            // The node has been sent away, or has connected anew and says again there what was not acknowledged here.
            return Vec::new();
        }
        session.heard(self.now());
        let mut body = message.body;
        if let Err(reason) = bound(&mut body, self.now()) {
            tracing::warn!(node = %session.node_id, "a node's message was dropped: {reason}");
            return (id != 0).then_some(FromServer::Acknowledged { id }).into_iter().collect();
        }
        if let ToServerBody::Heartbeat { boot_id } = &body {
            self.metrics.agent_message("heartbeat");
            let ping = self.ping(&session.node_id, session.epoch, boot_id, true);
            // It is acknowledged when it is durable, with those of others.
            self.pings.note(&session.scope, ping, (id != 0).then_some(id));
            return Vec::new();
        }
        let span = tracing::error_span!("message", message_id = id);
        match self.take_in(session, body).instrument(span).await {
            Ok(kept) => {
                let acknowledged = (id != 0 && kept.acknowledged).then_some(FromServer::Acknowledged { id });
                acknowledged.into_iter().chain(kept.answers).collect()
            }
            // The node keeps it, and says it again when there is room.
            Err(error) if error.is_read_only() => Vec::new(),
            Err(error) => {
                let detail = error.detail.as_deref().unwrap_or(&error.message);
                tracing::error!(node = %session.node_id, "a node's message could not be kept: {detail}");
                Vec::new()
            }
        }
    }

    async fn take_in(self: &Arc<Self>, session: &AgentSession, body: ToServerBody) -> Result<Kept, Error> {
        let kind;
        let result = match body {
            ToServerBody::Facts(facts) => {
                kind = "facts";
                let facts = node_facts(&facts, &facts.agent_version, session.peer);
                self.note_facts(session, facts).await.map(|()| Kept::done())
            }
            ToServerBody::JobAccepted { job_id } => {
                kind = "job_accepted";
                self.report_on(session, &job_id, |_| Some(Report::of(InvocationEvent::Accepted))).await
            }
            ToServerBody::JobRefused { job_id, reason, cause } => {
                kind = "job_refused";
                if cause == JobRefusal::Policy {
                    self.audit_order_refused(session, &reason, Some(&job_id)).await?;
                }
                self.report_on(session, &job_id, |invocation| Some(job_refused(invocation, &reason, cause))).await
            }
            ToServerBody::OrderRefused { reason, job_id } => {
                kind = "order_refused";
                tracing::warn!(node = %session.node_id, "an order was refused: {reason}");
                self.audit_order_refused(session, &reason, job_id.as_ref()).await?;
                match job_id {
                    None => Ok(Kept::done()),
                    Some(job_id) => {
                        let now = self.now();
                        self.report_on(session, &job_id, |invocation| order_refused(invocation, &reason, now)).await
                    }
                }
            }
            ToServerBody::StepStarted { job_id, step, at } => {
                kind = "step_started";
                self.begin_step(session, &job_id, &step, at).await
            }
            ToServerBody::Output(chunk) => {
                kind = self.take_output(session, &chunk);
                Ok(Kept::done())
            }
            ToServerBody::JobFinished(report) => {
                kind = "job_finished";
                let job_id = report.job_id.clone();
                self.live_outputs.job_over(&session.node_id, &job_id);
                self.report_on(session, &job_id, |invocation| Some(job_finished(invocation, &report))).await
            }
            ToServerBody::PatchRun(run) => {
                kind = "patch_run";
                self.keep_patch_run(session, *run).await
            }
            ToServerBody::Inventory(report) => {
                kind = "inventory";
                self.keep_inventory(session, *report).await
            }
            body @ (ToServerBody::TrustKept { .. }
            | ToServerBody::NodeKey { .. }
            | ToServerBody::ImpostorMet { .. }
            | ToServerBody::Unknown) => {
                kind = "keys";
                self.keep_word_of_keys(session, body).await
            }
            // Dealt with before.
            ToServerBody::Heartbeat { .. } => return Ok(Kept::done()),
        };
        self.metrics.agent_message(kind);
        result
    }

    /// A step began: what it writes may come from now on.
    async fn begin_step(
        self: &Arc<Self>,
        session: &AgentSession,
        job_id: &JobId,
        step: &str,
        at: Timestamp,
    ) -> Result<Kept, Error> {
        // Only an invocation that is this node's own comes to be known.
        let known = OnceLock::new();
        let report = |invocation: &Invocation| {
            let _ = known.set(invocation.clone());
            Some(step_started(invocation, step, at))
        };
        let mut kept = self.report_on(session, job_id, report).await?;
        if let Some(invocation) = known.get() {
            kept.answers.extend(self.listen_to_step(session, invocation, step));
        }
        Ok(kept)
    }

    /// Applies what a node says of a job; only of a job that it was given. `report` gives `None` where it changes nothing.
    async fn report_on(
        self: &Arc<Self>,
        session: &AgentSession,
        job_id: &JobId,
        report: impl Fn(&Invocation) -> Option<Report>,
    ) -> Result<Kept, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.invocation_get_by_job(&session.scope, job_id).await?;
            let Some(invocation) = found.filter(|found| found.row.node_id == session.node_id) else {
                return Ok(Kept::refused("a report of a job that this node was not given"));
            };
            let Some(report) = report(&invocation.row) else { return Ok(Kept::done()) };
            let decided = commands::apply_report(&invocation, &report, self.now());
            let changes: Changes<Write> = match decided {
                Ok(changes) => changes.map(Write::from),
                Err(impossible) => return Ok(Kept::refused(&impossible.to_string())),
            };
            if changes.is_empty() {
                return Ok(Kept::done());
            }
            match self.apply(&session.scope, changes).await {
                Ok(_) => {
                    // Others of the command may have become due, or it may be over.
                    self.wake();
                    return Ok(Kept::done());
                }
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }

    async fn audit_order_refused(
        self: &Arc<Self>,
        session: &AgentSession,
        reason: &str,
        job_id: Option<&JobId>,
    ) -> Result<(), Error> {
        if !self.throttle.node_record(&session.node_id, self.now()) {
            tracing::warn!(node = %session.node_id, "the node refuses too much; this refusal is not recorded");
            return Ok(());
        }
        let principal = Principal::Node { scope: session.scope.clone(), node_id: session.node_id.clone() };
        let context = self.context(session.scope.clone(), principal, session.source_address.clone());
        let resource = session.scope.ssm_arn(&format!("managed-instance/{}", session.node_id));
        let reason: String = reason.chars().take(500).collect();
        let mut record = context.audit_refused("careen:ReceiveOrder", resource, &reason);
        record.after = serde_json::json!({ "job_id": job_id });
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(record);
        self.store.apply(&session.scope, changes).await?;
        Ok(())
    }
}

/// A node may report about itself only; the session fixes which node speaks.
fn authorised(session: &AgentSession) -> Result<(), String> {
    let principal = Principal::Node { scope: session.scope.clone(), node_id: session.node_id.clone() };
    let own = Resource::new(&session.scope.ssm_arn(&format!("managed-instance/{}", session.node_id)));
    match access::authorise(&principal, &Action::new("careen:Report"), &[own], &session.scope) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(reason.to_string()),
    }
}

/// The node will not run a job. Where it was cancelled, that is what was wanted.
fn job_refused(invocation: &Invocation, reason: &str, cause: JobRefusal) -> Report {
    let refusal = match cause {
        JobRefusal::Policy => AgentRefusal::Policy,
        JobRefusal::Other => AgentRefusal::Unreadable,
    };
    match invocation.is_cancel_to_be_sent() {
        true => Report::because(InvocationEvent::CancelConfirmed, reason),
        false => Report::because(InvocationEvent::AgentRefused(refusal), reason),
    }
}

/// An order was not obeyed. That ends only what waits for it: an order to cancel is given again. Nor does a refusal after
/// its time end it, for a node refuses a late repetition of what it has written down just the same.
fn order_refused(invocation: &Invocation, reason: &str, now: Timestamp) -> Option<Report> {
    let waits = invocation.is_to_be_sent() && now < invocation.delivery_until;
    waits.then(|| Report::because(InvocationEvent::AgentRefused(AgentRefusal::Unreadable), reason))
}

fn plugin(invocation: &Invocation, step: &str) -> String {
    let found = invocation.steps.iter().find(|known| known.name == step);
    found.map(|known| known.plugin.clone()).unwrap_or_default()
}

fn step_started(invocation: &Invocation, step: &str, at: Timestamp) -> Report {
    let mut report = Report::of(InvocationEvent::Started);
    report.steps.push(StepOutcome {
        name: step.to_owned(),
        plugin: plugin(invocation, step),
        status: StepStatus::InProgress,
        response_code: commands::RESPONSE_CODE_UNKNOWN,
        started_at: Some(at),
        finished_at: None,
    });
    report
}

fn job_finished(invocation: &Invocation, job: &JobReport) -> Report {
    let steps: Vec<StepOutcome> = job
        .steps
        .iter()
        .map(|step| StepOutcome {
            name: step.name.clone(),
            plugin: plugin(invocation, &step.name),
            status: status(step.status),
            response_code: i64::from(step.exit_code),
            started_at: step.started_at,
            finished_at: step.finished_at,
        })
        .collect();
    // A node that says "finished" with a step still open has not done what it says.
    let outcome = outcome_of_steps(steps.iter().map(|step| step.status)).unwrap_or(Outcome::Failed);
    let interrupted = job.steps.iter().find(|step| step.status == ReportedStatus::Interrupted);
    let mut report = match interrupted {
        Some(step) => Report::because(
            InvocationEvent::Finished(outcome),
            format!("Interrupted: the host or the agent went down while step {} ran; it was not run again.", step.name),
        ),
        None => Report::of(InvocationEvent::Finished(outcome)),
    };
    report.steps = steps;
    report.outputs = job.steps.iter().map(output).collect();
    report
}

fn status(reported: ReportedStatus) -> StepStatus {
    match reported {
        ReportedStatus::Success => StepStatus::Success,
        ReportedStatus::Failed | ReportedStatus::Interrupted => StepStatus::Failed,
        ReportedStatus::TimedOut => StepStatus::TimedOut,
        ReportedStatus::Cancelled => StepStatus::Cancelled,
        ReportedStatus::Skipped => StepStatus::Skipped,
    }
}

fn output(step: &StepReport) -> StepText {
    StepText {
        step: step.name.clone(),
        stdout: step.stdout.clone(),
        stderr: step.stderr.clone(),
        stdout_truncated: step.stdout_truncated,
        stderr_truncated: step.stderr_truncated,
    }
}
