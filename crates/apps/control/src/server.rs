use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use access::Principal;
use identifiers::{IdSource, NodeId, RequestId, Scope, Timestamp};
use store::Store;
use tokio::sync::Notify;

use crate::{
    Clock, Context, Keys, Metrics, Settings,
    agents::output::LiveOutputs,
    audit_log::Heads,
    ends::Requests,
    people::{FailureRecords, KeyUses},
    pings::Pings,
    presence::Presence,
    readiness::Readiness,
    reconcilers::Turns,
    sessions::Sessions,
    throttle::Throttle,
};

/// One server process: the store, the keys, the clock, and who is connected.
pub struct Server {
    /// Where everything is kept.
    pub store: Store,
    /// What it signs and seals with.
    pub keys: Keys,
    /// What it was started with.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// When each reconciler had its turn, and what came of it.
    pub turns: Turns,
    /// What the edges say of themselves.
    pub readiness: Readiness,
    pub(crate) clock: Arc<dyn Clock>,
    started_at: identifiers::Timestamp,
    started: Instant,
    pub(crate) ids: Mutex<Box<dyn IdSource>>,
    pub(crate) sessions: Sessions,
    pub(crate) pings: Pings,
    pub(crate) requests: Requests,
    pub(crate) live_outputs: LiveOutputs,
    pub(crate) audit_heads: Heads,
    pub(crate) key_uses: KeyUses,
    /// What every caller has left to ask for.
    pub throttle: Throttle,
    pub(crate) failure_records: FailureRecords,
    pub(crate) presence: Presence,
    pub(crate) woken: Notify,
    /// When a proof with a wrong key was last recorded, by node.
    pub(crate) false_proofs: Mutex<BTreeMap<NodeId, Timestamp>>,
}

impl Server {
    /// Puts a server together; nothing runs yet.
    pub fn new(
        store: Store,
        keys: Keys,
        settings: Settings,
        clock: Arc<dyn Clock>,
        ids: Box<dyn IdSource>,
    ) -> Arc<Self> {
        Arc::new(Self {
            started_at: clock.now(),
            started: Instant::now(),
            store,
            keys,
            settings,
            metrics: Metrics::default(),
            turns: Turns::default(),
            readiness: Readiness::default(),
            clock,
            ids: Mutex::new(ids),
            sessions: Sessions::default(),
            pings: Pings::default(),
            requests: Requests::default(),
            live_outputs: LiveOutputs::default(),
            audit_heads: Heads::default(),
            key_uses: KeyUses::default(),
            throttle: Throttle::default(),
            failure_records: FailureRecords::default(),
            presence: Presence::default(),
            woken: Notify::new(),
            false_proofs: Mutex::default(),
        })
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> identifiers::Timestamp {
        self.clock.now()
    }

    /// When this process began.
    #[must_use]
    pub fn started_at(&self) -> identifiers::Timestamp {
        self.started_at
    }

    /// For how long this process has been running, by the steady clock.
    #[must_use]
    pub fn running_for(&self) -> Duration {
        self.started.elapsed()
    }

    /// Lends out the source of ids.
    pub(crate) fn with_ids<T>(&self, make: impl FnOnce(&mut dyn IdSource) -> T) -> T {
        make(self.ids.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// A fresh request id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.with_ids(RequestId::generate)
    }

    /// The context of a request.
    #[must_use]
    pub fn context(self: &Arc<Self>, scope: Scope, principal: Principal, source_address: String) -> Context {
        Context {
            request_id: self.request_id(),
            now: self.now(),
            server: Arc::clone(self),
            scope,
            principal,
            source_address,
        }
    }

    /// Something became due: the reconcilers look now instead of at their next turn.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    /// Whether a node is connected to this process.
    #[must_use]
    pub fn is_connected(&self, node: &identifiers::NodeId) -> bool {
        self.sessions.is_connected(node)
    }

    /// How many nodes are connected to this process.
    #[must_use]
    pub fn connected_count(&self) -> usize {
        self.sessions.count()
    }

    /// Ends the agents' connections, so that they call again elsewhere or later.
    pub fn end_sessions(&self) {
        self.sessions.end_all();
    }
}
