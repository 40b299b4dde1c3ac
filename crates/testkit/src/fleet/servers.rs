//! The server processes: they start, end at any moment, stand still, or cannot reach their database.

use std::path::PathBuf;
use std::sync::Arc;

use access::{Principal, Role};
use anyhow::Context as _;
use control::{Clock, Context, Server, Settings};
use identifiers::{AccessKeyId, AccountId, Region, Scope, Timestamp, UserName};
use identity::MasterKey;
use store::{Fault, Store};
use tempfile::TempDir;

use super::SimulatedFleet;
use super::chance::SharedIds;
use crate::{SimulatedClock, TestDatabase};

/// What the servers stand on, which outlives them.
pub(super) struct Ground {
    folder: TempDir,
    postgres: Option<TestDatabase>,
    /// Whether one server has it for itself.
    alone: bool,
    /// Who looks on: no fault reaches it.
    pub(super) store: Store,
}

/// Why a server does nothing, and until when, in seconds of the steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence {
    /// Nobody listens.
    Down(i64),
    /// It stands still: what it is sent waits.
    Paused(i64),
    /// It goes on, without its database.
    CutOff(i64),
}

/// One server process.
pub(super) struct Replica {
    pub(super) server: Arc<Server>,
    pub(super) name: String,
    pub(super) absence: Option<Absence>,
    /// How many processes there were in this place.
    lives: u32,
}

impl Replica {
    /// Whether it takes calls and messages.
    pub(super) fn listens(&self) -> bool {
        !matches!(self.absence, Some(Absence::Down(_) | Absence::Paused(_)))
    }

    pub(super) fn is_paused(&self) -> bool {
        matches!(self.absence, Some(Absence::Paused(_)))
    }
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

impl Ground {
    /// A database of its own, SQLite's in memory where the machine has room for it: synchronous writes cost nothing
    /// there, and nothing here loses power.
    pub(super) async fn new(on_postgres: bool, alone: bool) -> anyhow::Result<Self> {
        let postgres = if on_postgres { Some(TestDatabase::postgres(None)?) } else { None };
        let made = tempfile::Builder::new().prefix("careen-fleet-").tempdir_in(PathBuf::from("/dev/shm"));
        let folder = made.or_else(|_| TempDir::new()).context("making a folder for the fleet")?;
        let store = open(&folder, postgres.as_ref()).await?;
        Ok(Self { folder, postgres, alone, store })
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// SQLite's file.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("careen.db")
    }

    /// Opens the database again after it was closed.
    pub(super) async fn reopen(&mut self) -> anyhow::Result<()> {
        self.store = open(&self.folder, self.postgres.as_ref()).await?;
        Ok(())
    }

    /// A process opens the database. SQLite has one process; several there stand for what shares one database.
    async fn open(&self) -> anyhow::Result<Store> {
        match &self.postgres {
            None => Ok(self.store.of_another_process(self.alone)),
            Some(_) => open(&self.folder, self.postgres.as_ref()).await,
        }
    }

    pub(super) async fn start(
        &self,
        clock: &SimulatedClock,
        ids: &SharedIds,
        place: usize,
        lives: u32,
    ) -> anyhow::Result<Arc<Server>> {
        let store = self.open().await?;
        let master = MasterKey::open_or_create(&self.folder.path().join("key"))?;
        let home = home()?;
        let (mut keys, _) = control::set_up(&store, &master, &home, None, clock.now()).await?;
        keys.passwords = keys.passwords.with_hasher(identity::PasswordHasher::cheap_for_tests());
        let settings = Settings {
            home,
            replica: format!("{}-{lives}", place + 1),
            retention: control::reconcilers::Retention::FOREVER,
        };
        Ok(Server::new(store, keys, settings, Arc::new(Hands(clock.clone())), Box::new(ids.clone())))
    }
}

async fn open(folder: &TempDir, postgres: Option<&TestDatabase>) -> anyhow::Result<Store> {
    Ok(match postgres {
        None => Store::open_sqlite(&folder.path().join("careen.db")).await?,
        Some(database) => Store::open_postgres(&database.url()).await?,
    })
}

impl SimulatedFleet {
    /// Runs statements in the database with sqlite3 or psql, as its owner would, past every server.
    ///
    /// # Errors
    /// When one fails.
    pub fn database_owner(&self, statements: &str) -> anyhow::Result<String> {
        if let Some(database) = &self.ground.postgres {
            return database.sql(statements);
        }
        let mut command = std::process::Command::new("sqlite3");
        command
            .args(["-bail", "-cmd", ".timeout 10000"])
            .arg(self.ground.folder.path().join("careen.db"))
            .arg(statements);
        let ended =
            crate::run_bounded(&mut command, std::time::Duration::from_secs(60)).context("sqlite3 is needed")?;
        ended.expect_success(statements)
    }

