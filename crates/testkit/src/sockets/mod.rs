//! A fleet over real sockets: thousands of agents in one process that speak the real protocol, with real keys, to a real
//! server. What they are sent they answer at once; they run nothing and verify no order, for on their own hosts that would cost
//! nobody else anything.
//!
//! Each agent calls from an address of its own (127.1.0.0 to 127.1.255.255), so that no pair of addresses runs out of ports;
//! how many there can be is decided by the limit of open files.

mod agent;
mod conversation;
mod requests;
mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_wire::{ActivationCode, Bytes32};
use anyhow::{Context, bail};
use identifiers::{ActivationId, NodeId};
use identity::SigningKey;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use requests::{Answer, Connection as RequestConnection, Credentials};
pub use stream::Endpoint;

/// So many agents are in the middle of a registration at once. Each counts up the same activation: of more, some are told to try
/// again.
const REGISTERING_MAX: usize = 1;

/// A node of the fleet.
#[derive(Debug)]
pub struct Registration {
    pub(super) place: usize,
    pub(super) node_id: NodeId,
    pub(super) node_key: SigningKey,
    pub(super) server_key: Bytes32,
}

impl Registration {
    /// Its id.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.node_id
    }
}

/// What the agents do when they are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// Between two heartbeats; `None`: as often as the server asks for.
    pub heartbeat: Option<Duration>,
    /// What an agent does when its connection is over; `None`: nothing.
    pub reconnect: Option<Reconnect>,
}

/// How soon an agent calls again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// After a twentieth of a second, again and again.
    AtOnce,
    /// As the real agent: after a random pause of up to half a minute, after failures up to a minute.
    AsTheAgent,
}

/// What has happened, over all agents.
#[derive(Debug)]
pub struct Counts {
    base: Instant,
    pub(super) connected: watch::Sender<usize>,
    pub(super) orders: watch::Sender<usize>,
    pub(super) finished: watch::Sender<usize>,
    /// Microseconds since `base` of the last order.
    pub(super) last_order: AtomicI64,
    /// Heartbeats that were acknowledged.
    pub(super) heartbeats: AtomicU64,
    /// Acknowledgements of heartbeats; each may speak for several.
    pub(super) acknowledgements: AtomicU64,
    /// Calls that failed.
    pub(super) failed_calls: AtomicU64,
}

impl Counts {
    pub(super) fn note_order(&self) {
        let now = i64::try_from(self.base.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.last_order.fetch_max(now, Ordering::Relaxed);
        self.orders.send_modify(|count| *count += 1);
    }

    /// Agents that are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        *self.connected.borrow()
    }

    /// Orders that came.
    #[must_use]
    pub fn orders(&self) -> usize {
        *self.orders.borrow()
    }

    /// Heartbeats that were acknowledged.
    #[must_use]
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
    }

    /// Acknowledgements of heartbeats that came.
    #[must_use]
    pub fn acknowledgements(&self) -> u64 {
        self.acknowledgements.load(Ordering::Relaxed)
    }

    /// Calls that came to nothing.
    #[must_use]
    pub fn failed_calls(&self) -> u64 {
        self.failed_calls.load(Ordering::Relaxed)
    }

    /// When the last order came.
    #[must_use]
    pub fn last_order(&self) -> Instant {
        let micros = u64::try_from(self.last_order.load(Ordering::Relaxed)).unwrap_or(0);
        self.base + Duration::from_micros(micros)
    }

    /// Waits until so many agents are connected.
    ///
    /// # Errors
    /// When it takes longer than `bound`.
    pub async fn until_connected(&self, count: usize, bound: Duration) -> anyhow::Result<()> {
        until(&self.connected, "connected", count, bound).await
    }

    /// Waits until so many orders have come.
    ///
    /// # Errors
    /// When it takes longer than `bound`.
    pub async fn until_ordered(&self, count: usize, bound: Duration) -> anyhow::Result<()> {
        until(&self.orders, "orders", count, bound).await
    }

    /// Waits until the server has acknowledged so many results.
    ///
    /// # Errors
    /// When it takes longer than `bound`.
    pub async fn until_finished(&self, count: usize, bound: Duration) -> anyhow::Result<()> {
        until(&self.finished, "results", count, bound).await
    }
}

async fn until(counted: &watch::Sender<usize>, what: &str, count: usize, bound: Duration) -> anyhow::Result<()> {
    let mut seen = counted.subscribe();
    match tokio::time::timeout(bound, seen.wait_for(|now| *now >= count)).await {
        Ok(_) => Ok(()),
        Err(_) => bail!("{what}: {} of {count} after {bound:?}", *counted.borrow()),
    }
}

/// Agents that are registered with one server.
pub struct SocketFleet {
    server: Endpoint,
    registrations: Vec<Arc<Registration>>,
    counts: Arc<Counts>,
    agents: JoinSet<()>,
    running: usize,
}

/// The address that the agent of a place calls from.
pub(super) fn source(place: usize) -> SocketAddr {
    let [high, low] = u16::try_from(place % 65_000).unwrap_or(0).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 1, high, low.max(1)), 0))
}

impl SocketFleet {
    /// A fleet without agents for the server at an address.
    #[must_use]
    pub fn new(server: Endpoint) -> Self {
        let counts = Counts {
            base: Instant::now(),
            connected: watch::Sender::new(0),
            orders: watch::Sender::new(0),
            finished: watch::Sender::new(0),
            last_order: AtomicI64::new(0),
            heartbeats: AtomicU64::new(0),
            acknowledgements: AtomicU64::new(0),
            failed_calls: AtomicU64::new(0),
        };
        let (registrations, agents) = (Vec::new(), JoinSet::new());
        Self { server, registrations, counts: Arc::new(counts), agents, running: 0 }
    }

    /// What has happened.
    #[must_use]
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The nodes.
    #[must_use]
    pub fn registrations(&self) -> &[Arc<Registration>] {
        &self.registrations
    }

    /// Registers so many more, with an activation that allows it.
    ///
    /// # Errors
    /// When the server refuses one, or is not the one that the code names.
    pub async fn register(&mut self, count: usize, id: &ActivationId, code: ActivationCode) -> anyhow::Result<()> {
        let first = self.registrations.len();
        let code = Arc::new(code);
        let at_once = Arc::new(Semaphore::new(REGISTERING_MAX));
        let mut calls = JoinSet::new();
        for place in first..first + count {
            let (server, id, code, at_once) = (self.server, id.clone(), Arc::clone(&code), Arc::clone(&at_once));
            calls.spawn(async move {
                let _turn = at_once.acquire_owned().await?;
                conversation::register(server, place, &id, &code).await
            });
        }
        while let Some(done) = calls.join_next().await {
            self.registrations.push(Arc::new(done?.context("a registration")?));
        }
        Ok(())
    }

    /// Lets agents run until so many do; they call all at once, but no more than `calling_max` are in a handshake.
    pub fn run(&mut self, count: usize, behaviour: Behaviour, calling_max: usize) {
        let calling = Arc::new(Semaphore::new(calling_max));
        for registration in self.registrations.iter().take(count).skip(self.running) {
            let (server, registration) = (self.server, Arc::clone(registration));
            let (counts, calling) = (Arc::clone(&self.counts), Arc::clone(&calling));
            self.agents.spawn(async move { agent::run(server, &registration, behaviour, &counts, &calling).await });
        }
        self.running = self.running.max(count);
    }

    /// Ends all agents that run: their connections are closed.
    pub async fn stop(&mut self) {
        self.agents.shutdown().await;
        self.running = 0;
        self.counts.connected.send_replace(0);
    }
}
