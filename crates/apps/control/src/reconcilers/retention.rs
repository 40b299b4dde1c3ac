//! Removes what is past its time, a batch at a time: between two batches others write.

use std::{sync::Arc, time::Duration};

use access::Principal;
use changes::Changes;
use identifiers::{Period, Scope, Timestamp};
use store::{AuditWrite, RecordKind, RecordWrite, Write};

use super::{Reconciler, Status};
use crate::{Error, Server};

/// How many batches of a kind a turn removes in a scope; the rest has the next turn.
const BATCHES_PER_TURN: u32 = 20;

/// How many sealed batches of audit records, of at most a thousand each, a turn removes in a scope.
const SEALS_PER_TURN: u32 = 10;

pub(super) const RECONCILER: Reconciler = Reconciler {
    name: "retention",
    purpose: "Removes records that are past the time for which they are kept.",
    every: Duration::from_secs(60),
    woken: false,
    activate: |server| Box::pin(activate(server)),
};

async fn activate(server: &Arc<Server>) -> Result<Status, Error> {
    server.remove_past(&server.settings.retention).await
}

impl Server {
    /// Removes what is past its time, at most so much as a turn may; how many of each kind.
    ///
    /// # Errors
    /// When the store fails; what is gone is gone.
    pub async fn remove_past(self: &Arc<Self>, retention: &Retention) -> Result<Status, Error> {
        let mut done: Vec<(&'static str, u64)> = RecordKind::ALL.map(|kind| (kind.name(), 0)).to_vec();
        let mut audit_records = 0;
        for scope in self.store.recorded_scope_list().await? {
            for (kind, (_, count)) in RecordKind::ALL.into_iter().zip(&mut done) {
                if let Some(before) = retention.of(kind).past(self.now()) {
                    *count += remove(self, &scope, kind, before).await?;
                }
            }
            if let Some(before) = retention.audit.past(self.now()) {
                audit_records += prune_audit(self, &scope, before).await?;
            }
        }
        done.push(("audit_records", audit_records));
        Ok(Status { done, failures: 0 })
    }
}

/// Removes the records of whole sealed batches, in one transaction with the record that says so.
async fn prune_audit(server: &Arc<Server>, scope: &Scope, before: Timestamp) -> Result<u64, Error> {
    let oldest = server.store.audit_seal_list_unpruned(scope, SEALS_PER_TURN).await?;
    let Some(last) = audit::prunable(&oldest, before.as_micros()) else { return Ok(0) };
    let removed =
        oldest.iter().take_while(|seal| seal.number <= last.number).map(|seal| seal.record_count).sum::<i64>();
    let context = server.context(scope.clone(), Principal::System, String::new());
    let after = serde_json::json!({ "through_seq": last.last_seq, "before": before.to_rfc3339_seconds() });
    let mut changes: Changes<Write> = Changes::new();
    changes.audit.push(context.audit(audit::PRUNE_ACTION, "audit", &serde_json::Value::Null, &after));
    changes.writes.push(Write::from(AuditWrite::Prune { through_seal: last.number }));
    server.store.apply(scope, changes).await?;
    Ok(u64::try_from(removed).unwrap_or_default())
}

async fn remove(server: &Arc<Server>, scope: &Scope, kind: RecordKind, before: Timestamp) -> Result<u64, Error> {
    let mut removed = 0;
    for _ in 0..BATCHES_PER_TURN {
        let due = server.store.past_count(scope, kind, before, kind.batch()).await?;
        if due == 0 {
            break;
        }
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(RecordWrite::PastRemove { kind, before }));
        server.store.apply(scope, changes).await?;
        removed += due;
    }
    Ok(removed)
}

/// How long each kind of record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Ended commands with their invocations and outputs.
    pub commands: Period,
    /// Patch reports and changes of patch states.
    pub patch_history: Period,
    /// Package changes, and packages that are gone.
    pub package_history: Period,
    /// Events.
    pub events: Period,
    /// Deregistered nodes and all that is known of them.
    pub deregistered_nodes: Period,
    /// Audit records; their seals stay.
    pub audit: Period,
}

impl Retention {
    /// Everything for ever.
    pub const FOREVER: Self = Self {
        commands: Period::Forever,
        patch_history: Period::Forever,
        package_history: Period::Forever,
        events: Period::Forever,
        deregistered_nodes: Period::Forever,
        audit: Period::Forever,
    };

    /// How long a kind is kept.
    #[must_use]
    pub fn of(&self, kind: RecordKind) -> Period {
        match kind {
            RecordKind::Commands => self.commands,
            RecordKind::PatchHistory => self.patch_history,
            RecordKind::PackageHistory => self.package_history,
            RecordKind::Events => self.events,
            RecordKind::DeregisteredNodes => self.deregistered_nodes,
        }
    }
}

impl Default for Retention {
    /// AWS keeps the history of commands for 30 days; what shows how a fleet came to be as it is, a year.
    fn default() -> Self {
        Self {
            commands: Period::days(30),
            patch_history: Period::days(365),
            package_history: Period::days(365),
            events: Period::days(30),
            deregistered_nodes: Period::days(90),
            audit: Period::Forever,
        }
    }
}

impl Server {
    /// How many records of each kind would be removed now if they were kept for so long; nothing is removed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn retention_preview(&self, retention: &Retention) -> Result<Vec<(RecordKind, u64)>, Error> {
        let mut counts = Vec::new();
        for kind in RecordKind::ALL {
            let mut count = 0;
            if let Some(before) = retention.of(kind).past(self.now()) {
                for scope in self.store.recorded_scope_list().await? {
                    count += self.store.past_count(&scope, kind, before, u32::MAX).await?;
                }
            }
            counts.push((kind, count));
        }
        Ok(counts)
    }
}