    pub(super) async fn start_servers(&mut self, count: usize) -> anyhow::Result<()> {
        for place in 0..count.max(1) {
            let server = self.ground.start(&self.clock, &self.ids, place, 1).await?;
            let name = if count <= 1 { "the server".to_owned() } else { format!("server-{}", place + 1) };
            self.replicas.push(Replica { server, name, absence: None, lives: 1 });
        }
        Ok(())
    }

    /// The first server as it runs now; [`SimulatedFleet::restart_server`] puts another in its place.
    ///
    /// # Panics
    /// Never: a fleet has a server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.replicas[0].server
    }

    /// A request of the account's administrator, to the first server.
    ///
    /// # Errors
    /// Never: the names in it are well formed.
    pub fn context(&self) -> anyhow::Result<Context> {
        self.context_of(0)
    }

    pub(super) fn context_of(&self, server: usize) -> anyhow::Result<Context> {
        let home = home()?;
        let access_key_id = AccessKeyId::parse("AKIAFLEETFLEETFLEET0")?;
        let (account, user) = (home.account.clone(), UserName::root());
        let principal = Principal::Key { account, user, role: Role::Administrator, access_key_id };
        Ok(self.replica(server)?.server.context(home, principal, "192.0.2.10".to_owned()))
    }

    pub(super) fn replica(&self, server: usize) -> anyhow::Result<&Replica> {
        self.replicas.get(server).context("there is no such server")
    }

    /// The servers that listen.
    pub(super) fn listening(&self) -> Vec<usize> {
        (0..self.replicas.len()).filter(|server| self.replicas[*server].listens()).collect()
    }

    /// A server whose database answers, if there is one.
    pub(super) fn well(&self) -> Option<usize> {
        self.replicas.iter().position(|replica| replica.absence.is_none())
    }

    /// The first server ends and starts again: what was not durable is gone, and so are all connections.
    ///
    /// # Errors
    /// When the store cannot be opened again.
    pub async fn restart_server(&mut self) -> anyhow::Result<()> {
        self.restart(0, 0).await
    }

    /// A server ends, and another starts in its place after some seconds.
    pub(super) async fn restart(&mut self, server: usize, seconds: i64) -> anyhow::Result<()> {
        let name = self.replica(server)?.name.clone();
        match seconds {
            0 => self.note(format!("{name} ends and starts again")),
            _ => self.note(format!("{name} ends; another starts in {seconds} s")),
        }
        self.replace(server, seconds).await
    }

    async fn replace(&mut self, server: usize, seconds: i64) -> anyhow::Result<()> {
        for link in self.links.values_mut().filter(|link| link.server == server) {
            link.session = None;
            link.to_server.clear();
        }
        let alone = self.replicas.len() == 1 && self.ground.postgres.is_none();
        match (alone, self.ground.postgres.is_some()) {
            (true, _) => {
                // The one process of a SQLite file: the file is really closed and opened.
                self.ground.store.close().await;
                self.ground.reopen().await?;
                self.ground.store.fill_disk(self.disk_full_until.is_some()).await?;
            }
            (false, true) => self.replica(server)?.server.store.close().await,
            (false, false) => self.replica(server)?.server.store.inject(Some(Fault::Ended)),
        }
        self.start_another(server, seconds).await?;
        self.sweep_links().await
    }

    /// Another process in a server's place, after some seconds.
    async fn start_another(&mut self, server: usize, seconds: i64) -> anyhow::Result<()> {
        let lives = self.replica(server)?.lives + 1;
        let started = self.ground.start(&self.clock, &self.ids, server, lives).await?;
        let absence = (seconds > 0).then_some(Absence::Down(self.steady + seconds));
        if let Some(replica) = self.replicas.get_mut(server) {
            (replica.server, replica.lives, replica.absence) = (started, lives, absence);
        }
        Ok(())
    }

    /// Others in the place of all servers, whose processes have ended.
    pub(super) async fn start_all_again(&mut self) -> anyhow::Result<()> {
        for server in 0..self.replicas.len() {
            self.start_another(server, 0).await?;
        }
        self.sweep_links().await
    }

