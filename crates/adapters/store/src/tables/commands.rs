use super::{live_output, named, select_versioned, small, versioned};
use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::statement::{Select, columns, put};
use crate::value::values;
use crate::{ReadError, Store};
use changes::Versioned;
use commands::{
    Command, CommandState, Invocation, InvocationState, RateLimit, StepOutput, Write, command_aggregate,
    invocation_aggregate,
};
use identifiers::{CommandId, DocumentName, JobId, NodeId, Scope, Timestamp};

macro_rules! command_columns {
    () => {
        "t.command_id, t.document_name, t.document_version, t.document_version_resolved, t.comment, t.parameters, \
         t.instance_ids, t.targets, t.delivery_timeout_seconds, t.execution_timeout_seconds, t.requested_at, \
         t.delivery_until, t.expires_at, t.max_concurrency, t.max_errors, t.state, t.target_count, t.completed_count, \
         t.error_count, t.delivery_timed_out_count, t.cancel_requested_at, t.finished_at, t.requested_by, t.request_id"
    };
}

macro_rules! invocation_columns {
    () => {
        "t.command_id, t.node_id, t.instance_name, t.job_id, t.state, t.trace, t.requested_at, t.sent_at, t.started_at, \
         t.finished_at, t.delivery_until, t.expires_at, t.steps"
    };
}

/// Where a page of commands ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    /// The last command's.
    pub requested_at: Timestamp,
    /// The last command's.
    pub command_id: CommandId,
}

/// Which commands.
#[derive(Debug, Clone)]
pub struct CommandQuery {
    /// Only this one.
    pub command_id: Option<CommandId>,
    /// Only those with an invocation on this node.
    pub node_id: Option<NodeId>,
    /// Only of this document.
    pub document_name: Option<DocumentName>,
    /// Only in one of these states; empty: in any.
    pub states: Vec<CommandState>,
    /// Only those sent after this instant.
    pub requested_after: Option<Timestamp>,
    /// Only those sent before this instant.
    pub requested_before: Option<Timestamp>,
    /// Only those older than the one with this key.
    pub after: Option<CommandKey>,
    /// At most so many.
    pub limit: u32,
}

impl CommandQuery {
    /// All of them, newest first.
    #[must_use]
    pub fn all(limit: u32) -> Self {
        Self {
            command_id: None,
            node_id: None,
            document_name: None,
            states: Vec::new(),
            requested_after: None,
            requested_before: None,
            after: None,
            limit,
        }
    }
}

/// Where a page of invocations ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationKey {
    /// The last invocation's.
    pub requested_at: Timestamp,
    /// The last invocation's.
    pub command_id: CommandId,
    /// The last invocation's.
    pub node_id: NodeId,
}

/// Which invocations.
#[derive(Debug, Clone)]
pub struct InvocationQuery {
    /// Only of this command.
    pub command_id: Option<CommandId>,
    /// Only on these nodes; `None`: on any.
    pub node_ids: Option<Vec<NodeId>>,
    /// Only in one of these states; empty: in any.
    pub states: Vec<InvocationState>,
    /// Only those sent after this instant.
    pub requested_after: Option<Timestamp>,
    /// Only those sent before this instant.
    pub requested_before: Option<Timestamp>,
    /// Only those that come after the one with this key: older, or the same command with a smaller node id.
    pub after: Option<InvocationKey>,
    /// At most so many.
    pub limit: u32,
}

impl InvocationQuery {
    /// All of them, newest first.
    #[must_use]
    pub fn all(limit: u32) -> Self {
        Self {
            command_id: None,
            node_ids: None,
            states: Vec::new(),
            requested_after: None,
            requested_before: None,
            after: None,
            limit,
        }
    }
}

