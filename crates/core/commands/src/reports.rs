//! What happens to an invocation: a node's reports, and what befalls it from elsewhere.

use crate::output::{LISTED_CHARS_MAX, kept};
use crate::write::{command_aggregate, invocation_aggregate};
use crate::{
    AgentRefusal, EndState, ImpossibleEvent, Invocation, InvocationEvent, InvocationState, OpenState,
    RESPONSE_CODE_UNKNOWN, Refused, StepOutcome, StepOutput, StepStatus, Transition, Write,
};
use changes::{Changes, Event, Versioned};
use identifiers::{NodeId, Timestamp};

/// What a step wrote, as its node reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepText {
    /// The step's name.
    pub step: String,
    /// The beginning of standard output.
    pub stdout: String,
    /// The beginning of standard error.
    pub stderr: String,
    /// Whether standard output went on.
    pub stdout_truncated: bool,
    /// Whether standard error went on.
    pub stderr_truncated: bool,
}

/// What is reported about an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What happened.
    pub event: InvocationEvent,
    /// Why, for people; empty where the event says enough.
    pub detail: String,
    /// Steps whose status is known now. Names that the document has not are passed over.
    pub steps: Vec<StepOutcome>,
    /// What steps that have ended wrote.
    pub outputs: Vec<StepText>,
}

impl Report {
    /// An event alone.
    #[must_use]
    pub fn of(event: InvocationEvent) -> Self {
        Self { event, detail: String::new(), steps: Vec::new(), outputs: Vec::new() }
    }

    /// An event with its reason.
    #[must_use]
    pub fn because(event: InvocationEvent, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..Self::of(event) }
    }
}

/// Takes in a report. A late or repeated one gives empty changes: nothing is written, nothing is lost.
///
/// When it ends the invocation as an error, the command is touched without being read: a dispatch that is under way on
/// an older count of errors conflicts and decides again, but reports never wait for each other.
///
/// # Errors
/// [`ImpossibleEvent`] where the node speaks of what it was never given.
pub fn apply_report(
    invocation: &Versioned<Invocation>,
    report: &Report,
    now: Timestamp,
) -> Result<Changes<Write>, ImpossibleEvent> {
    let before = &invocation.row;
    let mut changes = Changes::new();
    let Some(after) = after(before, report, now)? else { return Ok(changes) };
    let outputs = outputs(before, &report.outputs);
    if after == *before && outputs.is_empty() {
        return Ok(changes);
    }
    changes.update(invocation_aggregate(&after.command_id, &after.node_id), invocation.revision);
    if after.state.is_error() {
        changes.touched.push(command_aggregate(&after.command_id));
    }
    if after.state != before.state {
        changes.events.push(invocation_event(&after, now));
    }
    if after.state.is_ended() && after.started_at.is_some() {
        // The results say the same, and more.
        changes.writes.push(Write::LiveOutputDelete(after.command_id.clone(), after.node_id.clone()));
    }
    changes.writes.push(Write::InvocationPut(Box::new(after)));
    changes.writes.extend(outputs.into_iter().map(|output| Write::StepOutputPut(Box::new(output))));
    Ok(changes)
}

/// What the invocation is after the report; `None`: it was over before.
pub(crate) fn after(
    before: &Invocation,
    report: &Report,
    now: Timestamp,
) -> Result<Option<Invocation>, ImpossibleEvent> {
    if before.state.is_ended() {
        return Ok(None);
    }
    let transition = before.state.step(report.event)?;
    let mut after = before.clone();
    for reported in &report.steps {
        if let Some(step) = after.steps.iter_mut().find(|step| step.name == reported.name) {
            step.take(reported);
        }
    }
    if let Transition::To(state) = transition {
        after.state = state;
        after.trace = trace(report);
        match state {
            InvocationState::Open(OpenState::Sent) => after.sent_at = after.sent_at.or(Some(now)),
            InvocationState::Open(OpenState::Running) => after.started_at = after.started_at.or(Some(now)),
            InvocationState::Open(_) => (),
            InvocationState::Ended(end) => {
                after.finished_at = Some(now);
                after.close_steps(end);
            }
        }
    }
    Ok(Some(after))
}

