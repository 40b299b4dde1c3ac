//! Moves each open command on, and sends what its invocations call for. Every server gives orders over its own connections; a
//! command is moved on by the one that is responsible for it, wherever its nodes are connected.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use changes::{Changes, Versioned};
use commands::{Command, Invocation};
use identifiers::{NodeId, Scope};
use nodes::{Ping, Replicas};
use store::{ApplyError, InvocationQuery, Write};

use super::{Reconciler, Status};
use crate::{Error, Server, agents::orders::Common, settings::HEARTBEAT_SECONDS, snapshot::WHOLE_MAX};

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
    let replicas = server.replicas();
    for command in server.store.command_list_open(scope, None, WHOLE_MAX).await? {
        done.commands += 1;
        let query =
            InvocationQuery { command_id: Some(command.row.command_id.clone()), ..InvocationQuery::all(WHOLE_MAX) };
        let invocations = server.store.invocation_list(scope, &query).await?;
        let connections = connections(server, scope, &command.row, &invocations).await?;
        let (command, invocations) =
            match replicas.is_responsible(&server.settings.replica, command.row.command_id.as_str()) {
                false => (command.row, invocations.into_iter().map(|found| found.row).collect()),
                true => match advance(server, scope, &replicas, command, invocations, &connections).await {
                    Ok(advanced) => advanced,
                    // Someone else moved it on; the next turn sees how.
                    Err(ApplyError::Conflict { .. }) => {
                        server.wake();
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
        let mut common = Common::of(command);
        for invocation in &invocations {
            if is_newest_here(server, &connections, &invocation.node_id) {
                done.orders += u64::from(server.deliver(scope, invocation, &mut common).await);
            }
        }
    }
    Ok(())
}

/// Moves a command on; how it and its invocations are then.
async fn advance(
    server: &Arc<Server>,
    scope: &Scope,
    replicas: &Replicas,
    command: Versioned<Command>,
    invocations: Vec<Versioned<Invocation>>,
    connections: &BTreeMap<NodeId, Ping>,
) -> Result<(Command, Vec<Invocation>), ApplyError> {
    let now = server.now();
    let reachable = |node: &NodeId| match connections.get(node) {
        Some(ping) if ping.replica == server.settings.replica => server.sessions.is_connected(node),
        Some(ping) => nodes::is_reachable(ping, replicas, now, HEARTBEAT_SECONDS),
        None => false,
    };
    let advance = commands::advance_command(&command, &invocations, reachable, now);
    let invocations = invocations_after(invocations, &advance.changes);
    let changes: Changes<Write> = advance.changes.map(Write::from);
    if !changes.is_empty() {
        server.apply(scope, changes).await?;
    }
    Ok((advance.command, invocations))
}

/// The newest connections of a command's nodes, where something is to be said to one of them.
async fn connections(
    server: &Arc<Server>,
    scope: &Scope,
    command: &Command,
    invocations: &[Versioned<Invocation>],
) -> Result<BTreeMap<NodeId, Ping>, Error> {
    let is_waiting = |invocation: &Invocation| invocation.is_pending() || server.is_order_due(invocation);
    if !invocations.iter().any(|versioned| is_waiting(&versioned.row)) {
        return Ok(BTreeMap::new());
    }
    let found = server.store.connection_list(scope, &command.command_id).await?;
    Ok(found.into_iter().map(|ping| (ping.node_id.clone(), ping)).collect())
}

/// Whether the node's newest connection is here. One that is here but is not the newest ends: this process was paused or cut
/// off while the node called another.
fn is_newest_here(server: &Server, connections: &BTreeMap<NodeId, Ping>, node: &NodeId) -> bool {
    let (Some(here), Some(newest)) = (server.sessions.epoch(node), connections.get(node)) else { return false };
    // The row may be older than a connection that has just begun.
    if newest.epoch > here {
        server.sessions.gone(node, here);
    }
    newest.epoch == here && newest.replica == server.settings.replica
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
