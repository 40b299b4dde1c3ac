//! Seals the audit records that are not sealed yet.

use std::{sync::Arc, time::Duration};

use super::{Reconciler, Status};
use crate::{Error, Server, audit_log::seal_audit_records};

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "audit_seals",
    purpose: "Seals new audit records, so that any later change of them is found.",
    every: Duration::from_secs(2),
    woken: false,
    activate: |server| Box::pin(activate(server, false)),
};

/// `closing`: whatever there is, however young.
pub(super) async fn activate(server: &Arc<Server>, closing: bool) -> Result<Status, Error> {
    Ok(Status::of("seals", seal_audit_records(server, closing).await?))
}
