//! This process among the replicas: its row, theirs, and whether it has lost the database.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use changes::Changes;
use identifiers::Timestamp;
use nodes::{Replica, Replicas};
use store::{RecordWrite, Write};
use tokio::time::Instant;

use crate::{Error, Server};

/// How often the row is renewed and those of others are read, in seconds.
const RENEW_SECONDS: i64 = 1;

/// After so long without the database this process counts as cut off from it.
const CUT_OFF: Duration = Duration::from_secs(15);

/// How long leaving may take: the database may be away.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

struct Seen {
    replicas: Replicas,
    renewed_at: Option<Timestamp>,
    well_at: Instant,
    is_cut_off: bool,
}

/// What this process knows of the replicas, itself included.
pub(crate) struct Presence(Mutex<Seen>);

impl Default for Presence {
    fn default() -> Self {
        Self(Mutex::new(Seen {
            replicas: Replicas::default(),
            renewed_at: None,
            well_at: Instant::now(),
            is_cut_off: false,
        }))
    }
}

impl Presence {
    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the database has not answered for a while.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.seen(|seen| seen.is_cut_off)
    }
}

impl Server {
    /// Renews this replica's row and looks at those of others, once a second. An embedded database has no others.
    ///
    /// # Errors
    /// When the database cannot be written or read.
    pub(crate) async fn observe_replicas(&self) -> Result<Replicas, Error> {
        let now = self.now();
        let renewed_at = self.presence.seen(|seen| seen.renewed_at);
        let is_due = renewed_at.is_none_or(|at| now < at || now >= at.plus_seconds(RENEW_SECONDS));
        if is_due && (renewed_at.is_none() || !self.store.is_exclusive()) {
            let row = Replica {
                name: self.settings.replica.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at(),
                seen_at: now,
            };
            self.put_record(RecordWrite::ReplicaPut(row.clone())).await?;
            let mut rows = self.store.replica_list().await?;
            if self.store.is_exclusive() {
                // The others were earlier processes of this one's database.
                for earlier in rows.extract_if(.., |other| other.name != row.name) {
                    self.put_record(RecordWrite::ReplicaDelete(earlier.name)).await?;
                }
            }
            // After the read: what came of waiting for it must not count against the others.
            let now = self.now();
            self.presence.seen(|seen| {
                seen.renewed_at = Some(now);
                seen.replicas.observe(&rows, now);
            });
        }
        Ok(self.presence.seen(|seen| {
            seen.well_at = Instant::now();
            seen.replicas.clone()
        }))
    }

    /// The replicas as they were seen last.
    pub(crate) fn replicas(&self) -> Replicas {
        self.presence.seen(|seen| seen.replicas.clone())
    }

    /// Whether this is the replica that does what only one needs to do.
    pub(crate) fn is_responsible(&self, what: &str) -> bool {
        self.presence.seen(|seen| seen.replicas.is_responsible(&self.settings.replica, what))
    }

    async fn put_record(&self, write: RecordWrite) -> Result<(), Error> {
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(write.into());
        self.store.apply(&self.settings.home, changes).await?;
        Ok(())
    }

    /// Forgets replicas that stopped long ago, and that they had connections.
    pub(crate) async fn forget_replicas(&self, replicas: &Replicas) -> Result<(), Error> {
        for name in replicas.forgettable(self.now()) {
            tracing::info!(replica = name, "a server that is gone for long is forgotten");
            self.put_record(RecordWrite::ReplicaDelete(name.to_owned())).await?;
        }
        Ok(())
    }

    /// Watches over the database. Where it does not answer, and other replicas may still have it, the agents are let go, so that
    /// they call there; where this is the only one, nothing would be won by it.
    pub(crate) async fn let_go_when_cut_off(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (was, is, has_others) = self.presence.seen(|seen| {
                let was = std::mem::replace(&mut seen.is_cut_off, seen.well_at.elapsed() >= CUT_OFF);
                (was, seen.is_cut_off, seen.replicas.has_others(&self.settings.replica))
            });
            match (was, is) {
                (false, true) => tracing::error!("the database has not answered for {CUT_OFF:?}"),
                (true, false) => tracing::info!("the database answers again"),
                _ => {}
            }
            if !was && is && has_others {
                tracing::error!("the agents are let go, to call another server");
                self.end_sessions();
            }
        }
    }

    /// Says that this replica and its connections are no more. What it cannot say, others find out.
    pub async fn leave(self: &Arc<Self>) {
        let left = tokio::time::timeout(LEAVE_PATIENCE, async {
            crate::reconcilers::heartbeats::activate(self).await?;
            self.put_record(RecordWrite::ReplicaDelete(self.settings.replica.clone())).await
        });
        match left.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("leaving could not be noted: {}", error.detail.unwrap_or(error.message)),
            Err(_) => tracing::warn!("leaving could not be noted: the database does not answer"),
        }
    }
}
