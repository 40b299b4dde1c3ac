//! Rate control: which invocations may start now, which must not any more, and what a command's result is.

use crate::reports::{Report, after, invocation_event, nodes_named};
use crate::write::{command_aggregate, invocation_aggregate};
use crate::{Command, CommandState, EndState, Invocation, InvocationEvent, InvocationState, OpenState, Refused, Write};
use changes::{Changes, Event, Versioned};
use identifiers::{NodeId, Timestamp};

/// How many invocations of a command are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub total: u32,
    /// Not sent.
    pub pending: u32,
    /// A node may be working on them.
    pub in_flight: u32,
    /// Went well.
    pub success: u32,
    /// Failed.
    pub failed: u32,
    /// A step ran out of time.
    pub execution_timed_out: u32,
    /// Not taken or not answered in time.
    pub delivery_timed_out: u32,
    /// Cancelled.
    pub cancelled: u32,
    /// Not sent because of errors elsewhere.
    pub terminated: u32,
    /// Undeliverable, InvalidPlatform and AccessDenied: the node could not take them.
    pub not_taken: u32,
}

impl Tally {
    /// Counts invocations.
    #[must_use]
    pub fn of<'a>(invocations: impl IntoIterator<Item = &'a Invocation>) -> Self {
        let mut tally = Self::default();
        for invocation in invocations {
            tally.add(invocation.state, 1);
        }
        tally
    }

    /// Adds `count` invocations in a state, e.g. from a count by state in the database.
    pub fn add(&mut self, state: InvocationState, count: u32) {
        let place = match state {
            InvocationState::Open(OpenState::Pending) => &mut self.pending,
            InvocationState::Open(_) => &mut self.in_flight,
            InvocationState::Ended(end) => match end {
                EndState::Success => &mut self.success,
                EndState::Failed => &mut self.failed,
                EndState::ExecutionTimedOut => &mut self.execution_timed_out,
                EndState::DeliveryTimedOut => &mut self.delivery_timed_out,
                EndState::Cancelled => &mut self.cancelled,
                EndState::Terminated => &mut self.terminated,
                EndState::Undeliverable | EndState::InvalidPlatform | EndState::AccessDenied => &mut self.not_taken,
            },
        };
        *place = place.saturating_add(count);
        self.total = self.total.saturating_add(count);
    }

    /// How many count against `MaxErrors`.
    #[must_use]
    pub fn errors(&self) -> u32 {
        self.failed.saturating_add(self.execution_timed_out)
    }

    /// How many are over.
    #[must_use]
    pub fn completed(&self) -> u32 {
        self.total.saturating_sub(self.pending).saturating_sub(self.in_flight)
    }
}

/// What is to be done with a command's invocations now. The lists do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DispatchPlan {
    /// May be handed to their nodes now.
    pub start: Vec<NodeId>,
    /// Must not be sent any more: too many errors.
    pub terminate: Vec<NodeId>,
    /// Were not begun in time.
    pub delivery_expired: Vec<NodeId>,
    /// Have not come to an end in time.
    pub expired: Vec<NodeId>,
    /// When a deadline of what stays open passes next.
    pub look_again_at: Option<Timestamp>,
}

/// How many more invocations may start beside what is in flight; 0 when the command was cancelled or bears no more errors.
#[must_use]
pub fn room(command: &Command, tally: &Tally) -> u32 {
    if command.cancel_requested_at.is_some() || is_stopped(command, tally) {
        return 0;
    }
    command.max_concurrency.concurrency(command.target_count).saturating_sub(tally.in_flight)
}

/// Whether there are more errors than the command bears.
#[must_use]
pub fn is_stopped(command: &Command, tally: &Tally) -> bool {
    tally.errors() > command.max_errors.errors(command.target_count)
}

