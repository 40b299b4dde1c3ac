//! Heartbeats: kept in memory per node and written together, at the latest a second later.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use identifiers::{NodeId, Scope};
use nodes::Ping;

/// The newest ping of each node that is not written yet.
#[derive(Default)]
pub(crate) struct Pings(Mutex<BTreeMap<NodeId, (Scope, Ping)>>);

impl Pings {
    /// Notes a ping; an older one of the same node is forgotten.
    pub(crate) fn note(&self, scope: &Scope, ping: Ping) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(ping.node_id.clone(), (scope.clone(), ping));
    }

    /// Takes all that wait.
    pub(crate) fn take(&self) -> Vec<(Scope, Ping)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).into_values().collect()
    }
}
