//! Moves each open command on, and sends what its invocations call for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use changes::{Changes, Versioned};
use commands::Invocation;
use identifiers::{NodeId, Scope};
use store::{ApplyError, InvocationQuery, Write};

use super::{Reconciler, Status};
use crate::{Error, Server, agents::orders::Common, snapshot::WHOLE_MAX};

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
            if error.is_read_only() {
                continue;
            }
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
        let reachable = |node: &NodeId| server.sessions.is_connected(node);
        let advance = commands::advance_command(&command, &invocations, reachable, server.now());
        let changed = invocations_after(invocations, &advance.changes);
        let changes: Changes<Write> = advance.changes.map(Write::from);
        if !changes.is_empty() {
            match server.apply(scope, changes).await {
                Ok(_) => {}
                // Someone else moved it on; the next turn sees how.
                Err(ApplyError::Conflict { .. }) => {
                    server.wake();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let mut common = Common::of(advance.command);
        for invocation in &changed {
            done.orders += u64::from(server.deliver(scope, invocation, &mut common).await);
        }
    }
    Ok(())
}

/// The invocations as they are once `changes` are applied.
fn invocations_after(read: Vec<Versioned<Invocation>>, changes: &Changes<commands::Write>) -> Vec<Invocation> {
    let mut put: BTreeMap<&NodeId, &Invocation> = BTreeMap::new();
    for write in &changes.writes {
        if let commands::Write::InvocationPut(invocation) = write {
            put.insert(&invocation.node_id, invocation);
        }
    }
    read.into_iter().map(|found| put.get(&found.row.node_id).map_or(found.row, |after| (**after).clone())).collect()
}
