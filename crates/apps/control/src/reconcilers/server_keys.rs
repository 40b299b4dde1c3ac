//! Takes up keys that another replica has exchanged.

use std::{sync::Arc, time::Duration};

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "server_keys",
    purpose: "Takes up the server's keys when they were exchanged, and tells connected nodes.",
    every: Duration::from_secs(2),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    Ok(Status::of("exchanges", usize::from(server.look_at_keys().await?)))
}
