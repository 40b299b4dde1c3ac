//! Forgets client tokens of requests that nobody repeats any more.

use std::{sync::Arc, time::Duration};

use changes::Changes;
use store::{RecordWrite, Write};

use super::{Reconciler, Status};
use crate::{Error, Server};

/// How long a client token is remembered, in seconds: a day. AWS says nothing of how long, botocore's retries take minutes.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "client_tokens",
    purpose: "Forgets client tokens of requests that nobody repeats any more.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    if !server.is_responsible("client_tokens") {
        return Ok(Status::default());
    }
    let before = server.now().plus_seconds(-TOKEN_SECONDS);
    let scopes = server.store.scope_list().await?;
    for scope in &scopes {
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::IdempotencyExpire { before }));
        server.store.apply(scope, changes).await?;
    }
    Ok(Status::of("scopes", scopes.len()))
}
