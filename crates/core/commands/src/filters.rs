//! The filters of `ListCommands` and `ListCommandInvocations`.

use crate::{Command, Invocation, Refused};
use identifiers::{DocumentName, Timestamp};

/// How many filters a list takes (the SSM model).
const FILTERS_MAX: usize = 5;

/// `Status` values of `ListCommands` (CommandFilter of the SSM model).
const COMMAND_STATUSES: [&str; 12] = [
    "Pending",
    "InProgress",
    "Success",
    "Cancelled",
    "Failed",
    "TimedOut",
    "AccessDenied",
    "DeliveryTimedOut",
    "ExecutionTimedOut",
    "Incomplete",
    "NoInstancesInTag",
    "LimitExceeded",
];

/// `Status` values of `ListCommandInvocations` (CommandFilter of the SSM model).
const INVOCATION_STATUSES: [&str; 13] = [
    "Pending",
    "InProgress",
    "Delayed",
    "Success",
    "Cancelled",
    "Failed",
    "TimedOut",
    "AccessDenied",
    "DeliveryTimedOut",
    "ExecutionTimedOut",
    "Undeliverable",
    "InvalidPlatform",
    "Terminated",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    InvokedAfter(Timestamp),
    InvokedBefore(Timestamp),
    Status(String),
    DocumentName(String),
    Executing(bool),
}

/// The filters of `ListCommands`: all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandFilters(Vec<Condition>);

/// The filters of `ListCommandInvocations`: all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvocationFilters(Vec<Condition>);

fn read(filters: &[(String, String)], statuses: &[&str], stages: bool) -> Result<Vec<Condition>, Refused> {
    if filters.len() > FILTERS_MAX {
        return Err(Refused::Validation(format!("A list takes at most {FILTERS_MAX} filters.")));
    }
    filters.iter().map(|(key, value)| condition(key, value, statuses, stages)).collect()
}

fn condition(key: &str, value: &str, statuses: &[&str], stages: bool) -> Result<Condition, Refused> {
    let shown: String = value.chars().take(128).collect();
    let instant = || {
        Timestamp::parse(value).map_err(|_| {
            Refused::Validation(format!(
                "The filter {key} takes an instant such as 2021-07-07T00:00:00Z, not '{shown}'."
            ))
        })
    };
    let one_of = |known: &[&str]| {
        let known = known.join(", ");
        Refused::Validation(format!("The filter {key} doesn't know '{shown}'. Valid values: {known}."))
    };
    match key {
        "InvokedAfter" => Ok(Condition::InvokedAfter(instant()?)),
        "InvokedBefore" => Ok(Condition::InvokedBefore(instant()?)),
        "Status" if statuses.contains(&value) => Ok(Condition::Status(value.to_owned())),
        "Status" => Err(one_of(statuses)),
        "DocumentName" => Ok(Condition::DocumentName(value.to_owned())),
        "ExecutionStage" if stages => match value {
            "Executing" => Ok(Condition::Executing(true)),
            "Complete" => Ok(Condition::Executing(false)),
            _ => Err(one_of(&["Executing", "Complete"])),
        },
        _ => Err(Refused::InvalidFilterKey),
    }
}

/// What the conditions look at.
struct Subject<'a> {
    requested_at: Timestamp,
    document_name: &'a DocumentName,
    status: &'a str,
    status_details: &'a str,
    executing: bool,
}

fn hold(conditions: &[Condition], subject: &Subject<'_>) -> bool {
    conditions.iter().all(|condition| match condition {
        Condition::InvokedAfter(from) => subject.requested_at >= *from,
        Condition::InvokedBefore(until) => subject.requested_at < *until,
        // The values are of both kinds; `Failed` finds whatever the API shows as Failed in either place.
        Condition::Status(value) => value == subject.status || value == subject.status_details,
        Condition::DocumentName(name) => name == subject.document_name.as_str(),
        Condition::Executing(executing) => *executing == subject.executing,
    })
}

impl CommandFilters {
    /// Reads `Filters` as (key, value).
    ///
    /// # Errors
    /// [`Refused::InvalidFilterKey`] for another key, [`Refused::Validation`] for more than five or a value that the key does
    /// not know.
    pub fn parse(filters: &[(String, String)]) -> Result<Self, Refused> {
        read(filters, &COMMAND_STATUSES, true).map(Self)
    }

