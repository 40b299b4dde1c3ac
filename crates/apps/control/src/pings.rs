//! Heartbeats: kept in memory per node and written together, at the latest a second later. They are acknowledged when they are
//! durable.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use identifiers::{NodeId, Scope};
use nodes::Ping;

/// A ping that is not written yet.
pub(crate) struct WaitingPing {
    pub(crate) scope: Scope,
    pub(crate) ping: Ping,
    /// The message to acknowledge; it speaks for those before it.
    pub(crate) message: Option<u64>,
}

/// The newest ping of each node that is not written yet.
#[derive(Default)]
pub(crate) struct Pings(Mutex<HashMap<NodeId, WaitingPing>>);

impl Pings {
    /// Notes a ping; an older one of the same node is forgotten, unless its connection is the newer one.
    pub(crate) fn note(&self, scope: &Scope, ping: Ping, message: Option<u64>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(&ping.node_id).is_some_and(|other| other.ping.epoch > ping.epoch) {
            return;
        }
        waiting.insert(ping.node_id.clone(), WaitingPing { scope: scope.clone(), ping, message });
    }

    /// Takes all that wait.
    pub(crate) fn take(&self) -> Vec<WaitingPing> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }

    /// Gives back what could not be written; what came meanwhile is newer.
    pub(crate) fn give_back(&self, unwritten: Vec<WaitingPing>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for old in unwritten {
            waiting.entry(old.ping.node_id.clone()).or_insert(old);
        }
    }
}
