//! Renews this server's row, looks at those of others, and forgets servers that are gone for long.

use std::{sync::Arc, time::Duration};

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "replicas",
    purpose: "Says that this server is there, and sees which others are.",
    every: Duration::from_secs(1),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    let replicas = server.observe_replicas().await?;
    server.forget_replicas(&replicas).await?;
    Ok(Status::default())
}
