//! One session with the server: from the call to the end of the connection.

use crate::AgentError;
use crate::connection::{Connection, Heard};
use crate::handshake::{self, Ground, Welcome};
use crate::output::Outlets;
use crate::work::Work;
use agent_wire::{FromServer, HEARTBEAT_ID_MIN, HostFacts, ToServer, ToServerBody};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

/// How many messages may be on their way without an acknowledgement.
const UNACKNOWLEDGED_MAX: usize = 32;
/// How long the server may acknowledge nothing of what it was sent; then the connection is made anew and all is sent again.
const ACKNOWLEDGEMENT_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is checked whether the host is still what the server was told, in heartbeats.
const FACTS_HEARTBEATS: u32 = 10;
/// How often running steps are asked for new output, if the server listens.
const OUTPUT_PAUSE: Duration = Duration::from_millis(250);

/// How a call ended.
pub(crate) enum SessionEnd {
    /// No session came about.
    NotConnected(AgentError),
    /// There was one, and it broke.
    Broken(AgentError),
    /// The agent ends.
    Ended,
}

struct Session<'a> {
    work: &'a RefCell<Work>,
    spooled: Rc<Notify>,
    connection: Connection,
    facts: HostFacts,
    /// The last message sent on this connection, and how many of those sent are not acknowledged.
    sent_up_to: u64,
    unacknowledged: Vec<u64>,
    acknowledged_at: Instant,
    /// The last heartbeat sent, counted from 0, and since when one waits for its acknowledgement.
    heartbeats_sent: u64,
    heartbeat_waits_since: Option<Instant>,
    heard_at: Instant,
    outlets: Outlets,
    /// When the next piece of output may go.
    output_at: Instant,
}

/// Calls the server and serves it until the connection ends, or `ending` says so.
pub(crate) async fn serve(work: &RefCell<Work>, ending: &mut watch::Receiver<bool>) -> SessionEnd {
    let (address, identity, facts, times, next_refused) = {
        let work = work.borrow();
        (work.servers.current().clone(), work.identity.clone(), work.facts(), work.times(), work.next_key_refused)
    };
    let opened = async {
        let reach = identity.reach.over_environment(&address, |name| std::env::var(name).ok());
        let reach = reach.map_err(|e| AgentError::system("reading the environment", e))?;
        let mut connection = Connection::open(&address, &reach).await?;
        let ground = Ground { reach: &reach, times: &times };
        let key = identity.proving_key(next_refused);
        let welcome = handshake::connect(&mut connection, &ground, &identity, key, facts.clone()).await?;
        Ok((connection, welcome))
    };
    let opened = tokio::select! {
        opened = opened => opened,
        _ = ending.wait_for(|ending| *ending) => return SessionEnd::Ended,
    };
    let (connection, welcome) = match opened {
        Ok(opened) => opened,
        Err(e) => return SessionEnd::NotConnected(e),
    };
    if let Err(e) = greet(work, &welcome) {
        return SessionEnd::Broken(e);
    }
    let spooled = work.borrow().spooled.clone();
    let heard_at = Instant::now();
    let mut session = Session {
        work,
        spooled,
        connection,
        facts,
        sent_up_to: 0,
        unacknowledged: Vec::new(),
        acknowledged_at: heard_at,
        heartbeats_sent: 0,
        heartbeat_waits_since: None,
        heard_at,
        outlets: Outlets::default(),
        output_at: heard_at,
    };
    let heartbeat = Duration::from_secs(u64::from(welcome.heartbeat_seconds.clamp(1, 600)));
    match session.run(heartbeat, ending).await {
        Err(e) => SessionEnd::Broken(e),
        Ok(()) => {
            session.connection.close().await;
            SessionEnd::Ended
        }
    }
}

fn greet(work: &RefCell<Work>, welcome: &Welcome) -> Result<(), AgentError> {
    let mut work = work.borrow_mut();
    work.learn_time(welcome.now);
    work.greeted();
    work.connected(true, "waiting for orders".to_owned());
    work.exchange_keys(welcome.trust.as_ref())?;
    work.tell_impostors();
    let work = &mut *work;
    work.inventory.reconcile(&mut work.spool, welcome.inventory_digest.as_deref())?;
    work.read_first_inventory();
    Ok(())
}

