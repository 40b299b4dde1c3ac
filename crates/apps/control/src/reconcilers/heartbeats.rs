//! Writes the heartbeats that came since the last turn, together.

use std::{sync::Arc, time::Duration};

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "heartbeats",
    purpose: "Writes when each node was last heard of.",
    every: Duration::from_secs(1),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

pub(super) async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    let pings = server.pings.take();
    let count = pings.len();
    if count > 0 {
        server.store.pings_put(pings).await?;
    }
    Ok(Status::of("heartbeats", count))
}
