//! A simulated fleet: agents without sockets that speak to one real `control::Server` in this process, on a real store.
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
mod host;
mod jobs;
mod link;
mod steps;
mod time;
mod transcript;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use access::Principal;
use anyhow::Context as _;
use control::{Clock, Context, Server, Settings};
use identifiers::{AccessKeyId, AccountId, CommandId, JobId, Region, Scope, Timestamp};
use identity::MasterKey;
use store::Store;
use tempfile::TempDir;

pub use agent::SimulatedAgent;
pub use commands::Sending;
pub use steps::Faults;
pub use transcript::compare_transcript;

use crate::{SimulatedClock, TestDatabase};
use chance::{Chance, SharedIds};
use link::Link;

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
    /// How often what goes wrong when [`SimulatedFleet::step`] chooses.
    pub faults: Faults,
    /// What the server stands on.
    pub database: FleetDatabase,
}

impl Default for FleetOptions {
    /// One agent, no faults, SQLite.
    fn default() -> Self {
        Self { seed: 1, agents: 1, faults: Faults::none(), database: FleetDatabase::Sqlite }
    }
}

/// What the simulation knows beyond what any of its parts can know.
#[derive(Default)]
struct World {
    /// How often a step of a job was begun.
    begun: BTreeMap<(JobId, String), u32>,
    /// Of each command, how many jobs are written down and not over, now and at most.
    at_work: BTreeMap<CommandId, (u32, u32)>,
    /// When the server last heard of each agent.
    heard_at: BTreeMap<usize, Timestamp>,
    /// Patch reports made, by agent.
    patch_reports: BTreeMap<usize, usize>,
}

/// The server's surroundings, which outlive it.
struct Ground {
    folder: TempDir,
    postgres: Option<TestDatabase>,
}

/// A server and its agents.
pub struct SimulatedFleet {
    ground: Ground,
    server: Arc<Server>,
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

struct Hands(SimulatedClock);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// The account and region of a fleet: the defaults of a new server.
///
/// # Errors
/// Never: both are well formed.
pub fn home() -> anyhow::Result<Scope> {
    Ok(Scope { account: AccountId::parse("000000000000")?, region: Region::parse("us-east-1")? })
}

/// Where SQLite's files go: synchronous writes cost nothing there, and nothing here loses power.
fn new_folder() -> anyhow::Result<TempDir> {
    let memory = PathBuf::from("/dev/shm");
    let made = tempfile::Builder::new().prefix("careen-fleet-").tempdir_in(&memory);
    made.or_else(|_| TempDir::new()).context("making a folder for the fleet")
}

async fn open(ground: &Ground) -> anyhow::Result<Store> {
    Ok(match &ground.postgres {
        None => Store::open_sqlite(&ground.folder.path().join("careen.db")).await?,
        Some(database) => Store::open_postgres(&database.url()).await?,
    })
}

async fn start(ground: &Ground, clock: &SimulatedClock, ids: &SharedIds) -> anyhow::Result<Arc<Server>> {
    let store = open(ground).await?;
    let master = MasterKey::open_or_create(&ground.folder.path().join("key"))?;
    let home = home()?;
    let (keys, _) = control::set_up(&store, &master, &home, None, clock.now()).await?;
    let settings = Settings { home, replica: "one".to_owned() };
    Ok(Server::new(store, keys, settings, Arc::new(Hands(clock.clone())), Box::new(ids.clone())))
}

impl SimulatedFleet {
    /// A server, and agents that are registered and call soon.
    ///
    /// # Errors
    /// When the store cannot be opened or a registration is refused.
    pub async fn new(options: FleetOptions) -> anyhow::Result<Self> {
        let postgres = match options.database {
            FleetDatabase::Sqlite => None,
            FleetDatabase::Postgres => Some(TestDatabase::postgres(None)?),
        };
        let ground = Ground { folder: new_folder()?, postgres };
        let clock = SimulatedClock::new(Timestamp::from_seconds(BEGINS_AT_SECONDS));
        let ids = SharedIds::new(options.seed);
        let server = start(&ground, &clock, &ids).await?;
        let digits = options.agents.to_string().len();
        let agent = |number| SimulatedAgent::new(format!("agent-{number:0digits$}"));
        let mut fleet = Self {
            ground,
            server,
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
        fleet.register_all().await?;
        Ok(fleet)
    }

    /// The server as it runs now; [`SimulatedFleet::restart_server`] puts another in its place.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
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

    /// The clock of server and agents.
    #[must_use]
    pub fn clock(&self) -> &SimulatedClock {
        &self.clock
    }

    /// What goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// A request of the account's administrator.
    ///
    /// # Errors
    /// Never: the names in it are well formed.
    pub fn context(&self) -> anyhow::Result<Context> {
        let home = home()?;
        let access_key_id = AccessKeyId::parse("AKIAFLEETFLEETFLEET0")?;
        let principal = Principal::Root { account: home.account.clone(), access_key_id };
        Ok(self.server.context(home, principal, "192.0.2.10".to_owned()))
    }

    /// The server ends and starts again: what was not durable is gone, and so are all connections.
    ///
    /// # Errors
    /// When the store cannot be opened again.
    pub async fn restart_server(&mut self) -> anyhow::Result<()> {
        self.note("the server ends and starts again");
        for link in self.links.values_mut() {
            link.session = None;
            link.to_server.clear();
        }
        self.server.store.close().await;
        self.server = start(&self.ground, &self.clock, &self.ids).await?;
        self.sweep_links().await
    }

    /// Closes the database; a fleet that is only dropped leaves a warning in PostgreSQL's log.
    pub async fn close(self) {
        self.server.store.close().await;
    }
}
