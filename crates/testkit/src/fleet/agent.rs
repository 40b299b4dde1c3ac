//! One simulated agent: what it keeps on its disk, and what it says and does. It keeps the promises of the real one:
//! a job is written down before it is answered, runs once, and its result waits in the spool until it is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use agent_wire::{
    Bytes32, FromServer, Job, JobRefusal, Order, OrderBody, SignedOrder, ToServer, ToServerBody, order_text,
};
use identifiers::{CommandId, JobId, NodeId, Timestamp};
use identity::SigningKey;
use packages::Inventory;

use super::host::{Host, inventory_report};
use super::jobs::{Untold, WrittenJob};

/// How many messages may be on their way without an acknowledgement.
const UNACKNOWLEDGED_MAX: usize = 32;

/// What registration gave.
pub(super) struct NodeIdentity {
    pub(super) node_id: NodeId,
    pub(super) node_key: SigningKey,
    pub(super) server_key: Bytes32,
    pub(super) job_key: Bytes32,
}

/// The agent's end of its connection; gone with the process.
pub(super) struct OnLine {
    /// Which link.
    pub(super) link: u64,
    sent_up_to: u64,
    unacknowledged: Vec<u64>,
    /// In seconds of the steady clock.
    pub(super) acknowledged_at: i64,
    pub(super) beat_at: i64,
}

impl OnLine {
    pub(super) fn new(link: u64, now: i64) -> Self {
        Self { link, sent_up_to: 0, unacknowledged: Vec::new(), acknowledged_at: now, beat_at: now }
    }

    /// Whether something sent waits for its acknowledgement.
    pub(super) fn waits(&self) -> bool {
        !self.unacknowledged.is_empty()
    }
}

/// What became of an order.
pub(super) enum Obeyed {
    /// The job is new and written down.
    Accepted(CommandId, JobId),
    /// Anything else, said in the spool or not at all.
    Other,
}

/// What an agent takes the time to be: the servers', as it learned it last and counted on since, however its own clock jumps;
/// and never before an order that it has obeyed was signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentClock {
    /// The host's clock minus the right time, in seconds.
    pub(super) ahead: i64,
    /// The servers' time, and the steady clock's seconds then.
    learned: Option<(Timestamp, i64)>,
    signed_at: Timestamp,
}

impl AgentClock {
    pub(super) fn learn(&mut self, servers: Timestamp, steady: i64) {
        self.learned = Some((servers, steady));
    }

    /// The process ends.
    pub(super) fn forget(&mut self) {
        self.learned = None;
    }

    pub(super) fn now(&self, wall: Timestamp, steady: i64) -> Timestamp {
        let known = self.learned.map(|(servers, at)| servers.plus_seconds(steady - at));
        known.unwrap_or(wall).max(self.signed_at)
    }
}

/// An agent without a socket.
pub struct SimulatedAgent {
    name: String,
    pub(super) identity: Option<NodeIdentity>,
    pub(super) host: Host,
    pub(super) clock: AgentClock,
    /// Its process has ended and not been started again; its supervisors go on.
    pub(super) is_down: bool,
    /// Its host is without power before, in seconds of the steady clock.
    pub(super) powered_at: i64,
    /// The highest incarnation of the server's database that was seen under signature.
    pub(super) incarnation: u64,
    pub(super) journal: BTreeMap<JobId, WrittenJob>,
    forestalled: BTreeSet<JobId>,
    spool: BTreeMap<u64, ToServerBody>,
    next_message: u64,
    told_inventory: Option<Inventory>,
    pub(super) line: Option<OnLine>,
    /// It does not call before, in seconds of the steady clock.
    pub(super) calls_at: i64,
}

impl SimulatedAgent {
    pub(super) fn new(name: String) -> Self {
        Self {
            host: Host::new(name.clone()),
            name,
            clock: AgentClock { ahead: 0, learned: None, signed_at: Timestamp::EPOCH },
            is_down: false,
            powered_at: 0,
            identity: None,
            incarnation: 0,
            journal: BTreeMap::new(),
            forestalled: BTreeSet::new(),
            spool: BTreeMap::new(),
            next_message: 1,
            told_inventory: None,
            line: None,
            calls_at: 0,
        }
    }

    /// The jobs that it was ordered and has written down.
    pub fn written_jobs(&self) -> impl Iterator<Item = &agent_wire::Job> {
        self.journal.values().map(|written| &written.job)
    }

    /// Its name in transcripts.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node, once it is registered.
    #[must_use]
    pub fn node_id(&self) -> Option<&NodeId> {
        self.identity.as_ref().map(|identity| &identity.node_id)
    }

    /// Whether it has a connection, as far as it knows.
    #[must_use]
    pub fn is_on_line(&self) -> bool {
        self.line.is_some()
    }

