//! A whole history of a fleet, decided by its seed: commands are sent while much goes wrong, then all goes well.

use std::collections::BTreeSet;

use commands::InvocationState;

use super::{Faults, FleetDatabase, FleetOptions, Sending, SimulatedFleet};

/// Which history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Decides everything that the rest leaves open.
    pub seed: u64,
    /// How many agents.
    pub agents: usize,
    /// How many servers.
    pub servers: usize,
    /// How many steps while much goes wrong.
    pub steps: usize,
    /// What the servers stand on.
    pub database: FleetDatabase,
}

/// How a history went.
#[derive(Debug)]
pub struct Told {
    /// The promises that it broke.
    pub broken: Vec<String>,
    /// What happened, line by line.
    pub transcript: Vec<String>,
    /// In which states invocations ended.
    pub states: BTreeSet<InvocationState>,
}

impl History {
    /// The history of a seed, of ordinary size: a dozen agents or a few more, one server or (each third seed) two.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (agents, servers) =
            (12 + usize::try_from(seed % 9).unwrap_or(0), if seed.is_multiple_of(3) { 2 } else { 1 });
        Self { seed, agents, servers, steps: 700, database: FleetDatabase::Sqlite }
    }

    /// The commands, by the step at which each is sent.
    fn commands(&self) -> Vec<(usize, Sending)> {
        let choice = |of: u64| usize::try_from(self.seed / of % 4).unwrap_or(0);
        let at_once = ["1", "3", "50%", "100%"][choice(1)];
        let errors = ["0", "2", "10%", "100%"][choice(4)];
        let operation = if self.seed.is_multiple_of(2) { "Install" } else { "Scan" };
        let script = if self.seed.is_multiple_of(3) { "exit 3" } else { "true" };
        let at = |fourteenths: usize| self.steps * fourteenths / 14;
        vec![
            (at(1), Sending::shell("true").rate(at_once, errors)),
            (at(3), Sending::patch(operation).rate("10", "5")),
            (at(6), Sending::shell("true").rate("4", "1").within_seconds(60)),
            (at(11), Sending::shell(script).rate("2", errors)),
        ]
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// When something fails that no fault explains; the text ends with what happened before.
    pub async fn tell(&self) -> anyhow::Result<Told> {
        let options = FleetOptions {
            seed: self.seed,
            agents: self.agents,
            servers: self.servers,
            faults: Faults::many(),
            database: self.database,
        };
        let mut fleet = SimulatedFleet::new(options).await?;
        let happened = self.happen(&mut fleet).await;
        let transcript = fleet.transcript().to_vec();
        let broken = match happened {
            Ok(()) => fleet.violations().await?,
            Err(error) => vec![format!("it stopped: {error:#}")],
        };
        let states = fleet.invocation_states().await?.into_keys().collect();
        fleet.close().await;
        Ok(Told { broken, transcript, states })
    }

    async fn happen(&self, fleet: &mut SimulatedFleet) -> anyhow::Result<()> {
        let commands = self.commands();
        for step in 0..self.steps {
            for (_, sending) in commands.iter().filter(|(at, _)| *at == step) {
                fleet.try_to_send(sending).await?;
            }
            // Each fifth seed restores a backup.
            if self.seed.is_multiple_of(5) && step == self.steps * 4 / 14 {
                fleet.back_up().await?;
            }
            if step == self.steps * 8 / 14 {
                fleet.restore().await?;
            }
            if step % 40 == 0 {
                fleet.offer_update(step % self.agents, step)?;
                let shown = fleet.shown_on_line_in_error().await?;
                fleet.world.broken.extend(shown);
            }
            fleet.step().await?;
        }
        fleet.heal().await
    }
}