impl Store {
    /// A command.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn command_get(
        &self,
        scope: &Scope,
        command: &CommandId,
    ) -> Result<Versioned<Option<Command>>, ReadError> {
        let sql = select_versioned!(command_columns!(), "command", "t.command_id = $5");
        self.get_versioned(sql, scope, &command_aggregate(command), values![command], command_of).await
    }

    /// Commands, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn command_list(
        &self,
        scope: &Scope,
        query: &CommandQuery,
    ) -> Result<Vec<Versioned<Command>>, ReadError> {
        let head = concat!(
            "SELECT COALESCE(a.revision, 0) AS revision, ",
            command_columns!(),
            " FROM command t LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region
            AND a.kind = 'command' AND a.id = t.command_id"
        );
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        if let Some(command) = &query.command_id {
            select.filter("t.command_id = ?", values![command]);
        }
        if let Some(node) = &query.node_id {
            let of_node = "EXISTS (SELECT 1 FROM invocation i WHERE i.account = t.account AND i.region = t.region
                AND i.command_id = t.command_id AND i.node_id = ?)";
            select.filter(of_node, values![node]);
        }
        if let Some(name) = &query.document_name {
            select.filter("t.document_name = ?", values![name]);
        }
        if !query.states.is_empty() {
            select.filter_in("t.state", query.states.iter().map(|state| state.as_str().into()).collect());
        }
        requested_between(&mut select, query.requested_after, query.requested_before);
        if let Some(after) = &query.after {
            select.filter("(t.requested_at, t.command_id) < (?, ?)", values![after.requested_at, &after.command_id]);
        }
        select.then("ORDER BY t.requested_at DESC, t.command_id DESC");
        select.limit(query.limit);
        self.select(select, |row| versioned(row, command_of)).await
    }

    /// Commands that are not over, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn command_list_open(
        &self,
        scope: &Scope,
        after: Option<CommandKey>,
        limit: u32,
    ) -> Result<Vec<Versioned<Command>>, ReadError> {
        let open = CommandState::ALL.iter().map(|(state, ..)| *state).filter(|state| !state.is_ended()).collect();
        self.command_list(scope, &CommandQuery { states: open, after, ..CommandQuery::all(limit) }).await
    }

    /// One command on one node.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn invocation_get(
        &self,
        scope: &Scope,
        command: &CommandId,
        node: &NodeId,
    ) -> Result<Versioned<Option<Invocation>>, ReadError> {
        let sql = select_versioned!(invocation_columns!(), "invocation", "t.command_id = $5 AND t.node_id = $6");
        let aggregate = invocation_aggregate(command, node);
        self.get_versioned(sql, scope, &aggregate, values![command, node], invocation_of).await
    }

    /// The invocation that a job stands for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn invocation_get_by_job(
        &self,
        scope: &Scope,
        job: &JobId,
    ) -> Result<Option<Versioned<Invocation>>, ReadError> {
        let mut select = invocations(scope);
        select.filter("t.job_id = ?", values![job]);
        select.limit(1);
        Ok(self.select(select, |row| versioned(row, invocation_of)).await?.pop())
    }

    /// Invocations, newest command first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn invocation_list(
        &self,
        scope: &Scope,
        query: &InvocationQuery,
    ) -> Result<Vec<Versioned<Invocation>>, ReadError> {
        let mut select = invocations(scope);
        if let Some(command) = &query.command_id {
            select.filter("t.command_id = ?", values![command]);
        }
        if let Some(nodes) = &query.node_ids {
            select.filter_in("t.node_id", nodes.iter().map(Into::into).collect());
        }
        if !query.states.is_empty() {
            select.filter_in("t.state", query.states.iter().map(|state| state.as_str().into()).collect());
        }
        requested_between(&mut select, query.requested_after, query.requested_before);
        if let Some(after) = &query.after {
            let key = values![after.requested_at, &after.command_id, &after.node_id];
            select.filter("(t.requested_at, t.command_id, t.node_id) < (?, ?, ?)", key);
        }
        select.then("ORDER BY t.requested_at DESC, t.command_id DESC, t.node_id DESC");
        select.limit(query.limit);
        self.select(select, |row| versioned(row, invocation_of)).await
    }

    /// Invocations that are not over, on some nodes (`None`: on any), newest command first: what dispatch and time-outs look at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn invocation_list_open(
        &self,
        scope: &Scope,
        node_ids: Option<Vec<NodeId>>,
        after: Option<InvocationKey>,
        limit: u32,
    ) -> Result<Vec<Versioned<Invocation>>, ReadError> {
        let states = InvocationState::ALL.iter().map(|(state, _)| *state).filter(|state| !state.is_ended()).collect();
        self.invocation_list(scope, &InvocationQuery { node_ids, states, after, ..InvocationQuery::all(limit) }).await
    }

    /// What the steps of an invocation wrote, by step name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn step_output_list(
        &self,
        scope: &Scope,
        command: &CommandId,
        node: &NodeId,
    ) -> Result<Vec<StepOutput>, ReadError> {
        let mut select = Select::new(
            "SELECT command_id, node_id, step, stdout, stderr, stdout_truncated, stderr_truncated FROM step_output",
            vec![],
        );
        select.scope("account = ? AND region = ?", scope);
        select.filter("command_id = ? AND node_id = ?", values![command, node]);
        select.then("ORDER BY step");
        self.select(select, step_output_of).await
    }
}