    /// The jobs that it has written down, over or not.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.journal.len()
    }

    /// The messages that wait for their acknowledgement.
    #[must_use]
    pub fn spooled(&self) -> usize {
        self.spool.len()
    }

    /// The digest of the inventory it has told last.
    #[must_use]
    pub fn inventory_digest(&self) -> Option<String> {
        self.told_inventory.as_ref().map(Inventory::digest)
    }

    /// Keeps a message until it is acknowledged.
    pub(super) fn tell(&mut self, body: ToServerBody) {
        self.spool.insert(self.next_message, body);
        self.next_message += 1;
    }

    /// The next message to be sent, as far as the window allows.
    pub(super) fn next_message(&mut self, now: i64) -> Option<ToServer> {
        let line = self.line.as_mut()?;
        if line.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            return None;
        }
        let (id, body) = self.spool.range(line.sent_up_to + 1..).next()?;
        if line.unacknowledged.is_empty() {
            line.acknowledged_at = now;
        }
        line.sent_up_to = *id;
        line.unacknowledged.push(*id);
        Some(ToServer { id: *id, body: body.clone() })
    }

    /// The server has welcomed it, and said which inventory it has.
    pub(super) fn greet(&mut self, line: OnLine, servers: Option<&str>, at: Timestamp) {
        self.line = Some(line);
        match self.told_inventory {
            None => self.note_inventory(None, at),
            Some(_) => self.reconcile_inventory(servers, at),
        }
    }

    /// Tells what changed in the inventory since it was last told.
    pub(super) fn note_inventory(&mut self, command_id: Option<CommandId>, at: Timestamp) {
        let now = self.host.inventory();
        if self.told_inventory.as_ref() == Some(&now) {
            return;
        }
        let report = inventory_report(self.told_inventory.as_ref(), &now, command_id, at);
        self.tell(ToServerBody::Inventory(Box::new(report)));
        self.told_inventory = Some(now);
    }

    /// Drops the reports that the server has already; if the rest does not start where the server is, tells everything.
    fn reconcile_inventory(&mut self, servers: Option<&str>, at: Timestamp) {
        let pending: Vec<(u64, Option<String>, String)> = self
            .spool
            .iter()
            .filter_map(|(id, body)| match body {
                ToServerBody::Inventory(report) => Some((*id, report.from_digest.clone(), report.to_digest.clone())),
                _ => None,
            })
            .collect();
        let known = pending.iter().rposition(|(_, _, to)| Some(to.as_str()) == servers);
        for (id, ..) in pending.iter().take(known.map_or(0, |last| last + 1)) {
            self.spool.remove(id);
        }
        let fits = match pending.get(known.map_or(0, |last| last + 1)) {
            Some((_, from, _)) => from.is_none() || from.as_deref() == servers,
            None => self.inventory_digest().as_deref() == servers,
        };
        if !fits {
            self.tell_everything(at);
        }
    }

    fn tell_everything(&mut self, at: Timestamp) {
        let Some(latest) = self.told_inventory.clone() else { return };
        self.spool.retain(|_, body| !matches!(body, ToServerBody::Inventory(_)));
        let report = inventory_report(None, &latest, None, at);
        self.tell(ToServerBody::Inventory(Box::new(report)));
        self.forget_what_is_overtaken();
    }

    /// What was on its way and is not in the spool any more will not be acknowledged.
    fn forget_what_is_overtaken(&mut self) {
        let spool = &self.spool;
        if let Some(line) = &mut self.line {
            line.unacknowledged.retain(|id| spool.contains_key(id));
        }
    }

    /// Takes in what the server says. `wall` is the host's clock, `steady` the steady one in seconds.
    pub(super) fn obey(&mut self, message: FromServer, wall: Timestamp, steady: i64) -> Obeyed {
        match message {
            FromServer::Acknowledged { id } | FromServer::Unsupported { id } => {
                self.spool.remove(&id);
                if let Some(line) = &mut self.line {
                    line.acknowledged_at = steady;
                    line.unacknowledged.retain(|sent| *sent != id);
                }
                Obeyed::Other
            }
            FromServer::InventoryWanted => {
                self.tell_everything(wall);
                Obeyed::Other
            }
            FromServer::Order(signed) => self.order(&signed, self.clock.now(wall, steady)),
            // Its scripts write nothing before they end, and it knows the keys that it was given at registration.
            FromServer::OutputWindow(_) | FromServer::Trust(_) | FromServer::Unknown => Obeyed::Other,
        }
    }

    fn order(&mut self, signed: &SignedOrder, now: Timestamp) -> Obeyed {
        let order = match self.judge(signed, now) {
            Ok(order) => order,
            Err((reason, job_id)) => {
                // A late copy of what is written down must not end the job.
                let job_id = job_id.filter(|job_id| !self.journal.contains_key(job_id));
                self.tell(ToServerBody::OrderRefused { reason, job_id });
                return Obeyed::Other;
            }
        };
        self.incarnation = self.incarnation.max(order.incarnation);
        self.clock.signed_at = self.clock.signed_at.max(order.issued_at);
        match order.body {
            OrderBody::Run(job) => self.order_to_run(job, order.expires_at),
            OrderBody::Cancel { job_id } => {
                self.order_to_cancel(&job_id);
                Obeyed::Other
            }
        }
    }

    fn judge(&self, signed: &SignedOrder, now: Timestamp) -> Result<Order, (String, Option<JobId>)> {
        let order = agent_wire::read::<Order>(&signed.payload);
        let job_id = order.as_ref().ok().map(|order| match &order.body {
            OrderBody::Run(job) => job.job_id.clone(),
            OrderBody::Cancel { job_id } => job_id.clone(),
        });
        let refused = |reason: &str| Err((reason.to_owned(), job_id.clone()));
        let Some(identity) = &self.identity else { return refused("This host is not registered.") };
        let text = order_text(&signed.payload);
        if !identity::verify_ed25519(&identity.job_key.0, &text, &signed.signature.0) {
            return refused("It is not signed with the key that was given at registration.");
        }
        match order {
            Err(_) => refused("It is signed but cannot be understood."),
            Ok(order) if order.node_id != identity.node_id => refused("It is for another node."),
            Ok(order) if order.incarnation < self.incarnation => refused("It is of an older incarnation."),
            // It may come again and be in time, when a clock was set; so it ends no job.
            Ok(order) if order.expires_at <= now => Err(("It has expired.".to_owned(), None)),
            Ok(order) => Ok(order),
        }
    }

    fn order_to_run(&mut self, job: Job, expires_at: Timestamp) -> Obeyed {
        let job_id = job.job_id.clone();
        if let Some(written) = self.journal.get(&job_id) {
            match written.report.clone() {
                Some(report) => self.tell_result(report),
                None => self.tell(ToServerBody::JobAccepted { job_id }),
            }
            return Obeyed::Other;
        }
        if self.forestalled.contains(&job_id) {
            let reason = "It was run or cancelled before, and its result is no longer kept.".to_owned();
            self.tell(ToServerBody::JobRefused { job_id, reason, cause: JobRefusal::Other });
            return Obeyed::Other;
        }
        let command_id = job.command_id.clone();
        let place = self.journal.len();
        self.journal.insert(job_id.clone(), WrittenJob::new(job, place, expires_at));
        Obeyed::Accepted(command_id, job_id)
    }

    fn order_to_cancel(&mut self, job_id: &JobId) {
        match self.journal.get_mut(job_id).map(|written| written.cancel()) {
            Some(None) => {}
            Some(Some(report)) => self.tell_result(report),
            None if self.forestalled.contains(job_id) => {}
            None => {
                self.forestalled.insert(job_id.clone());
                let reason = "It was cancelled before it came.".to_owned();
                self.tell(ToServerBody::JobRefused { job_id: job_id.clone(), reason, cause: JobRefusal::Other });
            }
        }
    }

    /// Tells what has not been told of a job. `dies` is asked after each write whether the process ends there; `false`: it has.
    pub(super) fn deliver(&mut self, job_id: &JobId, wall: Timestamp, dies: &mut dyn FnMut() -> bool) -> bool {
        while let Some(untold) = self.journal.get(job_id).and_then(WrittenJob::untold) {
            match &untold {
                Untold::Begun(_, step, at) => {
                    self.tell(ToServerBody::StepStarted { job_id: job_id.clone(), step: step.clone(), at: *at });
                }
                Untold::Patched(run) => {
                    self.note_inventory(Some(run.command_id.clone()), wall);
                    let same = |body: &ToServerBody| matches!(body, ToServerBody::PatchRun(other) if other.report_id == run.report_id);
                    if !self.spool.values().any(same) {
                        self.tell(ToServerBody::PatchRun(run.clone()));
                    }
                }
                Untold::Over(report) => self.tell_result(report.clone()),
            }
            // Told, and not yet noted that it was.
            if dies() {
                return false;
            }
            if let Some(job) = self.journal.get_mut(job_id) {
                job.note_told(&untold);
            }
            if dies() {
                return false;
            }
        }
        true
    }

    /// Tells a result unless it is on its way.
    fn tell_result(&mut self, report: agent_wire::JobReport) {
        let same =
            |body: &ToServerBody| matches!(body, ToServerBody::JobFinished(other) if other.job_id == report.job_id);
        if !self.spool.values().any(same) {
            self.tell(ToServerBody::JobFinished(report));
        }
    }

    /// The host loses power: what ran is over, and what can be resumed will be.
    pub(super) fn lose_power(&mut self, now: Timestamp) {
        self.host.reboot();
        self.line = None;
        self.is_down = true;
        for job in self.journal.values_mut() {
            job.interrupt(now);
        }
    }
}