fn outputs(invocation: &Invocation, texts: &[StepText]) -> Vec<StepOutput> {
    let known = texts.iter().filter(|text| invocation.steps.iter().any(|step| step.name == text.step));
    known
        .map(|text| {
            let (stdout, stdout_truncated) = kept(&text.stdout, text.stdout_truncated);
            let (stderr, stderr_truncated) = kept(&text.stderr, text.stderr_truncated);
            StepOutput {
                command_id: invocation.command_id.clone(),
                node_id: invocation.node_id.clone(),
                step: text.step.clone(),
                stdout,
                stderr,
                stdout_truncated,
                stderr_truncated,
            }
        })
        .collect()
}

/// The reason that people see; the event's own where the report gives none.
fn trace(report: &Report) -> String {
    if !report.detail.is_empty() {
        return report.detail.chars().take(LISTED_CHARS_MAX).collect();
    }
    match report.event {
        InvocationEvent::DeliveryFailed => "The connection broke before the node answered; it will be sent again.",
        InvocationEvent::CancelRequested | InvocationEvent::CancelConfirmed => "Cancelled on request.",
        InvocationEvent::DeliveryExpired => "The node did not take the command in time.",
        InvocationEvent::Expired => "The node did not answer in time.",
        InvocationEvent::Terminated => "More errors than MaxErrors allows; it was not sent.",
        InvocationEvent::NodeGone => "The node was deregistered.",
        InvocationEvent::Restored => "The server was restored from a backup in which this was unfinished.",
        InvocationEvent::AgentRefused(refusal) => match refusal {
            AgentRefusal::Policy => "The node's own policy forbids it.",
            AgentRefusal::Platform => "The node cannot run this on its platform.",
            AgentRefusal::TooLate => "The command reached the node after its deadline.",
            AgentRefusal::Unreadable => "The node could not verify or read the command.",
        },
        InvocationEvent::Sent | InvocationEvent::Accepted | InvocationEvent::Started | InvocationEvent::Finished(_) => {
            ""
        }
    }
    .to_owned()
}

pub(crate) fn invocation_event(invocation: &Invocation, now: Timestamp) -> Event {
    let kind = if invocation.state.is_ended() { "command.invocation.finished" } else { "command.invocation.changed" };
    Event {
        at: now,
        kind: kind.to_owned(),
        subject: invocation.node_id.to_string(),
        body: serde_json::json!({
            "command": invocation.command_id.as_str(),
            "state": invocation.state.as_str(),
        }),
    }
}

impl StepOutcome {
    fn take(&mut self, reported: &Self) {
        let status = self.status.step(reported.status);
        if self.status.is_ended() || (status == self.status && status != reported.status) {
            return;
        }
        self.status = status;
        self.response_code = reported.response_code;
        self.started_at = self.started_at.or(reported.started_at);
        self.finished_at = reported.finished_at;
    }
}

impl Invocation {
    /// Steps that nobody will report on any more get the status that fits the end.
    pub(crate) fn close_steps(&mut self, end: EndState) {
        let status = match end {
            EndState::Success => StepStatus::Skipped,
            EndState::Cancelled | EndState::Terminated => StepStatus::Cancelled,
            EndState::DeliveryTimedOut | EndState::ExecutionTimedOut => StepStatus::TimedOut,
            EndState::Failed | EndState::Undeliverable | EndState::InvalidPlatform | EndState::AccessDenied => {
                StepStatus::Failed
            }
        };
        for step in self.steps.iter_mut().filter(|step| !step.status.is_ended()) {
            step.status = status;
        }
    }

    /// The step that `PluginName` of `GetCommandInvocation` means: the only one where none is given.
    ///
    /// # Errors
    /// [`Refused::InvalidPluginName`] for another name, or for none where there are several steps.
    pub fn step_named(&self, plugin_name: Option<&str>) -> Result<&StepOutcome, Refused> {
        match (plugin_name, self.steps.as_slice()) {
            (None | Some(""), [only]) => Ok(only),
            (None | Some(""), _) => Err(Refused::InvalidPluginName),
            (Some(name), steps) => steps.iter().find(|step| step.name == name).ok_or(Refused::InvalidPluginName),
        }
    }

