//! Moves each open command on, and sends what its invocations call for.

use std::{sync::Arc, time::Duration};

use changes::Changes;
use identifiers::Scope;
use store::{ApplyError, InvocationQuery, Write};

use super::{Reconciler, Status};
use crate::{Error, Server, snapshot::WHOLE_MAX};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "dispatch",
    purpose: "Starts due invocations, sends orders to connected nodes, keeps deadlines.",
    every: Duration::from_secs(1),
    woken: true,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    let mut done = Dispatched::default();
    let mut failures = 0;
    for scope in server.store.scope_list().await? {
        // What fails in one scope must not hold up the others.
        if let Err(error) = dispatch(server, &scope, &mut done).await {
            failures += 1;
            let detail = error.detail.as_deref().unwrap_or(&error.message);
            tracing::error!(account = %scope.account, region = %scope.region, "commands were not moved on: {detail}");
        }
    }
    Ok(Status { done: vec![("commands", done.commands), ("orders", done.orders)], failures })
}

/// How many commands were looked at, and how many orders were handed to connections.
#[derive(Default)]
struct Dispatched {
    commands: u64,
    orders: u64,
}

async fn dispatch(server: &Arc<Server>, scope: &Scope, done: &mut Dispatched) -> Result<(), Error> {
    for command in server.store.command_list_open(scope, None, WHOLE_MAX).await? {
        done.commands += 1;
        let query =
            InvocationQuery { command_id: Some(command.row.command_id.clone()), ..InvocationQuery::all(WHOLE_MAX) };
        let invocations = server.store.invocation_list(scope, &query).await?;
        let reachable = |node: &identifiers::NodeId| server.sessions.is_connected(node);
        let advance = commands::advance_command(&command, &invocations, reachable, server.now());
        let started = !advance.plan.start.is_empty();
        let changes: Changes<Write> = advance.changes.map(Write::from);
        if !changes.is_empty() {
            match server.store.apply(scope, changes).await {
                Ok(_) => {}
                // Someone else moved it on; the next turn sees how.
                Err(ApplyError::Conflict { .. }) => {
                    server.wake();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let invocations = match started {
            true => server.store.invocation_list(scope, &query).await?,
            false => invocations,
        };
        for invocation in invocations.iter().map(|versioned| &versioned.row) {
            done.orders += u64::from(server.deliver(scope, invocation).await);
        }
    }
    Ok(())
}