    /// Whether the command is meant.
    #[must_use]
    pub fn matches(&self, command: &Command) -> bool {
        let subject = Subject {
            requested_at: command.requested_at,
            document_name: &command.document_name,
            status: command.state.status(),
            status_details: command.state.status_details(),
            executing: !command.state.is_ended(),
        };
        hold(&self.0, &subject)
    }
}

impl InvocationFilters {
    /// Reads `Filters` as (key, value).
    ///
    /// # Errors
    /// As [`CommandFilters::parse`]; `ExecutionStage` is no key here.
    pub fn parse(filters: &[(String, String)]) -> Result<Self, Refused> {
        read(filters, &INVOCATION_STATUSES, false).map(Self)
    }

    /// Whether the invocation, of a command of this document, is meant.
    #[must_use]
    pub fn matches(&self, invocation: &Invocation, document_name: &DocumentName) -> bool {
        let subject = Subject {
            requested_at: invocation.requested_at,
            document_name,
            status: invocation.state.status(),
            status_details: invocation.state.status_details(),
            executing: !invocation.state.is_ended(),
        };
        hold(&self.0, &subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sending::tests::{command, invocations};
    use crate::{CommandState, EndState, InvocationState, OpenState};

    fn pairs(filters: &[(&str, &str)]) -> Vec<(String, String)> {
        filters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn commands_are_filtered() {
        let incomplete = Command { state: CommandState::Incomplete, ..command(1) };
        let at = incomplete.requested_at.to_rfc3339_millis();
        let later = incomplete.requested_at.plus_seconds(1).to_rfc3339_seconds();
        for (filters, expected) in [
            (&[][..], Ok(true)),
            (&[("InvokedAfter", at.as_str())], Ok(true)),
            (&[("InvokedAfter", later.as_str())], Ok(false)),
            (&[("InvokedBefore", at.as_str())], Ok(false)),
            (&[("InvokedBefore", later.as_str())], Ok(true)),
            (&[("InvokedBefore", "yesterday")], Err("ValidationException")),
            (&[("Status", "Incomplete")], Ok(true)),
            (&[("Status", "Failed")], Ok(true)),
            (&[("Status", "Success")], Ok(false)),
            (&[("Status", "Terminated")], Err("ValidationException")),
            (&[("Status", "LimitExceeded")], Ok(false)),
            (&[("DocumentName", "AWS-RunShellScript")], Ok(true)),
            (&[("DocumentName", "AWS-Run")], Ok(false)),
            (&[("ExecutionStage", "Complete")], Ok(true)),
            (&[("ExecutionStage", "Executing")], Ok(false)),
            (&[("ExecutionStage", "Waiting")], Err("ValidationException")),
            (&[("Status", "Failed"), ("ExecutionStage", "Executing")], Ok(false)),
            (&[("Colour", "red")], Err("InvalidFilterKey")),
            (&[("Status", "Failed"); 6], Err("ValidationException")),
        ] {
            let found = CommandFilters::parse(&pairs(filters)).map(|f| f.matches(&incomplete));
            assert_eq!(found.map_err(|e| e.code()), expected, "{filters:?}");
        }
    }

    #[test]
    fn invocations_are_filtered() {
        let command = command(1);
        let mut invocation = invocations(&command).remove(0);
        for (state, filter, expected) in [
            (InvocationState::Open(OpenState::Sent), ("Status", "InProgress"), Ok(true)),
            (InvocationState::Ended(EndState::Terminated), ("Status", "Terminated"), Ok(true)),
            (InvocationState::Ended(EndState::Terminated), ("Status", "Cancelled"), Ok(true)),
            (InvocationState::Ended(EndState::ExecutionTimedOut), ("Status", "TimedOut"), Ok(true)),
            (InvocationState::Ended(EndState::ExecutionTimedOut), ("Status", "DeliveryTimedOut"), Ok(false)),
            (InvocationState::PENDING, ("Status", "Incomplete"), Err("ValidationException")),
            (InvocationState::PENDING, ("ExecutionStage", "Executing"), Err("InvalidFilterKey")),
            (InvocationState::PENDING, ("DocumentName", "AWS-RunShellScript"), Ok(true)),
        ] {
            invocation.state = state;
            let found = InvocationFilters::parse(&pairs(&[filter]));
            let found = found.map(|f| f.matches(&invocation, &command.document_name)).map_err(|e| e.code());
            assert_eq!(found, expected, "{state} {filter:?}");
        }
    }
}