    /// `Status` and `StatusDetails` of a step in `GetCommandInvocation`: its own once its node has reported its end, the
    /// invocation's before and where the node never did. Clients wait by polling it, so it ends when the invocation does.
    #[must_use]
    pub fn step_status(&self, step: &StepOutcome) -> (&'static str, &'static str) {
        let reported = step.status.is_ended() && step.response_code != RESPONSE_CODE_UNKNOWN;
        if reported {
            (step.status.status(), step.status.status_details())
        } else {
            (self.state.status(), self.state.status_details())
        }
    }

    /// Whether the job may be handed to the node's connection (again): its turn has come, and the node has not answered.
    #[must_use]
    pub fn is_to_be_sent(&self) -> bool {
        matches!(self.state, InvocationState::Open(OpenState::Sent | OpenState::Delayed))
    }

    /// Whether it waits for its turn, or for its node.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state == InvocationState::Open(OpenState::Pending)
    }

    /// Whether the node is still to be told that this is cancelled.
    #[must_use]
    pub fn is_cancel_to_be_sent(&self) -> bool {
        self.state == InvocationState::Open(OpenState::Cancelling)
    }
}

/// Reads `InstanceId`s of `CancelCommand` against the invocations of a command.
pub(crate) fn nodes_named<'a>(
    ids: &[String],
    of: impl Fn(&str) -> Option<&'a NodeId>,
) -> Result<Vec<&'a NodeId>, Refused> {
    let mut nodes = Vec::new();
    for id in ids {
        let node = of(id).ok_or_else(|| {
            let shown: String = id.chars().take(64).collect();
            Refused::InvalidInstanceId(format!("The command was not sent to {shown}."))
        })?;
        if nodes.contains(&node) {
            return Err(Refused::DuplicateInstanceId);
        }
        nodes.push(node);
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sending::tests::{command, invocations, now};
    use crate::transitions::tests::EVENTS;
    use crate::{Outcome, built_in_document};
    use changes::Revision;
    use proptest::prelude::*;

    fn pending() -> Invocation {
        invocations(&command(1)).remove(0)
    }

    fn at(revision: i64, row: Invocation) -> Versioned<Invocation> {
        Versioned::new(Revision(revision), row)
    }

    fn put(changes: &Changes<Write>) -> Invocation {
        let mut puts = changes.writes.iter().filter_map(|write| match write {
            Write::InvocationPut(invocation) => Some((**invocation).clone()),
            _ => None,
        });
        puts.next().expect("an invocation is put")
    }

    fn outcome(status: StepStatus, response_code: i64) -> StepOutcome {
        let plugin = "aws:runShellScript".to_owned();
        StepOutcome { name: plugin.clone(), plugin, status, response_code, started_at: None, finished_at: None }
    }

    #[test]
    fn a_run_is_told_from_its_reports() {
        let t = |seconds| now().plus_seconds(seconds);
        let sent = put(&apply_report(&at(0, pending()), &Report::of(InvocationEvent::Sent), t(1)).unwrap());
        assert_eq!((sent.sent_at, sent.is_to_be_sent()), (Some(t(1)), true));
        assert_eq!(sent.step_status(&sent.steps[0]), ("InProgress", "InProgress"));
        let running =
            Report { steps: vec![outcome(StepStatus::InProgress, -1)], ..Report::of(InvocationEvent::Started) };
        let running = put(&apply_report(&at(1, sent), &running, t(2)).unwrap());
        assert_eq!((running.started_at, running.is_to_be_sent()), (Some(t(2)), false));
        let text = StepText { step: "aws:runShellScript".into(), stdout: "up 3 days\n".into(), ..Default::default() };
        let finished = Report {
            steps: vec![outcome(StepStatus::Failed, 3)],
            outputs: vec![text, StepText { step: "other".into(), ..Default::default() }],
            ..Report::of(InvocationEvent::Finished(Outcome::Failed))
        };
        let changes = apply_report(&at(2, running), &finished, t(3)).unwrap();
        let failed = put(&changes);
        assert_eq!(failed.state, InvocationState::Ended(EndState::Failed));
        assert_eq!((failed.finished_at, failed.steps[0].response_code), (Some(t(3)), 3));
        assert_eq!(failed.step_status(&failed.steps[0]), ("Failed", "Failed"));
        let outputs = changes.writes.iter().filter(|write| matches!(write, Write::StepOutputPut(_))).count();
        assert_eq!(outputs, 1, "what an unknown step wrote is not kept");
        let live = Write::LiveOutputDelete(failed.command_id.clone(), failed.node_id.clone());
        assert!(changes.writes.contains(&live), "the result takes the place of what was shown meanwhile");
        assert!(changes.touched.contains(&command_aggregate(&failed.command_id)), "a dispatch under way must conflict");
        assert_eq!(changes.read.len(), 1, "but reports do not wait for each other");
        assert!(apply_report(&at(3, failed), &finished, t(4)).unwrap().is_empty(), "the same report again");
    }

    #[test]
    fn success_does_not_touch_the_command() {
        let sent = Invocation { state: InvocationState::Open(OpenState::Sent), ..pending() };
        let report = Report::of(InvocationEvent::Finished(Outcome::Success));
        let changes = apply_report(&at(1, sent), &report, now()).unwrap();
        assert_eq!(changes.touched.len(), 1);
    }

    #[test]
    fn the_end_closes_steps_that_nobody_reports_on() {
        for (event, step, shown) in [
            (InvocationEvent::Expired, StepStatus::TimedOut, ("TimedOut", "DeliveryTimedOut")),
            (InvocationEvent::Restored, StepStatus::Cancelled, ("Cancelled", "Cancelled")),
            (InvocationEvent::NodeGone, StepStatus::Failed, ("Failed", "Undeliverable")),
            (InvocationEvent::Terminated, StepStatus::Cancelled, ("Cancelled", "Terminated")),
        ] {
            let ended = put(&apply_report(&at(0, pending()), &Report::of(event), now()).unwrap());
            assert_eq!(ended.steps[0].status, step, "{event:?}");
            assert_eq!(ended.step_status(&ended.steps[0]), shown, "{event:?}");
            assert!(!ended.trace.is_empty(), "{event:?} explains itself");
        }
        let report = Report::because(InvocationEvent::Restored, "x".repeat(9000));
        let ended = put(&apply_report(&at(0, pending()), &report, now()).unwrap());
        assert_eq!(ended.trace.len(), LISTED_CHARS_MAX);
    }

    #[test]
    fn a_step_is_found_by_name() {
        let one = pending();
        assert!(one.step_named(None).is_ok() && one.step_named(Some("aws:runShellScript")).is_ok());
        assert_eq!(one.step_named(Some("PatchLinux")).unwrap_err(), Refused::InvalidPluginName);
        let document = built_in_document("AWS-RunPatchBaseline").unwrap();
        let steps = document.steps.iter();
        let steps: Vec<StepOutcome> =
            steps.map(|s| StepOutcome { name: s.name.clone(), ..outcome(StepStatus::Pending, -1) }).collect();
        let many = Invocation { steps, ..one };
        assert_eq!(many.step_named(None).unwrap_err(), Refused::InvalidPluginName);
        assert_eq!(many.step_named(Some("PatchLinux")).unwrap().name, "PatchLinux");
    }

    proptest! {
        #[test]
        fn every_report_can_come_twice(picks in prop::collection::vec((0..EVENTS.len(), 0..7usize), 0..30)) {
            const STATUSES: [StepStatus; 7] = [
                StepStatus::Pending, StepStatus::InProgress, StepStatus::Success, StepStatus::Skipped,
                StepStatus::Failed, StepStatus::TimedOut, StepStatus::Cancelled,
            ];
            let mut invocation = pending();
            for (event, status) in picks {
                let report =
                    Report { steps: vec![outcome(STATUSES[status], 0)], ..Report::of(EVENTS[event]) };
                let Ok(changes) = apply_report(&at(1, invocation.clone()), &report, now()) else { continue };
                if !changes.writes.is_empty() {
                    prop_assert!(!invocation.state.is_ended());
                    invocation = put(&changes);
                }
                prop_assert_eq!(invocation.state.is_ended(), invocation.finished_at.is_some());
                prop_assert!(!invocation.state.is_ended() || invocation.steps.iter().all(|s| s.status.is_ended()));
                if let Ok(again) = apply_report(&at(2, invocation.clone()), &report, now().plus_seconds(9)) {
                    prop_assert!(again.writes.is_empty(), "{:?} twice", report);
                }
            }
        }
    }
}