fn invocations(scope: &Scope) -> Select {
    let head = concat!(
        "SELECT COALESCE(a.revision, 0) AS revision, ",
        invocation_columns!(),
        " FROM invocation t LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region
        AND a.kind = 'invocation' AND a.id = t.command_id || '/' || t.node_id"
    );
    let mut select = Select::new(head, vec![]);
    select.scope("t.account = ? AND t.region = ?", scope);
    select
}

fn requested_between(select: &mut Select, after: Option<Timestamp>, before: Option<Timestamp>) {
    if let Some(after) = after {
        select.filter("t.requested_at > ?", values![after]);
    }
    if let Some(before) = before {
        select.filter("t.requested_at < ?", values![before]);
    }
}

fn rate_limit(row: &Row, column: &str) -> Result<RateLimit, ReadError> {
    RateLimit::try_from(row.text(column)?).map_err(|e| ReadError::Corrupt(format!("column {column}: {e}")))
}

fn command_of(row: &Row) -> Result<Command, ReadError> {
    Ok(Command {
        command_id: row.id("command_id")?,
        document_name: row.id("document_name")?,
        document_version: row.text("document_version")?,
        document_version_resolved: row.text("document_version_resolved")?,
        comment: row.text("comment")?,
        parameters: row.json("parameters")?,
        instance_ids: row.json("instance_ids")?,
        targets: row.json("targets")?,
        delivery_timeout_seconds: row.int("delivery_timeout_seconds")?,
        execution_timeout_seconds: row.int("execution_timeout_seconds")?,
        requested_at: row.at("requested_at")?,
        delivery_until: row.at("delivery_until")?,
        expires_at: row.at("expires_at")?,
        max_concurrency: rate_limit(row, "max_concurrency")?,
        max_errors: rate_limit(row, "max_errors")?,
        state: named(row, "state", CommandState::parse)?,
        target_count: small(row, "target_count")?,
        completed_count: small(row, "completed_count")?,
        error_count: small(row, "error_count")?,
        delivery_timed_out_count: small(row, "delivery_timed_out_count")?,
        cancel_requested_at: row.at_or_null("cancel_requested_at")?,
        finished_at: row.at_or_null("finished_at")?,
        requested_by: row.text("requested_by")?,
        request_id: row.text("request_id")?,
    })
}

fn invocation_of(row: &Row) -> Result<Invocation, ReadError> {
    Ok(Invocation {
        command_id: row.id("command_id")?,
        node_id: row.id("node_id")?,
        instance_name: row.text("instance_name")?,
        job_id: row.id("job_id")?,
        state: named(row, "state", InvocationState::parse)?,
        trace: row.text("trace")?,
        requested_at: row.at("requested_at")?,
        sent_at: row.at_or_null("sent_at")?,
        started_at: row.at_or_null("started_at")?,
        finished_at: row.at_or_null("finished_at")?,
        delivery_until: row.at("delivery_until")?,
        expires_at: row.at("expires_at")?,
        steps: row.json("steps")?,
    })
}

