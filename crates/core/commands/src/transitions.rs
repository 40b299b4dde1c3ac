use crate::{EndState, InvocationState, OpenState, StepStatus};
use thiserror::Error;

/// How the steps of an invocation went together, as the node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All went well or were skipped.
    Success,
    /// One failed.
    Failed,
    /// One ran out of its time.
    TimedOut,
    /// They were cancelled.
    Cancelled,
}

/// Why a node did not take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentRefusal {
    /// Its own policy forbids it.
    Policy,
    /// It cannot run this on its platform.
    Platform,
    /// The job came after its deadline.
    TooLate,
    /// The job is not for it, not signed as it should be, or of a form it does not know.
    Unreadable,
}

/// What can happen to an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvocationEvent {
    /// Its turn has come and it is handed to the node's connection.
    Sent,
    /// The connection broke before the node answered.
    DeliveryFailed,
    /// The node has written it down.
    Accepted,
    /// The node has begun; also every later sign of progress.
    Started,
    /// The node is done.
    Finished(Outcome),
    /// Someone wants it cancelled.
    CancelRequested,
    /// The node has cancelled it, or will never begin it.
    CancelConfirmed,
    /// The time to take it is over.
    DeliveryExpired,
    /// The time to take it and run it is over.
    Expired,
    /// Too many errors elsewhere.
    Terminated,
    /// The node did not take it.
    AgentRefused(AgentRefusal),
    /// The node was sent away.
    NodeGone,
    /// The database was restored from a backup, in which this was unfinished.
    Restored,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The state is this from now on.
    To(InvocationState),
    /// The event is late, or was here before: nothing changes.
    Unchanged,
}

/// An event that cannot happen in this state: whoever reports it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{event:?} cannot happen to an invocation that is {state}")]
pub struct ImpossibleEvent {
    /// The state.
    pub state: InvocationState,
    /// The event.
    pub event: InvocationEvent,
}

impl InvocationState {
    /// What an event does to an invocation in this state. Nothing leads out of an ended one.
    ///
    /// # Errors
    /// [`ImpossibleEvent`]: a node answers what was never sent to it, or refuses what it has begun.
    pub fn step(self, event: InvocationEvent) -> Result<Transition, ImpossibleEvent> {
        match self {
            Self::Ended(_) => Ok(Transition::Unchanged),
            Self::Open(open) => open.step(event).ok_or(ImpossibleEvent { state: self, event }),
        }
    }
}

impl OpenState {
    /// `None`: impossible.
    fn step(self, event: InvocationEvent) -> Option<Transition> {
        use InvocationEvent as E;
        let open = |state| Some(Transition::To(InvocationState::Open(state)));
        let end = |state| Some(Transition::To(InvocationState::Ended(state)));
        match (event, self) {
            // What ends it wherever it is. A node that works on it may be slow, so only the longer deadline ends that.
            (E::Expired, _) | (E::DeliveryExpired, Self::Pending) => end(EndState::DeliveryTimedOut),
            (E::NodeGone, _) => end(EndState::Undeliverable),
            (E::Restored, _) | (E::CancelRequested, Self::Pending) => end(EndState::Cancelled),
            (E::Terminated, Self::Pending) => end(EndState::Terminated),
            (E::DeliveryExpired | E::Terminated, _) => Some(Transition::Unchanged),

            (E::Sent, Self::Pending | Self::Delayed) => open(Self::Sent),
            (E::CancelRequested, Self::Cancelling) => Some(Transition::Unchanged),
            (E::CancelRequested, _) => open(Self::Cancelling),

            // A node speaks of what it was never given.
            (_, Self::Pending) => None,

            (E::Sent, _) => Some(Transition::Unchanged),
            (E::DeliveryFailed, Self::Sent) => open(Self::Delayed),
            (E::Accepted, Self::Sent | Self::Delayed) => open(Self::Accepted),
            (E::Started, Self::Sent | Self::Delayed | Self::Accepted) => open(Self::Running),
            (E::DeliveryFailed | E::Accepted | E::Started, _) => Some(Transition::Unchanged),

            // What the node says of the end is the truth, even if a cancel is on its way.
            (E::Finished(outcome), _) => end(match outcome {
                Outcome::Success => EndState::Success,
                Outcome::Failed => EndState::Failed,
                Outcome::TimedOut => EndState::ExecutionTimedOut,
                Outcome::Cancelled => EndState::Cancelled,
            }),
            (E::CancelConfirmed, _) => end(EndState::Cancelled),
            (E::AgentRefused(_), Self::Running) => None,
            // It has written the job down; an order that it refuses since is another's copy of it.
            (E::AgentRefused(_), Self::Accepted) => Some(Transition::Unchanged),
            // The cancel was there before the job: the node refuses the job, which is what was wanted.
            (E::AgentRefused(_), Self::Cancelling) => end(EndState::Cancelled),
            (E::AgentRefused(refusal), _) => end(match refusal {
                AgentRefusal::Policy => EndState::AccessDenied,
                AgentRefusal::Platform => EndState::InvalidPlatform,
                AgentRefusal::TooLate => EndState::DeliveryTimedOut,
                AgentRefusal::Unreadable => EndState::Undeliverable,
            }),
        }
    }
}

