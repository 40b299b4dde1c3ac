use super::*;
use crate::reports::apply_report;
use crate::sending::tests::{command, invocations, now};
use crate::{Outcome, RateLimit};
use changes::Revision;
use proptest::prelude::*;

/// A command in memory, as the store would keep it.
struct Fleet {
    command: Versioned<Command>,
    invocations: Vec<Versioned<Invocation>>,
}

impl Fleet {
    fn new(nodes: u32, max_concurrency: RateLimit, max_errors: RateLimit) -> Self {
        let command = Command { max_concurrency, max_errors, ..command(nodes) };
        let rows = invocations(&command).into_iter();
        let invocations = rows.map(|row| Versioned::new(Revision(0), row)).collect();
        Self { command: Versioned::new(Revision(1), command), invocations }
    }

    /// Applies as the store does: refuses what was decided on an older state.
    fn apply(&mut self, changes: &Changes<Write>) -> Result<(), String> {
        for (aggregate, revision) in &changes.read {
            let current = self.revision_mut(aggregate);
            if *current != *revision {
                return Err(format!("{aggregate:?} is at {current:?}, not {revision:?}"));
            }
        }
        for aggregate in &changes.touched {
            self.revision_mut(aggregate).0 += 1;
        }
        for write in &changes.writes {
            match write {
                Write::CommandPut(row) => self.command.row = (**row).clone(),
                Write::InvocationPut(row) => {
                    let kept = self.invocations.iter_mut().find(|kept| kept.row.node_id == row.node_id).unwrap();
                    kept.row = (**row).clone();
                }
                Write::StepOutputPut(_)
                | Write::LiveOutputAdd(_)
                | Write::LiveOutputDelete(..)
                | Write::LiveOutputSweep => (),
            }
        }
        Ok(())
    }

    fn revision_mut(&mut self, aggregate: &changes::Aggregate) -> &mut Revision {
        if *aggregate == command_aggregate(&self.command.row.command_id) {
            return &mut self.command.revision;
        }
        let of = |row: &Invocation| invocation_aggregate(&row.command_id, &row.node_id);
        let kept = self.invocations.iter_mut().find(|kept| of(&kept.row) == *aggregate).unwrap();
        &mut kept.revision
    }

    fn advance(&mut self, reachable: impl Fn(&NodeId) -> bool, at: Timestamp) -> DispatchPlan {
        let advance = advance_command(&self.command, &self.invocations, reachable, at);
        self.apply(&advance.changes).unwrap();
        assert_eq!(self.command.row, advance.command);
        advance.plan
    }

    fn report(&mut self, index: usize, event: InvocationEvent) {
        if let Ok(changes) = apply_report(&self.invocations[index], &Report::of(event), now()) {
            self.apply(&changes).unwrap();
        }
    }

    fn tally(&self) -> Tally {
        Tally::of(self.invocations.iter().map(|invocation| &invocation.row))
    }

    fn state(&self) -> CommandState {
        self.command.row.state
    }
}

const SUCCESS: InvocationEvent = InvocationEvent::Finished(Outcome::Success);
const FAILED: InvocationEvent = InvocationEvent::Finished(Outcome::Failed);

#[test]
fn two_at_a_time_until_all_are_done() {
    let mut fleet = Fleet::new(5, RateLimit::Count(2), RateLimit::Count(0));
    assert_eq!(fleet.advance(|_| true, now()).start.len(), 2);
    assert_eq!(fleet.state(), CommandState::InProgress);
    assert!(fleet.advance(|_| true, now()).start.is_empty(), "both are still at it");
    for done in 0..5 {
        fleet.report(done, SUCCESS);
        let started = fleet.advance(|_| true, now()).start.len();
        assert_eq!(started, usize::from(done < 3));
    }
    let command = &fleet.command.row;
    assert_eq!((command.state, command.completed_count, command.error_count), (CommandState::Success, 5, 0));
    assert_eq!(command.finished_at, Some(now()));
    let again = advance_command(&fleet.command, &fleet.invocations, |_| true, now());
    assert!(again.changes.is_empty() && again.changes.read.is_empty(), "an ended command is left alone");
}

