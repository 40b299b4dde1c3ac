//! What happens next, chosen by the seed.

use super::SimulatedFleet;
use super::calls::CutOff;

/// How often what goes wrong, in thousandths: of the steps of a history, or of what the name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// A message or an order is lost although its connection stays.
    pub lose_permille: u32,
    /// A frame arrives twice.
    pub duplicate_permille: u32,
    /// A frame overtakes another.
    pub reorder_permille: u32,
    /// A network link goes, and neither end is told.
    pub sever_permille: u32,
    /// An agent hangs up.
    pub hang_up_permille: u32,
    /// An agent process ends; a supervisor goes on with its jobs.
    pub agent_restart_permille: u32,
    /// A host loses power.
    pub power_loss_permille: u32,
    /// An agent process dies between two of its writes, of which it makes a few for each step of a job.
    pub agent_dies_permille: u32,
    /// A server ends and starts again, at once or after up to two minutes.
    pub server_restart_permille: u32,
    /// A server dies just before or after its next commit.
    pub server_dies_permille: u32,
    /// A server stands still for up to two minutes.
    pub server_pause_permille: u32,
    /// A server is cut off from its database for up to two minutes.
    pub server_cut_permille: u32,
    /// The disk of the database is full for up to three minutes.
    pub disk_full_permille: u32,
    /// The servers' clock jumps, forward or back: mostly by less than a heartbeat, sometimes by hours.
    pub clock_jump_permille: u32,
    /// The clock of an agent's host jumps so.
    pub host_clock_jump_permille: u32,
    /// A command is cancelled.
    pub cancel_permille: u32,
    /// Of the calls: cut off half-way.
    pub call_cut_off_permille: u32,
    /// Of the scripts' ends: a failure.
    pub step_fails_permille: u32,
}

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self {
            lose_permille: 0,
            duplicate_permille: 0,
            reorder_permille: 0,
            sever_permille: 0,
            hang_up_permille: 0,
            agent_restart_permille: 0,
            power_loss_permille: 0,
            agent_dies_permille: 0,
            server_restart_permille: 0,
            server_dies_permille: 0,
            server_pause_permille: 0,
            server_cut_permille: 0,
            disk_full_permille: 0,
            clock_jump_permille: 0,
            host_clock_jump_permille: 0,
            cancel_permille: 0,
            call_cut_off_permille: 0,
            step_fails_permille: 0,
        }
    }

    /// Much goes wrong.
    #[must_use]
    pub fn many() -> Self {
        Self {
            lose_permille: 8,
            duplicate_permille: 15,
            reorder_permille: 15,
            sever_permille: 8,
            hang_up_permille: 6,
            agent_restart_permille: 5,
            power_loss_permille: 4,
            agent_dies_permille: 10,
            server_restart_permille: 2,
            server_dies_permille: 4,
            server_pause_permille: 1,
            server_cut_permille: 2,
            disk_full_permille: 3,
            clock_jump_permille: 2,
            host_clock_jump_permille: 3,
            cancel_permille: 1,
            call_cut_off_permille: 150,
            step_fails_permille: 120,
        }
    }
}

/// Things that go on by themselves, and how often each is chosen.
const ORDINARY: [(Ordinary, usize); 6] = [
    (Ordinary::ToServer, 34),
    (Ordinary::ToAgent, 30),
    (Ordinary::Work, 20),
    (Ordinary::Call, 7),
    (Ordinary::Activate, 6),
    (Ordinary::Pass, 4),
];

/// So often something is drawn that has nothing to do before a step is over.
const DRAWS_MAX: usize = 20;

#[derive(Debug, Clone, Copy)]
enum Ordinary {
    ToServer,
    ToAgent,
    Work,
    Call,
    Activate,
    Pass,
}