impl Session<'_> {
    /// Returns when the agent ends or the connection breaks.
    async fn run(&mut self, heartbeat: Duration, ending: &mut watch::Receiver<bool>) -> Result<(), AgentError> {
        let silence_max = heartbeat.mul_f64(2.5);
        let mut heartbeats = self.heartbeats(heartbeat);
        let mut beats: u32 = 0;
        loop {
            self.send_spooled().await?;
            let spooled = self.spooled.clone();
            tokio::select! {
                // In this order: output is sent only if there is nothing else to do.
                biased;
                _ = ending.wait_for(|ending| *ending) => return Ok(()),
                _ = heartbeats.tick() => {
                    beats = beats.wrapping_add(1);
                    self.beat(beats).await?;
                }
                heard = self.connection.hear() => {
                    self.heard_at = Instant::now();
                    match heard? {
                        Heard::Text(text) => self.obey(&text)?,
                        Heard::Life => {}
                    }
                }
                () = sleep_until(self.heard_at + silence_max) => {
                    let reason = format!("the server has been silent for {} s", silence_max.as_secs_f32());
                    return Err(AgentError::Unreachable { reason, server: self.connection.server().to_owned() });
                }
                () = spooled.notified() => {}
                () = sleep_until(self.output_at), if self.outlets.any() => self.send_output().await?,
            }
        }
    }

    /// Sends one piece of output, if there is any.
    async fn send_output(&mut self) -> Result<(), AgentError> {
        let chunk = self.outlets.next(&self.work.borrow());
        match chunk {
            Some(chunk) => self.connection.send(&ToServer { id: 0, body: ToServerBody::Output(chunk) }).await,
            None => {
                self.output_at = Instant::now() + OUTPUT_PAUSE;
                Ok(())
            }
        }
    }

    fn heartbeats(&self, every: Duration) -> Interval {
        let mut heartbeats = interval_at(self.heard_at + every, every);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeats
    }

    async fn beat(&mut self, beats: u32) -> Result<(), AgentError> {
        let boot_id = self.work.borrow().boot_id.clone();
        self.heartbeats_sent += 1;
        let id = HEARTBEAT_ID_MIN + self.heartbeats_sent;
        self.connection.send(&ToServer { id, body: ToServerBody::Heartbeat { boot_id } }).await?;
        let heartbeat_waits_since = *self.heartbeat_waits_since.get_or_insert_with(Instant::now);
        // A server that cannot write, and says nothing of it, may have a neighbour that can.
        if heartbeat_waits_since.elapsed() >= ACKNOWLEDGEMENT_PATIENCE
            || (!self.unacknowledged.is_empty() && self.acknowledged_at.elapsed() >= ACKNOWLEDGEMENT_PATIENCE)
        {
            let reason = format!("the server acknowledges nothing for {} s", ACKNOWLEDGEMENT_PATIENCE.as_secs());
            return Err(AgentError::Unreachable { reason, server: self.connection.server().to_owned() });
        }
        // The answer is the server's sign of life.
        self.connection.ping().await?;
        if beats.is_multiple_of(FACTS_HEARTBEATS) {
            let facts = self.work.borrow().facts();
            if facts != self.facts {
                self.work.borrow_mut().tell(ToServerBody::Facts(Box::new(facts.clone())));
                self.facts = facts;
            }
        }
        Ok(())
    }

    /// Sends what the spool has, in order, up to a window.
    async fn send_spooled(&mut self) -> Result<(), AgentError> {
        while self.unacknowledged.len() < UNACKNOWLEDGED_MAX {
            let next = self.work.borrow().spool.next_after(self.sent_up_to);
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(e) => return Err(e.into()),
            };
            self.sent_up_to = message.id;
            match self.connection.send(&message).await {
                Ok(()) => {
                    if self.unacknowledged.is_empty() {
                        self.acknowledged_at = Instant::now();
                    }
                    self.unacknowledged.push(message.id);
                }
                Err(e @ AgentError::TooLarge { .. }) => {
                    // It would stand in the way of everything after it, for ever.
                    let mut work = self.work.borrow_mut();
                    work.trouble(format_args!("message {} is given up: {e}", message.id));
                    work.spool.remove(message.id)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn obey(&mut self, text: &str) -> Result<(), AgentError> {
        let message = agent_wire::read::<FromServer>(text)?;
        let mut work = self.work.borrow_mut();
        match message {
            FromServer::Acknowledged { id } if id >= HEARTBEAT_ID_MIN => {
                if id >= HEARTBEAT_ID_MIN + self.heartbeats_sent {
                    self.heartbeat_waits_since = None;
                }
            }
            FromServer::Acknowledged { id } => {
                self.acknowledged_at = Instant::now();
                self.unacknowledged.retain(|sent| *sent != id);
                work.spool.remove(id)?;
            }
            FromServer::Unsupported { id } => {
                self.acknowledged_at = Instant::now();
                work.log.line(format_args!("the server does not know the kind of message {id}; it is given up"));
                self.unacknowledged.retain(|sent| *sent != id);
                work.spool.remove(id)?;
            }
            FromServer::Order(signed) => work.order(&signed),
            FromServer::Trust(signed) => work.believe(&signed)?,
            FromServer::InventoryWanted => {
                let work = &mut *work;
                work.log.line("the server wants the whole inventory");
                work.inventory.everything(&mut work.spool)?;
                // What was on its way and is overtaken will not be acknowledged.
                self.unacknowledged.retain(|sent| work.spool.contains(*sent));
            }
            // Not worth a new status.
            FromServer::OutputWindow(window) => {
                self.outlets.allow(&window);
                return Ok(());
            }
            FromServer::Unknown => work.log.line("the server sent a message of a kind this agent does not know"),
        }
        work.show();
        Ok(())
    }
}
