//! The agents connected to this process. Whether a connection is its node's newest is decided by its row; what is here may be
//! overtaken.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use agent_wire::FromServer;
use identifiers::{NodeId, Timestamp};
use tokio::sync::mpsc;

/// How many messages may wait for one agent; more are left to the next look at what is due.
const QUEUE_MESSAGES_MAX: usize = 64;

/// After so long without an answer an order is said again; an agent runs each job once.
const SAY_AGAIN_SECONDS: i64 = 15;

struct Line {
    epoch: i64,
    /// What was said over this connection, and when.
    said: BTreeMap<String, Timestamp>,
    sender: mpsc::Sender<FromServer>,
}

/// Node to connection; the connection with the newest epoch counts.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<NodeId, Line>>);

impl Sessions {
    /// Begins a connection. `None`: one with this epoch or a newer one is there already.
    pub(crate) fn begin(&self, node: &NodeId, epoch: i64) -> Option<mpsc::Receiver<FromServer>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.get(node).is_some_and(|line| line.epoch >= epoch) {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE_MESSAGES_MAX);
        // The older connection's sender is dropped here; it notices and ends.
        lines.insert(node.clone(), Line { epoch, said: BTreeMap::new(), sender });
        Some(receiver)
    }

    /// The connection of this epoch has gone, or is to.
    pub(crate) fn gone(&self, node: &NodeId, epoch: i64) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.get(node).is_some_and(|line| line.epoch == epoch) {
            lines.remove(node);
        }
    }

    /// Ends a node's connection from this side.
    pub(crate) fn end(&self, node: &NodeId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Whether `what` may be said to the node now: it is connected here, and was not told so a moment ago.
    pub(crate) fn is_due(&self, node: &NodeId, what: &str, now: Timestamp) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = |line: &Line| line.said.get(what).copied();
        lines.get(node).is_some_and(|line| said(line).is_none_or(|at| now >= at.plus_seconds(SAY_AGAIN_SECONDS)))
    }

    /// Whether the message was put into the queue of the node's connection; `what` names it for [`Sessions::is_due`].
    pub(crate) fn send(&self, node: &NodeId, message: FromServer, what: String, now: Timestamp) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(node) else { return false };
        let sent = line.sender.try_send(message).is_ok();
        if sent {
            line.said.retain(|_, at| now < at.plus_seconds(10 * SAY_AGAIN_SECONDS));
            line.said.insert(what, now);
        }
        sent
    }

    /// Whether a message that may as well not be said, or later, was put into the queue of this connection: it leaves half of
    /// the queue to what matters.
    pub(crate) fn offer(&self, node: &NodeId, epoch: i64, message: FromServer) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.get(node).filter(|line| line.epoch == epoch);
        line.is_some_and(|l| l.sender.capacity() > QUEUE_MESSAGES_MAX / 2 && l.sender.try_send(message).is_ok())
    }

    /// Says something to every connected node. Where the queue is full it is not said; it must be learned otherwise.
    pub(crate) fn tell_all(&self, message: &FromServer) {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.values() {
            let _ = line.sender.try_send(message.clone());
        }
    }

    /// Whether this connection is the node's newest, and was not ended from this side.
    pub(crate) fn is_current(&self, node: &NodeId, epoch: i64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).is_some_and(|line| line.epoch == epoch)
    }

    /// Whether the node is connected to this process. A connection that broke before its welcome was out has nobody who
    /// says that it has gone; its receiver has.
    pub(crate) fn is_connected(&self, node: &NodeId) -> bool {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(node).is_some_and(|line| !line.sender.is_closed())
    }

    /// The connection of a node here, by its epoch.
    pub(crate) fn epoch(&self, node: &NodeId) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).map(|line| line.epoch)
    }

    /// All connections here, by their epochs.
    pub(crate) fn epochs(&self) -> Vec<(NodeId, i64)> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(node, line)| (node.clone(), line.epoch)).collect()
    }

    /// Acknowledges a message that became durable after its turn. Where the queue is full it is left out: a later one will do.
    pub(crate) fn acknowledge(&self, node: &NodeId, epoch: i64, id: u64) {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(node).filter(|line| line.epoch == epoch) {
            let _ = line.sender.try_send(FromServer::Acknowledged { id });
        }
    }

    /// How many agents are connected.
    pub(crate) fn count(&self) -> usize {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.values().filter(|line| !line.sender.is_closed()).count()
    }

    /// Ends all connections: the server stops.
    pub(crate) fn end_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