impl SimulatedFleet {
    /// One thing happens: a message arrives, an agent works or calls, the reconcilers have a turn, time passes, or
    /// something goes wrong.
    ///
    /// # Errors
    /// When something fails that no fault explains.
    pub async fn step(&mut self) -> anyhow::Result<()> {
        if self.something_goes_wrong().await? {
            return Ok(());
        }
        // What is drawn may have nothing to do; time can always pass.
        for _ in 0..DRAWS_MAX {
            let what = self.draw();
            if self.go_on(what).await? {
                break;
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Ordinary {
        let all: usize = ORDINARY.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.chance.below(all);
        for (what, weight) in ORDINARY {
            if drawn < weight {
                return what;
            }
            drawn -= weight;
        }
        Ordinary::Pass
    }

    /// `false`: there was nothing to do.
    async fn go_on(&mut self, what: Ordinary) -> anyhow::Result<bool> {
        match what {
            Ordinary::ToServer => {
                let busy = self.links.iter().filter(|(_, link)| !link.severed && !link.to_server.is_empty());
                let busy: Vec<u64> = busy.map(|(number, _)| *number).collect();
                match self.chance.pick(&busy) {
                    Some(number) => self.arrive_at_server(*number).await.map(|()| true),
                    None => Ok(false),
                }
            }
            Ordinary::ToAgent => {
                let busy = self.links.iter().filter(|(_, link)| {
                    link.held && !link.severed && (!link.to_agent.is_empty() || link.is_closed_for_agent())
                });
                let busy: Vec<u64> = busy.map(|(number, _)| *number).collect();
                match self.chance.pick(&busy) {
                    Some(number) => self.arrive_at_agent(*number).await.map(|()| true),
                    None => Ok(false),
                }
            }
            Ordinary::Work => {
                let jobs: Vec<_> = (0..self.agents.len())
                    .flat_map(|agent| self.workable(agent).into_iter().map(move |job| (agent, job)))
                    .collect();
                match self.chance.pick(&jobs).cloned() {
                    Some((agent, job)) => self.work_on(agent, &job).await.map(|()| true),
                    None => Ok(false),
                }
            }
            Ordinary::Call => self.someone_calls().await,
            Ordinary::Activate => self.activate().await.map(|_| true),
            Ordinary::Pass => {
                let seconds = self.chance.seconds(12);
                self.pass(seconds).await.map(|()| true)
            }
        }
    }

    async fn someone_calls(&mut self) -> anyhow::Result<bool> {
        let steady = self.steady;
        let off_line = self.agents.iter().enumerate();
        let off_line = off_line.filter(|(_, agent)| !agent.is_on_line() && agent.calls_at <= steady);
        let off_line: Vec<usize> = off_line.map(|(number, _)| number).collect();
        let Some(agent) = self.chance.pick(&off_line).copied() else { return Ok(false) };
        let cut_off = match self.chance.happens(self.faults.call_cut_off_permille) {
            false => CutOff::Never,
            true if self.chance.happens(500) => CutOff::BeforeProof,
            true => CutOff::BeforeWelcome,
        };
        if !self.connect_until(agent, cut_off).await? {
            let pause = self.chance.seconds(10);
            self.agent_mut(agent)?.calls_at = steady + pause;
        }
        Ok(true)
    }

    async fn something_goes_wrong(&mut self) -> anyhow::Result<bool> {
        let faults = self.faults;
        let agent = self.chance.below(self.agents.len());
        let name = self.agent_name(agent);
        if self.chance.happens(faults.sever_permille) {
            self.sever(agent)?;
        } else if self.chance.happens(faults.hang_up_permille) {
            self.note(format!("{name} hangs up"));
            self.hang_up(agent).await?;
        } else if self.chance.happens(faults.agent_restart_permille) {
            self.restart_agent(agent).await?;
        } else if self.chance.happens(faults.power_loss_permille) {
            self.lose_power(agent).await?;
        } else if self.chance.happens(faults.clock_jump_permille) {
            let seconds = self.jump_length();
            self.jump(seconds);
        } else if self.chance.happens(faults.host_clock_jump_permille) {
            let seconds = self.jump_length();
            self.jump_host(agent, seconds)?;
        } else if self.chance.happens(faults.cancel_permille) {
            // What a restored backup did not have cannot be cancelled.
            let known = self.commands.iter().filter(|command| !self.world.forgotten.contains(command));
            let known: Vec<_> = known.cloned().collect();
            if let Some(command) = self.chance.pick(&known).cloned() {
                self.try_to_cancel(&command).await?;
            }
        } else {
            return Ok(self.a_server_goes_wrong().await? || self.a_frame_goes_wrong());
        }
        Ok(true)
    }

    async fn a_server_goes_wrong(&mut self) -> anyhow::Result<bool> {
        let faults = self.faults;
        let server = self.chance.below(self.replicas.len());
        if self.chance.happens(faults.server_restart_permille) {
            let seconds = if self.chance.happens(500) { 0 } else { self.chance.seconds(120) };
            self.restart(server, seconds).await?;
        } else if self.chance.happens(faults.server_dies_permille) {
            let before = self.chance.happens(500);
            self.doom(server, before)?;
        } else if self.chance.happens(faults.server_pause_permille) {
            let seconds = self.chance.seconds(120);
            self.pause(server, seconds);
        } else if self.chance.happens(faults.server_cut_permille) {
            let seconds = self.chance.seconds(120);
            self.cut_off(server, seconds);
        } else if self.chance.happens(faults.disk_full_permille) {
            let seconds = self.chance.seconds(180);
            self.fill_disk(seconds).await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Mostly within a heartbeat, sometimes beyond every patience, seldom beyond the expiry of a command.
    fn jump_length(&mut self) -> i64 {
        let longest = match self.chance.below(10) {
            0..6 => 30,
            6..9 => 600,
            _ => 7200,
        };
        let seconds = self.chance.seconds(longest);
        if self.chance.happens(500) { seconds } else { -seconds }
    }

    /// Loses, doubles or moves one frame of one line.
    fn a_frame_goes_wrong(&mut self) -> bool {
        let faults = self.faults;
        let all = faults.lose_permille + faults.duplicate_permille + faults.reorder_permille;
        if !self.chance.happens(all) {
            return false;
        }
        let kind = self.chance.below(usize::try_from(all).unwrap_or(1));
        let (lose, double) = (faults.lose_permille as usize, faults.duplicate_permille as usize);
        let numbers: Vec<u64> = self.links.keys().copied().collect();
        let Some(number) = self.chance.pick(&numbers).copied() else { return false };
        let (outwards, place) = (self.chance.happens(500), self.chance.below(64));
        let Some(link) = self.links.get_mut(&number) else { return false };
        let (agent, line) = (link.agent, if outwards { &mut link.to_agent } else { &mut link.to_server });
        if line.is_empty() {
            return false;
        }
        let at = place % line.len();
        let what = if kind < lose {
            // What the server could not keep, or an order that found its queue full. Answers go with their connection.
            let answer = outwards && !line.get(at).is_some_and(|frame| frame.contains("\"kind\":\"order\""));
            if answer {
                return false;
            }
            line.remove(at);
            "is lost"
        } else if kind < lose + double {
            if let Some(frame) = line.get(at).cloned() {
                line.push_back(frame);
            }
            "will arrive twice"
        } else {
            line.swap(0, at);
            "overtakes others"
        };
        let (name, way) = (self.agent_name(agent), if outwards { "to" } else { "from" });
        self.note(format!("a frame {way} {name} {what}"));
        true
    }

    /// An agent's process ends and starts again; its jobs go on meanwhile.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn restart_agent(&mut self, agent: usize) -> anyhow::Result<()> {
        let name = self.agent_name(agent);
        self.note(format!("{name} ends and starts again"));
        self.end_agent(agent).await
    }

    /// An agent's process is killed between two writes, and started again.
    pub(super) async fn agent_dies(&mut self, agent: usize) -> anyhow::Result<()> {
        let name = self.agent_name(agent);
        self.note(format!("{name} is killed and starts again"));
        self.end_agent(agent).await
    }

    async fn end_agent(&mut self, agent: usize) -> anyhow::Result<()> {
        self.agent_mut(agent)?.is_down = true;
        self.hang_up(agent).await?;
        self.agent_mut(agent)?.calls_at = self.steady + 1;
        Ok(())
    }

    /// An agent's process that has ended starts: it tells what it finds in the journal.
    pub(super) fn start_agent(&mut self, agent: usize) -> anyhow::Result<()> {
        let wall = self.wall(agent)?;
        let agent = self.agent_mut(agent)?;
        if std::mem::take(&mut agent.is_down) {
            agent.clock.forget();
            for job in agent.journal.keys().cloned().collect::<Vec<_>>() {
                agent.deliver(&job, wall, &mut || false);
            }
        }
        Ok(())
    }

    /// An agent's host loses power and boots again.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn lose_power(&mut self, agent: usize) -> anyhow::Result<()> {
        let name = self.agent_name(agent);
        self.note(format!("the host of {name} loses power"));
        // Nobody says goodbye: the server's end stays until the silence has lasted too long.
        self.sever(agent)?;
        self.hang_up(agent).await?;
        let (wall, steady) = (self.wall(agent)?, self.steady);
        let agent = self.agent_mut(agent)?;
        agent.lose_power(wall);
        agent.powered_at = steady + 20;
        agent.calls_at = steady + 20;
        Ok(())
    }

    /// An archive offers something new to an agent's host.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn offer_update(&mut self, agent: usize, which: usize) -> anyhow::Result<()> {
        self.agent_mut(agent)?.host.offer(which);
        Ok(())
    }

    /// Everything goes well from now on, and so long that all that can be finished is; then every deadline passes.
    ///
    /// # Errors
    /// When the store fails, or something is never finished.
    pub async fn heal(&mut self) -> anyhow::Result<()> {
        self.faults = Faults::none();
        self.note("everything goes well from now on");
        self.recover(true).await?;
        for _ in 0..60 {
            self.go_well().await?;
            if self.is_quiet().await? {
                break;
            }
        }
        // What is still open waits for its deadline.
        for _ in 0..16 {
            if self.latest_expiry().await?.is_none_or(|at| at < self.clock.now()) {
                break;
            }
            self.jump(1800);
            self.go_well().await?;
        }
        // More than a heartbeat.
        self.go_well().await?;
        self.go_well().await
    }

    /// Every agent connects and does all it can, and twenty seconds pass.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn go_well(&mut self) -> anyhow::Result<()> {
        self.pass(20).await?;
        self.activate().await?;
        for agent in 0..self.agents.len() {
            let severed = self.link_of(agent).is_none_or(|link| link.severed || link.session.is_none());
            if severed {
                self.connect(agent).await?;
            }
            self.exchange(agent).await?;
            while self.work(agent).await? {}
            self.exchange(agent).await?;
        }
        self.activate().await.map(drop)
    }
}
