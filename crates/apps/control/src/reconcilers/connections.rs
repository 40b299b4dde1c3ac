//! Ends connections that are not their nodes' newest any more.

use std::{sync::Arc, time::Duration};

use store::Signal;

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "connections",
    purpose: "Ends connections of nodes that have been sent away, are held, or have connected elsewhere since.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    // First what is here: a connection is written before it is here.
    let here = server.sessions.epochs();
    if here.is_empty() {
        return Ok(Status::of("ended", 0));
    }
    let newest = server.store.connection_list_of(&server.settings.replica).await?;
    let overtaken: Vec<_> = here.into_iter().filter(|(node, epoch)| newest.get(node) != Some(epoch)).collect();
    for (node, epoch) in &overtaken {
        server.sessions.gone(node, *epoch);
    }
    Ok(Status::of("ended", overtaken.len()))
}

/// Acts on what other servers say, at once. What is missed is found by looking.
pub(super) async fn hear_signals(server: Arc<Server>) {
    let mut signals = server.store.signals();
    loop {
        let concerns_connections = match signals.next().await {
            Signal::Due => false,
            Signal::ConnectionEnded(node) => server.sessions.epoch(&node).is_some(),
            Signal::Missed => true,
        };
        if concerns_connections && let Err(error) = activate(&server).await {
            tracing::warn!("connections were not compared with their rows: {}", error.detail.unwrap_or(error.message));
        }
        server.wake();
    }
}
