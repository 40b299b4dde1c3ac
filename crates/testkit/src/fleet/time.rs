//! Time passes, and what it brings: heartbeats, silence, the reconcilers' turns.

use agent_wire::{ToServer, ToServerBody};
use control::reconcilers::Status;
use control::settings::HEARTBEAT_SECONDS;
use identifiers::Timestamp;

use super::servers::Replica;
use super::{BEGINS_AT_SECONDS, SimulatedFleet};

/// Time passes in pieces no longer than this, in seconds.
const PIECE_SECONDS: i64 = 10;
/// The agent makes its connection anew when nothing it sent was acknowledged for so long.
const ACKNOWLEDGEMENT_PATIENCE_SECONDS: i64 = 120;

/// Either end gives a connection up after so long a silence, in seconds.
fn silence_max() -> i64 {
    i64::from(HEARTBEAT_SECONDS) * 5 / 2
}

impl SimulatedFleet {
    /// So many seconds pass: agents send heartbeats, and what has been silent for too long is given up.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pass(&mut self, seconds: i64) -> anyhow::Result<()> {
        let mut left = seconds;
        while left > 0 {
            let piece = left.min(PIECE_SECONDS);
            left -= piece;
            self.steady += piece;
            self.clock.advance_seconds(piece);
            self.recover(false).await?;
            for agent in 0..self.agents.len() {
                self.beat(agent)?;
                self.lose_patience(agent).await?;
            }
            self.deliver_what_is_late().await?;
            self.give_up_silent_agents().await?;
        }
        Ok(())
    }

    /// The servers' clock jumps without any time passing, as when it is set; back by a negative number.
    pub fn jump(&mut self, seconds: i64) {
        self.note(format!("the clock jumps by {seconds} s"));
        self.clock.advance_seconds(seconds);
        self.world.jumped_at = self.steady;
    }

    /// The clock of an agent's host jumps.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn jump_host(&mut self, agent: usize, seconds: i64) -> anyhow::Result<()> {
        let name = self.agent_name(agent);
        self.note(format!("the clock of {name} jumps by {seconds} s"));
        self.agent_mut(agent)?.clock.ahead += seconds;
        Ok(())
    }

    /// What the clock of an agent's host shows.
    pub(super) fn wall(&self, agent: usize) -> anyhow::Result<Timestamp> {
        let ahead = self.agent(agent)?.clock.ahead;
        Ok(Timestamp::from_seconds(BEGINS_AT_SECONDS).plus_seconds(self.steady + ahead))
    }

    fn beat(&mut self, agent: usize) -> anyhow::Result<()> {
        let steady = self.steady;
        let simulated = self.agent_mut(agent)?;
        let boot_id = simulated.host.boot_id();
        let Some(line) = simulated.line.as_mut() else { return Ok(()) };
        if steady - line.beat_at < i64::from(HEARTBEAT_SECONDS) {
            return Ok(());
        }
        line.beat_at = steady;
        let frame = agent_wire::write(&ToServer { id: 0, body: ToServerBody::Heartbeat { boot_id } })?;
        if let Some(link) = self.link_of(agent) {
            link.send_to_server(frame);
            // The transport's own answer to the ping that goes with each heartbeat.
            if !link.severed && link.session.is_some() {
                link.agent_heard_at = steady;
            }
        }
        Ok(())
    }

    async fn lose_patience(&mut self, agent: usize) -> anyhow::Result<()> {
        let steady = self.steady;
        let Some(line) = self.agent(agent)?.line.as_ref() else { return Ok(()) };
        let unheeded = line.waits() && steady - line.acknowledged_at >= ACKNOWLEDGEMENT_PATIENCE_SECONDS;
        let silent = self.link_of(agent).is_none_or(|link| steady - link.agent_heard_at > silence_max());
        if !unheeded && !silent {
            return Ok(());
        }
        let name = self.agent_name(agent);
        let why = if unheeded { "nothing is acknowledged" } else { "the server is silent" };
        self.note(format!("{name} hangs up: {why}"));
        self.agent_mut(agent)?.calls_at = steady + 5;
        self.hang_up(agent).await
    }

    /// Frames do not stay under way for minutes where the network is whole.
    async fn deliver_what_is_late(&mut self) -> anyhow::Result<()> {
        let numbers: Vec<u64> = self.links.keys().copied().collect();
        for number in numbers {
            while let Some(link) = self.links.get(&number) {
                let late = self.steady - link.server_heard_at > silence_max() - 2 * PIECE_SECONDS;
                let deaf = self.replicas.get(link.server).is_none_or(|replica| !replica.listens());
                if !late || deaf || link.severed || link.to_server.is_empty() || link.session.is_none() {
                    break;
                }
                self.arrive_at_server(number).await?;
            }
        }
        Ok(())
    }

    async fn give_up_silent_agents(&mut self) -> anyhow::Result<()> {
        let mut left = Vec::new();
        for link in self.links.values_mut() {
            let paused = self.replicas.get(link.server).is_none_or(Replica::is_paused);
            if !paused && self.steady - link.server_heard_at > silence_max() {
                left.extend(link.session.take().map(|session| (link.agent, link.server, session)));
                link.to_server.clear();
            }
        }
        for (agent, server, session) in left {
            let replica = self.replica(server)?;
            replica.server.agent_left(&session).await;
            let (server, name) = (replica.name.clone(), self.agent_name(agent));
            self.note(format!("{server} gives {name} up: it is silent"));
        }
        self.sweep_links().await
    }

    /// One turn of the reconcilers of each server.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn activate(&mut self) -> anyhow::Result<Status> {
        let mut all = Status::default();
        for server in self.listening() {
            let turn = control::reconcilers::activate_all(&self.replica(server)?.server.clone()).await;
            let turn = turn.map_err(anyhow::Error::from);
            let Some(done) = self.excuse(server, "a turn of the reconcilers", turn).await? else { continue };
            all.done.extend(done.done);
            all.failures += done.failures;
        }
        let orders = all.count("orders");
        if orders > 0 {
            self.note(format!("the reconcilers hand out {orders} orders"));
        }
        self.sweep_links().await?;
        Ok(all)
    }
}