/// Decides what happens to a command's invocations now.
///
/// `invocations` are all of the command; in their order they get their turn. Only `reachable` nodes are given work, so that
/// a silent one never stands in the way of the others; it waits until its time to take the command is over.
#[must_use]
pub fn plan_dispatch<'a>(
    command: &Command,
    invocations: impl IntoIterator<Item = &'a Invocation> + Clone,
    reachable: impl Fn(&NodeId) -> bool,
    now: Timestamp,
) -> DispatchPlan {
    let mut plan = DispatchPlan::default();
    let tally = Tally::of(invocations.clone());
    let mut left = tally;
    let mut waiting = Vec::new();
    for invocation in invocations {
        let InvocationState::Open(open) = invocation.state else { continue };
        let pending = open == OpenState::Pending;
        if now >= invocation.expires_at {
            plan.expired.push(invocation.node_id.clone());
            if !pending {
                left.in_flight = left.in_flight.saturating_sub(1);
            }
        } else if pending && now >= invocation.delivery_until {
            plan.delivery_expired.push(invocation.node_id.clone());
        } else if pending && is_stopped(command, &tally) {
            plan.terminate.push(invocation.node_id.clone());
        } else {
            let deadline = if pending { invocation.delivery_until } else { invocation.expires_at };
            plan.look_again_at = Some(plan.look_again_at.map_or(deadline, |earlier| earlier.min(deadline)));
            if pending {
                waiting.push(&invocation.node_id);
            }
        }
    }
    let room = usize::try_from(room(command, &left)).unwrap_or(usize::MAX);
    plan.start = waiting.into_iter().filter(|node| reachable(node)).take(room).cloned().collect();
    plan
}

/// A command's state from its invocations. One that is over stays as it is.
///
/// The order of the rules is AWS's user guide ("Understanding command statuses") where it speaks; beyond that: a result that
/// all nodes share is the command's.
#[must_use]
pub fn command_status(command: &Command, tally: &Tally) -> CommandState {
    if command.state.is_ended() {
        return command.state;
    }
    if tally.total == 0 {
        return CommandState::NoInstancesInTag;
    }
    let all = |count: u32| count == tally.total;
    if tally.completed() < tally.total {
        return match (command.cancel_requested_at, all(tally.pending)) {
            (Some(_), _) => CommandState::Cancelling,
            (None, true) => CommandState::Pending,
            (None, false) => CommandState::InProgress,
        };
    }
    if all(tally.success) {
        CommandState::Success
    } else if all(tally.execution_timed_out) {
        CommandState::ExecutionTimedOut
    } else if all(tally.delivery_timed_out) {
        CommandState::DeliveryTimedOut
    } else if is_stopped(command, tally) || all(tally.not_taken) {
        CommandState::Failed
    } else if tally.cancelled > 0 && (command.cancel_requested_at.is_some() || all(tally.cancelled)) {
        CommandState::Cancelled
    } else if all(tally.success.saturating_add(tally.not_taken)) {
        CommandState::Success
    } else {
        CommandState::Incomplete
    }
}

/// The result of advancing a command.
#[derive(Debug, Clone)]
pub struct Advance {
    /// What was decided.
    pub plan: DispatchPlan,
    /// The command as it is now.
    pub command: Command,
    /// What to apply; empty when nothing changes. The jobs of `plan.start` may be handed out only after it was applied.
    pub changes: Changes<Write>,
}

/// Moves a command on: times out, terminates, starts what may start, and counts. `invocations` are all of it.
///
/// Every unfinished command is to be advanced when one of its invocations ends, when one of its nodes connects and when
/// `look_again_at` passes. It reads the command's revision, so that of two replicas only one hands out the last place.
#[must_use]
pub fn advance_command(
    command: &Versioned<Command>,
    invocations: &[Versioned<Invocation>],
    reachable: impl Fn(&NodeId) -> bool,
    now: Timestamp,
) -> Advance {
    let row = &command.row;
    let plan = plan_dispatch(row, invocations.iter().map(|versioned| &versioned.row), reachable, now);
    let events = [
        (&plan.start, InvocationEvent::Sent),
        (&plan.terminate, InvocationEvent::Terminated),
        (&plan.delivery_expired, InvocationEvent::DeliveryExpired),
        (&plan.expired, InvocationEvent::Expired),
    ];
    let chosen: std::collections::BTreeMap<&NodeId, InvocationEvent> =
        events.iter().flat_map(|(nodes, event)| nodes.iter().map(|node| (node, *event))).collect();
    let (tally, mut changes) =
        apply_events(invocations, |invocation| chosen.get(&invocation.node_id).map(|event| Report::of(*event)), now);
    let after = roll_up(row.clone(), &tally, now);
    finish(command, &after, &mut changes, now);
    Advance { command: after, changes, plan }
}