#[test]
fn the_error_after_the_last_borne_one_stops_the_rest() {
    let mut fleet = Fleet::new(6, RateLimit::Count(1), RateLimit::Count(1));
    fleet.advance(|_| true, now());
    fleet.report(0, FAILED);
    assert_eq!(fleet.advance(|_| true, now()).start.len(), 1, "one error is borne");
    fleet.report(1, FAILED);
    let plan = fleet.advance(|_| true, now());
    assert_eq!((plan.start.len(), plan.terminate.len()), (0, 4));
    let command = &fleet.command.row;
    assert_eq!((command.state, command.completed_count, command.error_count), (CommandState::Failed, 6, 2));
}

#[test]
fn an_error_in_between_makes_a_dispatch_decide_again() {
    let mut fleet = Fleet::new(4, RateLimit::Count(2), RateLimit::Count(0));
    fleet.advance(|_| true, now());
    fleet.report(0, SUCCESS);
    // Someone decides that a third may start...
    let late = advance_command(&fleet.command, &fleet.invocations, |_| true, now());
    assert_eq!(late.plan.start.len(), 1);
    // ...and before that is applied, the second fails.
    fleet.report(1, FAILED);
    assert!(fleet.apply(&late.changes).is_err(), "it would have been one more after the stop");
    assert!(fleet.advance(|_| true, now()).start.is_empty());
}

#[test]
fn a_silent_node_stands_in_nobodys_way() {
    let mut fleet = Fleet::new(3, RateLimit::Count(1), RateLimit::Count(0));
    let silent = fleet.invocations[0].row.node_id.clone();
    let plan = fleet.advance(|node| *node != silent, now());
    assert_eq!(plan.start, [fleet.invocations[1].row.node_id.clone()]);
    assert_eq!(plan.look_again_at, Some(now().plus_seconds(3600)));
    fleet.report(1, SUCCESS);
    fleet.advance(|node| *node != silent, now());
    fleet.report(2, SUCCESS);
    let plan = fleet.advance(|node| *node != silent, now().plus_seconds(3600));
    assert_eq!(plan.delivery_expired, [silent]);
    assert_eq!(fleet.state(), CommandState::Incomplete);
    assert_eq!(fleet.command.row.delivery_timed_out_count, 1);
}

#[test]
fn what_never_answers_counts_as_not_delivered() {
    let mut fleet = Fleet::new(2, RateLimit::Count(2), RateLimit::Count(0));
    let plan = fleet.advance(|_| true, now());
    assert_eq!(plan.look_again_at, Some(now().plus_seconds(3600)), "a wake-up too many does no harm");
    fleet.report(0, InvocationEvent::Started);
    let plan = fleet.advance(|_| true, now().plus_seconds(7199));
    assert_eq!((plan.expired.len(), plan.look_again_at), (0, Some(now().plus_seconds(7200))));
    assert_eq!(fleet.advance(|_| true, now().plus_seconds(7200)).expired.len(), 2);
    assert_eq!(fleet.state(), CommandState::DeliveryTimedOut);
    fleet.report(0, SUCCESS);
    assert_eq!(fleet.tally().success, 0, "too late");
}

#[test]
fn a_cancel_reaches_what_is_sent_and_stops_what_is_not() {
    let mut fleet = Fleet::new(3, RateLimit::Count(1), RateLimit::Count(0));
    fleet.advance(|_| true, now());
    let (_, changes) = cancel_command(&fleet.command, &fleet.invocations, &[], now()).unwrap();
    fleet.apply(&changes).unwrap();
    assert_eq!((fleet.state(), fleet.tally().cancelled), (CommandState::Cancelling, 2));
    assert!(fleet.invocations[0].row.is_cancel_to_be_sent());
    assert!(fleet.advance(|_| true, now()).start.is_empty());
    fleet.report(0, InvocationEvent::CancelConfirmed);
    fleet.advance(|_| true, now());
    assert_eq!(fleet.state(), CommandState::Cancelled);
    let (_, again) = cancel_command(&fleet.command, &fleet.invocations, &[], now()).unwrap();
    assert!(again.is_empty(), "cancelling what is over does nothing");
}

