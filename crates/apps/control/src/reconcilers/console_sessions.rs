//! Forgets sessions of the console that are over, and links that nobody used.

use std::{sync::Arc, time::Duration};

use changes::Changes;
use store::{RecordWrite, Write};

use super::{Reconciler, Status};
use crate::{Error, Server};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "console_sessions",
    purpose: "Forgets sessions of the console that are over, and links that nobody used.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    let mut changes: Changes<Write> = Changes::new();
    changes.writes.push(Write::from(RecordWrite::SessionsExpire { now: server.now() }));
    server.store.apply(&server.settings.home, changes).await?;
    Ok(Status::default())
}