    /// Puts others in the place of processes that have ended in the middle of something.
    pub(super) async fn bury_the_dead(&mut self) -> anyhow::Result<()> {
        let ended = |replica: &Replica| replica.server.store.has_ended();
        while let Some(server) = self.replicas.iter().position(ended) {
            let name = self.replica(server)?.name.clone();
            self.note(format!("{name} has died on the spot, and starts again"));
            Box::pin(self.replace(server, 0)).await?;
        }
        Ok(())
    }

    /// A server ends just before or after its next commit.
    pub(super) fn doom(&mut self, server: usize, before: bool) -> anyhow::Result<()> {
        let fault = if before { Fault::EndsBeforeCommit } else { Fault::EndsAfterCommit };
        let replica = self.replica(server)?;
        if replica.absence.is_none() {
            replica.server.store.inject(Some(fault));
        }
        Ok(())
    }

    /// A server stands still for some seconds.
    pub(super) fn pause(&mut self, server: usize, seconds: i64) {
        self.leave(server, Absence::Paused(self.steady + seconds), &format!("stands still for {seconds} s"));
    }

    /// A server does not reach its database for some seconds.
    pub(super) fn cut_off(&mut self, server: usize, seconds: i64) {
        self.leave(
            server,
            Absence::CutOff(self.steady + seconds),
            &format!("is cut off from its database for {seconds} s"),
        );
    }

    fn leave(&mut self, server: usize, absence: Absence, what: &str) {
        let Some(replica) = self.replicas.get_mut(server).filter(|replica| replica.absence.is_none()) else { return };
        replica.absence = Some(absence);
        if matches!(absence, Absence::CutOff(_)) {
            replica.server.store.inject(Some(Fault::CutOff));
        }
        let name = replica.name.clone();
        self.note(format!("{name} {what}"));
    }

    /// The disk is full for some seconds.
    pub(super) async fn fill_disk(&mut self, seconds: i64) -> anyhow::Result<()> {
        if self.disk_full_until.is_none() && self.ground.postgres.is_none() {
            self.ground.store.fill_disk(true).await?;
            self.disk_full_until = Some(self.steady + seconds);
            self.note(format!("the disk is full for {seconds} s"));
        }
        Ok(())
    }

    /// What was for a time is over when its time is; `at_once`: everything of the kind is.
    pub(super) async fn recover(&mut self, at_once: bool) -> anyhow::Result<()> {
        let now = if at_once { i64::MAX } else { self.steady };
        if self.disk_full_until.is_some_and(|until| until <= now) {
            self.disk_full_until = None;
            self.ground.store.fill_disk(false).await?;
            self.note("the disk has room again");
        }
        for server in 0..self.replicas.len() {
            let Some(replica) = self.replicas.get_mut(server) else { continue };
            let Some(Absence::Down(until) | Absence::Paused(until) | Absence::CutOff(until)) = replica.absence else {
                if at_once && !replica.server.store.has_ended() {
                    // Nor does it die any more.
                    replica.server.store.inject(None);
                }
                continue;
            };
            if until <= now {
                replica.absence = None;
                replica.server.store.inject(None);
                let name = replica.name.clone();
                self.note(format!("{name} goes on"));
            }
        }
        Ok(())
    }

    /// Whether a server may fail to do what it is asked.
    fn is_excused(&self, server: usize) -> bool {
        let at_fault = self
            .replicas
            .get(server)
            .is_none_or(|replica| replica.absence.is_some() || replica.server.store.has_ended());
        at_fault || self.disk_full_until.is_some()
    }

    /// What became of something asked of a server: `None` where a fault explains that it failed.
    pub(super) async fn excuse<T>(
        &mut self,
        server: usize,
        what: &str,
        asked: anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let excused = self.is_excused(server);
        let ended = self.replicas.get(server).is_some_and(|replica| replica.server.store.has_ended());
        self.bury_the_dead().await?;
        match asked {
            Ok(answer) if !ended => Ok(Some(answer)),
            Err(error) if !excused => Err(error.context(what.to_owned())),
            _ => {
                self.note(format!("{what} fails"));
                Ok(None)
            }
        }
    }

    /// Closes the database; a fleet that is only dropped leaves a warning in PostgreSQL's log.
    pub async fn close(self) {
        for replica in &self.replicas {
            if self.ground.postgres.is_some() {
                replica.server.store.close().await;
            }
        }
        self.ground.store.close().await;
    }
}