#[test]
fn a_cancel_for_some_nodes_leaves_the_others() {
    let mut fleet = Fleet::new(3, RateLimit::Count(3), RateLimit::Count(0));
    let ids: Vec<String> = fleet.invocations.iter().map(|i| i.row.node_id.to_string()).collect();
    let cancel = |fleet: &Fleet, ids: &[String]| cancel_command(&fleet.command, &fleet.invocations, ids, now());
    let (_, changes) = cancel(&fleet, &ids[..1]).unwrap();
    fleet.apply(&changes).unwrap();
    assert_eq!(fleet.advance(|_| true, now()).start.len(), 2);
    fleet.report(1, SUCCESS);
    fleet.report(2, SUCCESS);
    fleet.advance(|_| true, now());
    assert_eq!(fleet.state(), CommandState::Incomplete);
    let twice = [ids[0].clone(), ids[0].clone()];
    assert_eq!(cancel(&fleet, &twice).unwrap_err().code(), "DuplicateInstanceId");
    let unknown = ["mi-00000000000000009".to_owned()];
    assert_eq!(cancel(&fleet, &unknown).unwrap_err().code(), "InvalidInstanceId");
}

#[test]
fn an_unfinished_command_of_a_backup_is_over() {
    let mut fleet = Fleet::new(3, RateLimit::Count(2), RateLimit::Count(0));
    fleet.advance(|_| true, now());
    fleet.report(0, SUCCESS);
    let (_, changes) = restore_command(&fleet.command, &fleet.invocations, now());
    fleet.apply(&changes).unwrap();
    assert_eq!((fleet.state(), fleet.tally().cancelled), (CommandState::Cancelled, 2));
    assert!(fleet.invocations[2].row.trace.contains("backup"));
}

#[test]
fn a_command_is_what_its_invocations_are() {
    use EndState::{
        AccessDenied, Cancelled, DeliveryTimedOut, ExecutionTimedOut, Failed, InvalidPlatform, Success, Terminated,
        Undeliverable,
    };
    let end = |ends: &[EndState]| ends.iter().map(|end| InvocationState::Ended(*end)).collect::<Vec<_>>();
    let open = |states: &[OpenState]| states.iter().map(|state| InvocationState::Open(*state)).collect::<Vec<_>>();
    for (states, max_errors, cancelled, expected) in [
        (vec![], 0, false, CommandState::NoInstancesInTag),
        (open(&[OpenState::Pending; 2]), 0, false, CommandState::Pending),
        (open(&[OpenState::Pending, OpenState::Sent]), 0, false, CommandState::InProgress),
        (open(&[OpenState::Delayed]), 0, false, CommandState::InProgress),
        (open(&[OpenState::Cancelling]), 0, true, CommandState::Cancelling),
        ([end(&[Success]), open(&[OpenState::Pending])].concat(), 0, false, CommandState::InProgress),
        (end(&[Success, Success]), 0, false, CommandState::Success),
        (end(&[Success, Failed]), 0, false, CommandState::Failed),
        (end(&[Success, Failed]), 1, false, CommandState::Incomplete),
        (end(&[Failed]), 5, false, CommandState::Incomplete),
        (end(&[Failed, Terminated]), 0, false, CommandState::Failed),
        (end(&[ExecutionTimedOut]), 0, false, CommandState::ExecutionTimedOut),
        (end(&[ExecutionTimedOut, Success]), 0, false, CommandState::Failed),
        (end(&[DeliveryTimedOut, DeliveryTimedOut]), 0, false, CommandState::DeliveryTimedOut),
        (end(&[DeliveryTimedOut, Success]), 0, false, CommandState::Incomplete),
        (end(&[Cancelled, Cancelled]), 0, true, CommandState::Cancelled),
        (end(&[Cancelled, Success]), 0, true, CommandState::Cancelled),
        (end(&[Cancelled, Success]), 0, false, CommandState::Incomplete),
        (end(&[Success, Success]), 0, true, CommandState::Success),
        (end(&[Undeliverable, InvalidPlatform, AccessDenied]), 0, false, CommandState::Failed),
        (end(&[Undeliverable, Success]), 0, false, CommandState::Success),
        (end(&[Undeliverable, Success, Failed]), 1, false, CommandState::Incomplete),
    ] {
        let mut tally = Tally::default();
        states.iter().for_each(|state| tally.add(*state, 1));
        let row = Command {
            max_errors: RateLimit::Count(max_errors),
            cancel_requested_at: cancelled.then(now),
            ..command(u32::try_from(states.len()).unwrap())
        };
        assert_eq!(command_status(&row, &tally), expected, "{states:?} bearing {max_errors}");
        let over = Command { state: CommandState::Cancelled, ..row };
        assert_eq!(command_status(&over, &tally), CommandState::Cancelled, "an end is an end");
    }
}

