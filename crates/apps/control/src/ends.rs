//! What is said when an invocation or a command is over: a line in the log under the request that asked for it, and a count.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use changes::Changes;
use commands::{Command, CommandState, Invocation, InvocationState};
use identifiers::{CommandId, Scope};
use store::{Applied, ApplyError, Write};

use crate::Server;

/// Of so many commands the request is remembered; then it is looked up anew.
const REMEMBERED_MAX: usize = 1000;

/// Which request each command was sent by.
#[derive(Default)]
pub(crate) struct Requests(Mutex<BTreeMap<CommandId, Arc<str>>>);

impl Requests {
    /// Remembers a command's request.
    fn note(&self, command: &Command) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(command.command_id.clone(), command.request_id.as_str().into());
    }

    fn get(&self, command: &CommandId) -> Option<Arc<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(command).cloned()
    }
}

impl Server {
    /// Applies a decision that may end invocations or commands, and says which it ended.
    ///
    /// # Errors
    /// As [`store::Store::apply`].
    pub(crate) async fn apply(&self, scope: &Scope, changes: Changes<Write>) -> Result<Applied, ApplyError> {
        let mut invocations = Vec::new();
        let mut commands = Vec::new();
        for write in &changes.writes {
            match write {
                Write::Command(commands::Write::InvocationPut(row)) if row.state.is_ended() => {
                    invocations.push(Invocation::clone(row));
                }
                Write::Command(commands::Write::CommandPut(row)) if row.state.is_ended() => {
                    commands.push(Command::clone(row));
                }
                _ => {}
            }
        }
        let applied = self.store.apply(scope, changes).await?;
        for invocation in &invocations {
            self.invocation_ended(scope, invocation).await;
        }
        for command in &commands {
            self.command_ended(command);
        }
        Ok(applied)
    }

    async fn invocation_ended(&self, scope: &Scope, invocation: &Invocation) {
        let InvocationState::Ended(_) = invocation.state else { return };
        let state = invocation.state.as_str();
        self.metrics.invocation_ended(state);
        let request_id = self.request_of(scope, &invocation.command_id).await;
        let (node, command, job) = (&invocation.node_id, &invocation.command_id, &invocation.job_id);
        tracing::info!(request_id = &*request_id, %node, %command, %job, state, "invocation ended");
    }

    fn command_ended(&self, command: &Command) {
        let state: CommandState = command.state;
        self.metrics.command_ended(state.as_str());
        let document = command.document_name.as_str();
        let state = state.as_str();
        tracing::info!(request_id = command.request_id, command = %command.command_id, document, state, "command ended");
    }

    /// The id of the request that sent a command; empty where that cannot be read now.
    pub(crate) async fn request_of(&self, scope: &Scope, command: &CommandId) -> Arc<str> {
        if let Some(known) = self.requests.get(command) {
            return known;
        }
        let found = self.store.command_get(scope, command).await.ok().and_then(|found| found.row);
        if let Some(command) = &found {
            self.requests.note(command);
        }
        found.map_or_else(|| "".into(), |command| command.request_id.into())
    }
}
