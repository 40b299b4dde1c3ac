//! Writes the heartbeats that came since the last turn, together, and acknowledges them.

use std::{sync::Arc, time::Duration};

use nodes::Ping;

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "heartbeats",
    purpose: "Writes when each node was last heard of.",
    every: Duration::from_millis(250),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

/// Writes what waits, then acknowledges it. A connection that is not its node's newest any more ends.
pub(crate) async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    let waiting = server.pings.take();
    if waiting.is_empty() {
        return Ok(Status::of("heartbeats", 0));
    }
    let pings = waiting.iter().map(|waiting| (waiting.scope.clone(), waiting.ping.clone())).collect();
    let overtaken = match server.store.pings_put(pings).await {
        Ok(overtaken) => overtaken,
        Err(error) => {
            server.pings.give_back(waiting);
            return Err(error.into());
        }
    };
    for waiting in &waiting {
        let Ping { node_id, epoch, .. } = &waiting.ping;
        if overtaken.contains(node_id) {
            server.sessions.gone(node_id, *epoch);
        } else if let Some(message) = waiting.message {
            server.sessions.acknowledge(node_id, *epoch, message);
        }
    }
    Ok(Status::of("heartbeats", waiting.len()))
}