fn limits() -> impl Strategy<Value = (RateLimit, RateLimit)> {
    let concurrency = prop_oneof![(1..8u32).prop_map(RateLimit::Count), (1..=100u8).prop_map(RateLimit::Percent)];
    let errors = prop_oneof![(0..5u32).prop_map(RateLimit::Count), (0..=100u8).prop_map(RateLimit::Percent)];
    (concurrency, errors)
}

proptest! {
    /// Nodes answer in any order, with any result, some never; links break; dispatches are decided on old snapshots.
    #[test]
    fn never_more_at_once_and_never_one_more_after_the_stop(
        nodes in 0..12u32,
        (max_concurrency, max_errors) in limits(),
        moves in prop::collection::vec((0..12usize, 0..9u8, any::<bool>()), 0..120),
    ) {
        let mut fleet = Fleet::new(nodes, max_concurrency, max_errors);
        let (at_once, borne) = (max_concurrency.concurrency(nodes), max_errors.errors(nodes));
        let mut stale: Option<Changes<Write>> = None;
        for (index, what, silent) in moves {
            let index = index.min(fleet.invocations.len().saturating_sub(1));
            let before = fleet.tally();
            let mut started = 0;
            if what < 3 || fleet.invocations.is_empty() {
                // An older decision comes to be applied, then a new one is made, perhaps to lie for a while.
                let new = advance_command(&fleet.command, &fleet.invocations, |node| !silent || node.as_str().ends_with('1'), now());
                for changes in stale.take().into_iter().chain((what > 0).then(|| new.changes.clone())) {
                    let pending = fleet.tally().pending;
                    if fleet.apply(&changes).is_ok() {
                        started += pending - fleet.tally().pending;
                    }
                }
                stale = Some(new.changes);
            } else {
                let event = match what {
                    3 => InvocationEvent::Accepted,
                    4 => InvocationEvent::DeliveryFailed,
                    5 => InvocationEvent::Started,
                    6 => FAILED,
                    7 => InvocationEvent::Finished(Outcome::TimedOut),
                    _ => SUCCESS,
                };
                fleet.report(index, event);
            }
            let tally = fleet.tally();
            prop_assert!(tally.in_flight <= at_once, "{tally:?}");
            if before.errors() > borne {
                prop_assert_eq!(started, tally.terminated - before.terminated, "none is sent after the stop");
            }
        }
        // Whatever happened: give every node its time and the command comes to its end, with all counted.
        let plan = fleet.advance(|_| true, now().plus_seconds(999_999));
        prop_assert!(plan.start.is_empty());
        prop_assert!(fleet.state().is_ended());
        let tally = fleet.tally();
        prop_assert_eq!(tally.completed(), nodes);
        prop_assert_eq!(fleet.command.row.completed_count, nodes);
        prop_assert_eq!(fleet.command.row.error_count, tally.errors());
    }

    #[test]
    fn a_plan_uses_all_the_room_there_is(nodes in 1..12u32, max_concurrency in 1..20u32, busy in 0..12u32) {
        let mut fleet = Fleet::new(nodes, RateLimit::Count(max_concurrency), RateLimit::Count(0));
        let busy = busy.min(nodes).min(max_concurrency);
        for invocation in fleet.invocations.iter_mut().take(busy as usize) {
            invocation.row.state = InvocationState::Open(OpenState::Running);
        }
        let plan = fleet.advance(|_| true, now());
        prop_assert_eq!(plan.start.len(), (nodes - busy).min(max_concurrency - busy) as usize);
    }
}
