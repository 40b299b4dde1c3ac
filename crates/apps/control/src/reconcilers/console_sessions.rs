//! Forgets sessions of the console that are over, links that nobody used, and failures to sign in of long ago.

use std::{sync::Arc, time::Duration};

use changes::Changes;
use store::{PeopleWrite, Write};

use super::{Reconciler, Status};
use crate::{Error, Server, people::idle_since};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "console_sessions",
    purpose: "Forgets sessions of the console that are over, links that nobody used, and old failures to sign in.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    if !server.is_responsible("console_sessions") {
        return Ok(Status::default());
    }
    let mut changes: Changes<Write> = Changes::new();
    let now = server.now();
    let before = now.plus_seconds(-access::FORGET_SECONDS);
    changes.writes.push(Write::from(PeopleWrite::SessionsExpire { now, seen_before: idle_since(now) }));
    changes.writes.push(Write::from(PeopleWrite::SignInFailuresExpire { before }));
    server.store.apply(&server.settings.home, changes).await?;
    Ok(Status::default())
}
