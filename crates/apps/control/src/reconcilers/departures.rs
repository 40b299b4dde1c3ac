//! Ends what still waits for nodes that have been deregistered.

use std::{sync::Arc, time::Duration};

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "departures",
    purpose: "Ends what still waits for nodes that have been deregistered.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    if !server.is_responsible("departures") {
        return Ok(Status::default());
    }
    let scopes = server.store.scope_list().await?;
    for scope in &scopes {
        server.end_commands_of_departed(scope).await?;
    }
    Ok(Status::of("scopes", scopes.len()))
}
