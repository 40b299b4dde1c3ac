//! Writes down what running steps have written, and forgets what is no longer needed of it.

use std::{sync::Arc, time::Duration};

use changes::Changes;
use store::Write;

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "live_output",
    purpose: "Writes down what running steps have written, and asks for more.",
    every: Duration::from_millis(500),
    woken: false,
    activate: |server| Box::pin(async { Ok(Status::of("pieces", server.write_live_output().await?)) }),
};

/// What came while steps ran goes with their results. This finds what came too late, or whose invocation ended otherwise.
pub(super) const LEFTOVERS: Reconciler = Reconciler {
    name: "live_output_leftovers",
    purpose: "Forgets what is left of live output of invocations that are over.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(forget_leftovers(server)),
};

async fn forget_leftovers(server: &Arc<Server>) -> Result<Status, Error> {
    let scopes = server.store.scope_list().await?;
    for scope in &scopes {
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(commands::Write::LiveOutputSweep));
        server.store.apply(scope, changes).await?;
    }
    Ok(Status::of("scopes", scopes.len()))
}