fn step_output_of(row: &Row) -> Result<StepOutput, ReadError> {
    let text = |column: &str| {
        String::from_utf8(row.blob(column)?).map_err(|_| ReadError::Corrupt(format!("column {column} is not UTF-8")))
    };
    Ok(StepOutput {
        command_id: row.id("command_id")?,
        node_id: row.id("node_id")?,
        step: row.text("step")?,
        stdout: text("stdout")?,
        stderr: text("stderr")?,
        stdout_truncated: row.int("stdout_truncated")? != 0,
        stderr_truncated: row.int("stderr_truncated")? != 0,
    })
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &Write) -> Result<(), Failure> {
    match write {
        Write::CommandPut(command) => command_put(connection, scope, command).await,
        Write::InvocationPut(invocation) => invocation_put(connection, scope, invocation).await,
        Write::StepOutputPut(output) => {
            let key =
                columns!["command_id" => &output.command_id, "node_id" => &output.node_id, "step" => &output.step];
            let rest = columns![
                "stdout" => output.stdout.as_bytes(),
                "stderr" => output.stderr.as_bytes(),
                "stdout_truncated" => output.stdout_truncated,
                "stderr_truncated" => output.stderr_truncated,
            ];
            Ok(put(connection, scope, "step_output", key, rest).await?)
        }
        Write::LiveOutputAdd(pieces) => live_output::add(connection, scope, pieces).await,
        Write::LiveOutputDelete(command, node) => live_output::forget(connection, scope, command, node).await,
        Write::LiveOutputSweep => live_output::sweep(connection, scope).await,
    }
}

async fn command_put(connection: &mut Connection<'_>, scope: &Scope, row: &Command) -> Result<(), Failure> {
    let rest = columns![
        "document_name" => &row.document_name,
        "document_version" => &row.document_version,
        "document_version_resolved" => &row.document_version_resolved,
        "comment" => &row.comment,
        "parameters" => to_json(&row.parameters)?,
        "instance_ids" => to_json(&row.instance_ids)?,
        "targets" => to_json(&row.targets)?,
        "delivery_timeout_seconds" => row.delivery_timeout_seconds,
        "execution_timeout_seconds" => row.execution_timeout_seconds,
        "requested_at" => row.requested_at,
        "delivery_until" => row.delivery_until,
        "expires_at" => row.expires_at,
        "max_concurrency" => String::from(row.max_concurrency),
        "max_errors" => String::from(row.max_errors),
        "state" => row.state.as_str(),
        "target_count" => i64::from(row.target_count),
        "completed_count" => i64::from(row.completed_count),
        "error_count" => i64::from(row.error_count),
        "delivery_timed_out_count" => i64::from(row.delivery_timed_out_count),
        "cancel_requested_at" => row.cancel_requested_at,
        "finished_at" => row.finished_at,
        "requested_by" => &row.requested_by,
        "request_id" => &row.request_id,
    ];
    Ok(put(connection, scope, "command", columns!["command_id" => &row.command_id], rest).await?)
}

async fn invocation_put(connection: &mut Connection<'_>, scope: &Scope, row: &Invocation) -> Result<(), Failure> {
    let key = columns!["command_id" => &row.command_id, "node_id" => &row.node_id];
    let rest = columns![
        "instance_name" => &row.instance_name,
        "job_id" => &row.job_id,
        "state" => row.state.as_str(),
        "trace" => &row.trace,
        "requested_at" => row.requested_at,
        "sent_at" => row.sent_at,
        "started_at" => row.started_at,
        "finished_at" => row.finished_at,
        "delivery_until" => row.delivery_until,
        "expires_at" => row.expires_at,
        "steps" => to_json(&row.steps)?,
    ];
    Ok(put(connection, scope, "invocation", key, rest).await?)
}