/// Cancels a command, or only its invocations on the given nodes. What was not sent is Cancelled at once; the rest is
/// Cancelling until its node confirms. Nothing changes where all is over.
///
/// # Errors
/// [`Refused::InvalidInstanceId`] for a node that the command was not sent to, [`Refused::DuplicateInstanceId`] for one named
/// twice.
pub fn cancel_command(
    command: &Versioned<Command>,
    invocations: &[Versioned<Invocation>],
    instance_ids: &[String],
    now: Timestamp,
) -> Result<(Command, Changes<Write>), Refused> {
    let of = |id: &str| invocations.iter().map(|i| &i.row.node_id).find(|node| node.as_str() == id);
    let only = nodes_named(instance_ids, of)?;
    let mut row = command.row.clone();
    if only.is_empty() && !row.state.is_ended() {
        row.cancel_requested_at = row.cancel_requested_at.or(Some(now));
    }
    let (tally, mut changes) = apply_events(
        invocations,
        |invocation| {
            let meant = only.is_empty() || only.contains(&&invocation.node_id);
            meant.then(|| Report::of(InvocationEvent::CancelRequested))
        },
        now,
    );
    let after = roll_up(row, &tally, now);
    finish(command, &after, &mut changes, now);
    Ok((after, changes))
}

/// Ends an unfinished command of a restored backup: nobody knows what its nodes have done since, so nothing of it is
/// sent (again).
#[must_use]
pub fn restore_command(
    command: &Versioned<Command>,
    invocations: &[Versioned<Invocation>],
    now: Timestamp,
) -> (Command, Changes<Write>) {
    let mut row = command.row.clone();
    if !row.state.is_ended() {
        row.cancel_requested_at = row.cancel_requested_at.or(Some(now));
    }
    let (tally, mut changes) = apply_events(invocations, |_| Some(Report::of(InvocationEvent::Restored)), now);
    let after = roll_up(row, &tally, now);
    finish(command, &after, &mut changes, now);
    (after, changes)
}

/// Applies an event to each chosen invocation; how they are counted afterwards, and what that writes.
fn apply_events(
    invocations: &[Versioned<Invocation>],
    event: impl Fn(&Invocation) -> Option<Report>,
    now: Timestamp,
) -> (Tally, Changes<Write>) {
    let mut tally = Tally::default();
    let mut changes = Changes::new();
    for invocation in invocations {
        let before = &invocation.row;
        // The events given here are never impossible; if one were, the invocation would stay as it is.
        let changed = event(before).and_then(|report| after(before, &report, now).ok().flatten());
        match changed.filter(|after| after != before) {
            Some(after) => {
                tally.add(after.state, 1);
                changes.update(invocation_aggregate(&after.command_id, &after.node_id), invocation.revision);
                changes.events.push(invocation_event(&after, now));
                changes.writes.push(Write::InvocationPut(Box::new(after)));
            }
            None => tally.add(before.state, 1),
        }
    }
    (tally, changes)
}

fn roll_up(mut command: Command, tally: &Tally, now: Timestamp) -> Command {
    let state = command_status(&command, tally);
    if state.is_ended() && !command.state.is_ended() {
        command.finished_at = Some(now);
    }
    command.state = state;
    command.completed_count = tally.completed();
    command.error_count = tally.errors();
    command.delivery_timed_out_count = tally.delivery_timed_out;
    command
}

/// Adds the command itself to changes of its invocations; nothing where neither changes.
fn finish(before: &Versioned<Command>, after: &Command, changes: &mut Changes<Write>, now: Timestamp) {
    if *after == before.row && changes.writes.is_empty() {
        return;
    }
    changes.update(command_aggregate(&after.command_id), before.revision);
    if *after != before.row {
        changes.writes.push(Write::CommandPut(Box::new(after.clone())));
    }
    if after.state != before.row.state {
        let kind = if after.state.is_ended() { "command.finished" } else { "command.changed" };
        changes.events.push(Event {
            at: now,
            kind: kind.to_owned(),
            subject: after.command_id.to_string(),
            body: serde_json::json!({"state": after.state.as_str()}),
        });
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