impl StepStatus {
    /// The status after a report: it only ever goes forward, and an ended one stays.
    #[must_use]
    pub fn step(self, reported: Self) -> Self {
        match (self, reported) {
            (Self::Pending, _) => reported,
            (Self::InProgress, Self::Pending) => self,
            (Self::InProgress, _) => reported,
            _ => self,
        }
    }
}

/// How steps went together (the agent's aggregation: failed before timed out before cancelled). `None` while one is open.
#[must_use]
pub fn outcome_of_steps(steps: impl IntoIterator<Item = StepStatus>) -> Option<Outcome> {
    let mut outcome = Outcome::Success;
    for status in steps {
        outcome = match (status, outcome) {
            (StepStatus::Pending | StepStatus::InProgress, _) => return None,
            (StepStatus::Success | StepStatus::Skipped, so_far) => so_far,
            (StepStatus::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
            (StepStatus::TimedOut, _) | (_, Outcome::TimedOut) => Outcome::TimedOut,
            (StepStatus::Cancelled, _) => Outcome::Cancelled,
        };
    }
    Some(outcome)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const EVENTS: [InvocationEvent; 19] = [
        InvocationEvent::Sent,
        InvocationEvent::DeliveryFailed,
        InvocationEvent::Accepted,
        InvocationEvent::Started,
        InvocationEvent::Finished(Outcome::Success),
        InvocationEvent::Finished(Outcome::Failed),
        InvocationEvent::Finished(Outcome::TimedOut),
        InvocationEvent::Finished(Outcome::Cancelled),
        InvocationEvent::CancelRequested,
        InvocationEvent::CancelConfirmed,
        InvocationEvent::DeliveryExpired,
        InvocationEvent::Expired,
        InvocationEvent::Terminated,
        InvocationEvent::AgentRefused(AgentRefusal::Policy),
        InvocationEvent::AgentRefused(AgentRefusal::Platform),
        InvocationEvent::AgentRefused(AgentRefusal::TooLate),
        InvocationEvent::AgentRefused(AgentRefusal::Unreadable),
        InvocationEvent::NodeGone,
        InvocationEvent::Restored,
    ];

    /// The state after each event in turn; impossible ones stop the story.
    fn story(events: &[InvocationEvent]) -> Result<InvocationState, ImpossibleEvent> {
        events.iter().try_fold(InvocationState::PENDING, |state, event| {
            state.step(*event).map(|transition| match transition {
                Transition::To(next) => next,
                Transition::Unchanged => state,
            })
        })
    }

    #[test]
    fn stories_end_as_they_should() {
        use InvocationEvent::{
            Accepted, AgentRefused, CancelConfirmed, CancelRequested, DeliveryExpired, DeliveryFailed, Expired,
            Finished, NodeGone, Restored, Sent, Started, Terminated,
        };
        for (events, details, status) in [
            (&[][..], "Pending", "Pending"),
            (&[Sent], "InProgress", "InProgress"),
            (&[Sent, DeliveryFailed], "Delayed", "Delayed"),
            (&[Sent, DeliveryFailed, Sent, Accepted, Started], "InProgress", "InProgress"),
            (&[Sent, DeliveryFailed, Finished(Outcome::Success)], "Success", "Success"),
            (&[Sent, Accepted, Started, Finished(Outcome::Failed)], "Failed", "Failed"),
            (&[Sent, Finished(Outcome::TimedOut)], "ExecutionTimedOut", "TimedOut"),
            (&[CancelRequested], "Cancelled", "Cancelled"),
            (&[Sent, CancelRequested], "Cancelling", "Cancelling"),
            (&[Sent, CancelRequested, CancelConfirmed], "Cancelled", "Cancelled"),
            (&[Sent, CancelRequested, AgentRefused(AgentRefusal::Unreadable)], "Cancelled", "Cancelled"),
            (&[Sent, Accepted, AgentRefused(AgentRefusal::Unreadable)], "InProgress", "InProgress"),
            (&[Sent, Started, CancelRequested, Finished(Outcome::Success)], "Success", "Success"),
            (&[DeliveryExpired], "DeliveryTimedOut", "TimedOut"),
            (&[Sent, DeliveryExpired], "InProgress", "InProgress"),
            (&[Sent, Accepted, Started, Expired], "DeliveryTimedOut", "TimedOut"),
            (&[Sent, CancelRequested, Expired], "DeliveryTimedOut", "TimedOut"),
            (&[Terminated], "Terminated", "Cancelled"),
            (&[Sent, Terminated], "InProgress", "InProgress"),
            (&[Sent, AgentRefused(AgentRefusal::Policy)], "AccessDenied", "Failed"),
            (&[Sent, AgentRefused(AgentRefusal::Platform)], "InvalidPlatform", "Failed"),
            (&[Sent, AgentRefused(AgentRefusal::TooLate)], "DeliveryTimedOut", "TimedOut"),
            (&[Sent, AgentRefused(AgentRefusal::Unreadable)], "Undeliverable", "Failed"),
            (&[NodeGone], "Undeliverable", "Failed"),
            (&[Sent, Started, Restored], "Cancelled", "Cancelled"),
            (&[Sent, Finished(Outcome::Success), Finished(Outcome::Failed)], "Success", "Success"),
        ] {
            let state = story(events).unwrap();
            assert_eq!((state.status_details(), state.status()), (details, status), "{events:?}");
        }
    }

    #[test]
    fn a_node_cannot_answer_what_it_never_got() {
        for event in EVENTS {
            let from_node = matches!(
                event,
                InvocationEvent::DeliveryFailed
                    | InvocationEvent::Accepted
                    | InvocationEvent::Started
                    | InvocationEvent::Finished(_)
                    | InvocationEvent::CancelConfirmed
                    | InvocationEvent::AgentRefused(_)
            );
            assert_eq!(InvocationState::PENDING.step(event).is_err(), from_node, "{event:?}");
        }
        let running = InvocationState::Open(OpenState::Running);
        assert!(running.step(InvocationEvent::AgentRefused(AgentRefusal::Policy)).is_err());
    }

    #[test]
    fn states_are_stored_under_one_name_each() {
        for (state, name) in InvocationState::ALL {
            assert_eq!(InvocationState::parse(name), Some(state));
            assert_eq!(state.as_str(), name);
        }
        for (state, name, _) in crate::CommandState::ALL {
            assert_eq!(crate::CommandState::parse(name), Some(state));
        }
        assert_eq!(InvocationState::parse("InProgress"), None, "that is the API's name for three of them");
    }

    #[test]
    fn steps_make_the_outcome() {
        use StepStatus::{Cancelled, Failed, InProgress, Pending, Skipped, Success, TimedOut};
        for (steps, expected) in [
            (&[][..], Some(Outcome::Success)),
            (&[Success, Skipped], Some(Outcome::Success)),
            (&[Success, Pending], None),
            (&[Failed, InProgress], None),
            (&[Cancelled, TimedOut, Failed], Some(Outcome::Failed)),
            (&[Failed, Cancelled], Some(Outcome::Failed)),
            (&[Cancelled, TimedOut, Success], Some(Outcome::TimedOut)),
            (&[Success, Cancelled], Some(Outcome::Cancelled)),
        ] {
            assert_eq!(outcome_of_steps(steps.iter().copied()), expected, "{steps:?}");
        }
        assert_eq!(Success.step(Failed), Success);
        assert_eq!(InProgress.step(Pending), InProgress);
        assert_eq!(Pending.step(Success), Success);
    }

    proptest! {
        #[test]
        fn whatever_happens_an_end_is_an_end_and_repeats_change_nothing(
            picks in prop::collection::vec(0..EVENTS.len(), 0..40)
        ) {
            let mut state = InvocationState::PENDING;
            for pick in picks {
                let event = EVENTS[pick];
                let before = state;
                if let Ok(Transition::To(next)) = state.step(event) {
                    prop_assert!(!before.is_ended(), "{before} left by {event:?}");
                    prop_assert_ne!(next, before);
                    state = next;
                }
                // The same event once more changes nothing, except that a cancel asked for twice is still one cancel.
                let again = state.step(event);
                prop_assert!(!matches!(again, Ok(Transition::To(_))), "{event:?} twice: {before} {state} {again:?}");
                // Nothing that was handed out ever waits again: it could run twice beyond the limit.
                prop_assert!(before == InvocationState::PENDING || state != InvocationState::PENDING);
            }
        }
    }
}
