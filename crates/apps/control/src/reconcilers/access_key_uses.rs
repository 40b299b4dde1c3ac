//! Writes when access keys were last used.

use std::time::Duration;

use super::{Reconciler, Status};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "access_key_uses",
    purpose: "Writes when each access key was last used.",
    every: Duration::from_secs(2),
    woken: false,
    activate: |server| Box::pin(async { Ok(Status::of("access keys", server.write_key_uses().await?)) }),
};
