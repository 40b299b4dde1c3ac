use crate::{Command, Invocation, LiveOutput, StepOutput};
use changes::Aggregate;
use identifiers::{CommandId, NodeId};

/// What this domain asks the store to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Insert or replace the command.
    CommandPut(Box<Command>),
    /// Insert or replace the invocation, by its natural key (command, node).
    InvocationPut(Box<Invocation>),
    /// Insert or replace what a step wrote, by (command, node, step).
    StepOutputPut(Box<StepOutput>),
    /// Keep pieces of output of steps that run; one that is there already stays as it is.
    LiveOutputAdd(Vec<LiveOutput>),
    /// Forget the pieces of an invocation.
    LiveOutputDelete(CommandId, NodeId),
    /// Forget the pieces of all invocations of the scope that are over, or no longer known.
    LiveOutputSweep,
}

/// A command's aggregate: its own row and its rate control. Whatever could change how many may run touches it.
#[must_use]
pub fn command_aggregate(command: &CommandId) -> Aggregate {
    Aggregate::new("command", command.as_str())
}

/// An invocation's aggregate. Creating it leaves its revision at 0; its first change makes it 1.
#[must_use]
pub fn invocation_aggregate(command: &CommandId, node: &NodeId) -> Aggregate {
    Aggregate::new("invocation", format!("{command}/{node}"))
}
