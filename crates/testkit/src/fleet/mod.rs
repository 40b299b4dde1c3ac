//! A simulated fleet: agents without sockets that speak to one or more real `control::Server`s in this process, on a real
//! store.
//!
//! Everything an agent says travels as the text that would travel, with real Ed25519 keys and the real handshake; an agent
//! keeps a journal and a spool as the real one does. Time is a [`SimulatedClock`], ids and choices come from a seed, and
//! one thing happens after another: the same seed gives the same history, told in a transcript. [`SimulatedFleet::step`] picks
//! what happens next, faults included; [`SimulatedFleet::violations`] says which promises the history broke.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use testkit::fleet::{Faults, FleetOptions, Sending, SimulatedFleet};
//! let mut fleet = SimulatedFleet::new(FleetOptions { seed: 7, agents: 20, ..FleetOptions::default() }).await?;
//! fleet.send(&Sending::shell("true")).await?;
//! for _ in 0..500 {
//!     fleet.step().await?;
//! }
//! fleet.heal().await?;
//! assert_eq!(fleet.violations().await?, [] as [String; 0]);
//! # Ok(())
//! # }
//! ```

mod agent;
mod calls;
mod chance;
mod checks;
mod commands;
mod history;
mod host;
mod jobs;
mod link;
mod restoring;
mod servers;
mod steps;
mod time;
mod transcript;

use std::collections::{BTreeMap, BTreeSet};

use identifiers::{CommandId, JobId, Timestamp};

pub use agent::SimulatedAgent;
pub use commands::Sending;
pub use history::{History, Told};
pub use servers::home;
pub use steps::Faults;
pub use transcript::compare_transcript;

use crate::SimulatedClock;
use chance::{Chance, SharedIds};
use link::Link;
use servers::{Ground, Replica};

/// When every history begins: 2026-01-05T08:00:00Z.
pub const BEGINS_AT_SECONDS: i64 = 1_767_600_000;

/// Which database the server stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FleetDatabase {
    /// A SQLite file of its own, in memory where the machine has room for it.
    #[default]
    Sqlite,
    /// A database of the run's PostgreSQL server.
    Postgres,
}

/// What a fleet is to be.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Decides ids and choices.
    pub seed: u64,
    /// How many agents.
    pub agents: usize,
    /// How many servers on one database.
    pub servers: usize,
    /// How often what goes wrong when [`SimulatedFleet::step`] chooses.
    pub faults: Faults,
    /// What the server stands on.
    pub database: FleetDatabase,
}

impl Default for FleetOptions {
    /// One agent, one server, no faults, SQLite.
    fn default() -> Self {
        Self { seed: 1, agents: 1, servers: 1, faults: Faults::none(), database: FleetDatabase::Sqlite }
    }
}

/// What the simulation knows beyond what any of its parts can know.
#[derive(Default)]
struct World {
    /// How often a step of a job was begun.
    begun: BTreeMap<(JobId, String), u32>,
    /// Of each command, how many jobs are written down and not over, now and at most.
    at_work: BTreeMap<CommandId, (u32, u32)>,
    /// When a server last heard of each agent, in seconds of the steady clock.
    heard_at: BTreeMap<usize, i64>,
    /// When the servers' clock last jumped, likewise.
    jumped_at: i64,
    /// Commands that a restored backup does not know.
    forgotten: BTreeSet<CommandId>,
    /// Commands that a restored backup knows; those that were unfinished are Cancelled, whatever their nodes made of them.
    cut_short: BTreeSet<CommandId>,
    /// Whether a backup was restored.
    was_restored: bool,
    /// Promises that were broken on the way.
    broken: Vec<String>,
    /// Patch reports made, by agent.
    patch_reports: BTreeMap<usize, usize>,
}

/// Servers and their agents.
pub struct SimulatedFleet {
    ground: Ground,
    replicas: Vec<Replica>,
    disk_full_until: Option<i64>,
    /// The last backup.
    backup: Option<Vec<u8>>,
    ids: SharedIds,
    clock: SimulatedClock,
    /// Seconds that have passed; unlike the clock it never jumps.
    steady: i64,
    chance: Chance,
    faults: Faults,
    agents: Vec<SimulatedAgent>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    commands: Vec<CommandId>,
    world: World,
    transcript: Vec<String>,
    seed: u64,
}

impl SimulatedFleet {
    /// A server, and agents that are registered and call soon.
    ///
    /// # Errors
    /// When the store cannot be opened or a registration is refused.
    pub async fn new(options: FleetOptions) -> anyhow::Result<Self> {
        let on_postgres = options.database == FleetDatabase::Postgres;
        let ground = Ground::new(on_postgres, options.servers <= 1).await?;
        let clock = SimulatedClock::new(Timestamp::from_seconds(BEGINS_AT_SECONDS));
        let ids = SharedIds::new(options.seed);
        let digits = options.agents.to_string().len();
        let agent = |number| SimulatedAgent::new(format!("agent-{number:0digits$}"));
        let mut fleet = Self {
            ground,
            replicas: Vec::new(),
            disk_full_until: None,
            backup: None,
            ids,
            clock,
            steady: 0,
            chance: Chance::new(options.seed ^ 0x5eed),
            faults: options.faults,
            agents: (1..=options.agents).map(agent).collect(),
            links: BTreeMap::new(),
            next_link: 1,
            commands: Vec::new(),
            world: World::default(),
            transcript: Vec::new(),
            seed: options.seed,
        };
        fleet.start_servers(options.servers).await?;
        fleet.register_all().await?;
        Ok(fleet)
    }

    /// The agents, in order.
    #[must_use]
    pub fn agents(&self) -> &[SimulatedAgent] {
        &self.agents
    }

    /// The commands sent so far, in order.
    #[must_use]
    pub fn commands(&self) -> &[CommandId] {
        &self.commands
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The clock of the servers.
    #[must_use]
    pub fn clock(&self) -> &SimulatedClock {
        &self.clock
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }
}
