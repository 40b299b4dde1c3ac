use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not a state.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a state")]
pub struct UnknownState(String);

macro_rules! named {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = UnknownState;
            fn try_from(text: String) -> Result<Self, UnknownState> {
                Self::parse(&text).ok_or(UnknownState(text))
            }
        }

        impl From<$name> for String {
            fn from(state: $name) -> Self {
                state.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// An invocation that may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenState {
    /// Waits for its turn and for its node.
    Pending,
    /// Handed to a connection; the node has not answered.
    Sent,
    /// Handed to a connection that broke before the node answered; it is sent again under the same job id.
    Delayed,
    /// The node has written it down and will run it.
    Accepted,
    /// The node has begun.
    Running,
    /// A cancel is on its way.
    Cancelling,
}

/// How an invocation ended. Nothing leads out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndState {
    /// All steps went well or were skipped.
    Success,
    /// A step failed.
    Failed,
    /// The node said that a step ran out of time.
    ExecutionTimedOut,
    /// The node did not take it, or did not answer, in time.
    DeliveryTimedOut,
    /// Someone cancelled it, or it was unfinished in a restored backup.
    Cancelled,
    /// The node is gone, or could not read it.
    Undeliverable,
    /// Too many errors elsewhere; it was never sent.
    Terminated,
    /// The document does not run on the node's platform.
    InvalidPlatform,
    /// The node's own policy forbids it.
    AccessDenied,
}

/// How far an invocation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum InvocationState {
    /// It may still change.
    Open(OpenState),
    /// It is over.
    Ended(EndState),
}

impl InvocationState {
    /// Not yet sent: where every invocation begins.
    pub const PENDING: Self = Self::Open(OpenState::Pending);

    /// Every state with the name it is stored under.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Open(OpenState::Pending), "Pending"),
        (Self::Open(OpenState::Sent), "Sent"),
        (Self::Open(OpenState::Delayed), "Delayed"),
        (Self::Open(OpenState::Accepted), "Accepted"),
        (Self::Open(OpenState::Running), "Running"),
        (Self::Open(OpenState::Cancelling), "Cancelling"),
        (Self::Ended(EndState::Success), "Success"),
        (Self::Ended(EndState::Failed), "Failed"),
        (Self::Ended(EndState::ExecutionTimedOut), "ExecutionTimedOut"),
        (Self::Ended(EndState::DeliveryTimedOut), "DeliveryTimedOut"),
        (Self::Ended(EndState::Cancelled), "Cancelled"),
        (Self::Ended(EndState::Undeliverable), "Undeliverable"),
        (Self::Ended(EndState::Terminated), "Terminated"),
        (Self::Ended(EndState::InvalidPlatform), "InvalidPlatform"),
        (Self::Ended(EndState::AccessDenied), "AccessDenied"),
    ];

    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }

    /// `StatusDetails` in the API: the stored name, but the API does not tell Sent, Accepted and Running apart.
    #[must_use]
    pub fn status_details(self) -> &'static str {
        match self {
            Self::Open(OpenState::Sent | OpenState::Accepted | OpenState::Running) => "InProgress",
            _ => self.as_str(),
        }
    }

    /// `Status` in the API (CommandInvocationStatus).
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Open(_) => self.status_details(),
            Self::Ended(end) => match end {
                EndState::Success => "Success",
                EndState::DeliveryTimedOut | EndState::ExecutionTimedOut => "TimedOut",
                EndState::Cancelled | EndState::Terminated => "Cancelled",
                EndState::Failed | EndState::Undeliverable | EndState::InvalidPlatform | EndState::AccessDenied => {
                    "Failed"
                }
            },
        }
    }

    /// Whether it counts against `MaxConcurrency`: a node may be working on it.
    #[must_use]
    pub fn is_in_flight(self) -> bool {
        matches!(self, Self::Open(open) if open != OpenState::Pending)
    }

    /// Whether it counts against `MaxErrors`.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Self::Ended(EndState::Failed | EndState::ExecutionTimedOut))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Ended(_))
    }
}
named!(InvocationState);

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Begun.
    InProgress,
    /// Went well.
    Success,
    /// Not meant for this node; counts as success.
    Skipped,
    /// Failed.
    Failed,
    /// Ran out of its time.
    TimedOut,
    /// Was cancelled.
    Cancelled,
}

impl StepStatus {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Pending, "Pending"),
        (Self::InProgress, "InProgress"),
        (Self::Success, "Success"),
        (Self::Skipped, "Skipped"),
        (Self::Failed, "Failed"),
        (Self::TimedOut, "TimedOut"),
        (Self::Cancelled, "Cancelled"),
    ];

    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(status, _)| *status == self).map_or("", |(_, name)| name)
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(status, _)| *status)
    }

    /// `Status` of a plugin in the API, which knows no Skipped.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Skipped => "Success",
            _ => self.as_str(),
        }
    }

    /// `StatusDetails` of a plugin in the API.
    #[must_use]
    pub fn status_details(self) -> &'static str {
        match self {
            Self::TimedOut => "ExecutionTimedOut",
            _ => self.status(),
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress)
    }
}
named!(StepStatus);

/// How far a command is: derived from its invocations until it is over, then kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CommandState {
    /// None was sent.
    Pending,
    /// Some were sent, not all are over.
    InProgress,
    /// Cancelled, and not all are over.
    Cancelling,
    /// All went well.
    Success,
    /// More errors than borne, or no node could take it.
    Failed,
    /// All are over, not all went well, but not more errors than borne.
    Incomplete,
    /// No node took it in time.
    DeliveryTimedOut,
    /// Every node ran out of time.
    ExecutionTimedOut,
    /// Cancelled.
    Cancelled,
    /// No node fitted the targets.
    NoInstancesInTag,
}

impl CommandState {
    /// Every state with the name it is stored under, which is `StatusDetails` in the API, and `Status` in the API.
    /// The model does not say the Status of Incomplete and NoInstancesInTag; Failed is what clients understand.
    pub const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Pending, "Pending", "Pending"),
        (Self::InProgress, "InProgress", "InProgress"),
        (Self::Cancelling, "Cancelling", "Cancelling"),
        (Self::Success, "Success", "Success"),
        (Self::Failed, "Failed", "Failed"),
        (Self::Incomplete, "Incomplete", "Failed"),
        (Self::DeliveryTimedOut, "DeliveryTimedOut", "TimedOut"),
        (Self::ExecutionTimedOut, "ExecutionTimedOut", "TimedOut"),
        (Self::Cancelled, "Cancelled", "Cancelled"),
        (Self::NoInstancesInTag, "NoInstancesInTag", "Failed"),
    ];

    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, ..)| *state == self).map_or("", |(_, name, _)| name)
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(state, ..)| *state)
    }

    /// `StatusDetails` in the API.
    #[must_use]
    pub fn status_details(self) -> &'static str {
        self.as_str()
    }

    /// `Status` in the API (CommandStatus).
    #[must_use]
    pub fn status(self) -> &'static str {
        Self::ALL.iter().find(|(state, ..)| *state == self).map_or("", |(.., status)| status)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress | Self::Cancelling)
    }
}
named!(CommandState);
