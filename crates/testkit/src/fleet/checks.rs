//! The promises that every history must keep.

use std::collections::BTreeMap;

use agent_wire::{FromServer, JobReport, Order as SignedText, OrderBody, StepStatus as Reported};
use anyhow::Context;
use aws_wire::ssm::DescribeInstanceInformationRequest;
use commands::{Command, EndState, Invocation, InvocationState, OpenState, StepStatus, Tally};
use control::settings::HEARTBEAT_SECONDS;
use identifiers::{CommandId, NodeId, Timestamp};
use store::{AuditQuery, CommandQuery, InvocationQuery, Order};

use super::{SimulatedAgent, SimulatedFleet, home};

/// More rows than any history has.
const ROWS_MAX: u32 = 1_000_000;

/// A state as the log of events tells it.
struct Replay {
    states: BTreeMap<(CommandId, NodeId), InvocationState>,
    broken: Vec<String>,
}

impl SimulatedFleet {
    /// The promises that the history broke, each as a sentence; they are complete only after [`SimulatedFleet::heal`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn violations(&self) -> anyhow::Result<Vec<String>> {
        let mut broken = self.world.broken.clone();
        broken.extend(self.jobs_that_ran_twice());
        broken.extend(self.broken_in_the_log().await?);
        for command in self.commands.iter().filter(|command| !self.world.forgotten.contains(command)) {
            broken.extend(self.broken_by(command).await?);
        }
        broken.extend(self.broken_in_reports().await?);
        broken.extend(self.shown_on_line_in_error().await?);
        broken.extend(self.shown_lost_in_error().await?);
        for agent in self.agents.iter().filter(|agent| agent.spooled() > 0) {
            broken.push(format!("{} still has {} messages to tell", agent.name(), agent.spooled()));
        }
        Ok(broken)
    }

    /// In which states the invocations are, and how many in each.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn invocation_states(&self) -> anyhow::Result<BTreeMap<InvocationState, usize>> {
        let mut states = BTreeMap::new();
        for row in self.ground.store.invocation_list(&home()?, &InvocationQuery::all(ROWS_MAX)).await? {
            *states.entry(row.row.state).or_default() += 1;
        }
        Ok(states)
    }

    fn jobs_that_ran_twice(&self) -> Vec<String> {
        let twice = self.world.begun.iter().filter(|(_, times)| **times > 1);
        twice.map(|((job, step), times)| format!("step {step} of job {job} was begun {times} times")).collect()
    }

    /// Nodes that are shown as Online although nothing was heard of them for two and a half heartbeats. After a jump of the
    /// clock it may take twice as long.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn shown_on_line_in_error(&self) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        for (id, agent, on_line) in self.shown_states().await? {
            let heard_at = agent.and_then(|agent| self.world.heard_at.get(&agent)).copied().unwrap_or(i64::MIN / 2);
            let patience = i64::from(HEARTBEAT_SECONDS) * 5 / 2;
            let silent = self.steady - heard_at.max(self.world.jumped_at + patience);
            if on_line && silent > patience {
                broken.push(format!("{id} is shown as Online after {silent} s of silence"));
            }
        }
        Ok(broken)
    }

    /// Nodes that are shown as lost although they are connected and everything goes well for more than a heartbeat.
    async fn shown_lost_in_error(&self) -> anyhow::Result<Vec<String>> {
        let settled = self.steady - self.world.jumped_at > i64::from(HEARTBEAT_SECONDS);
        let lost = self.shown_states().await?.into_iter().filter(|(_, agent, on_line)| {
            let connected = agent.and_then(|agent| self.agents.get(agent)).is_some_and(SimulatedAgent::is_on_line);
            settled && connected && !on_line
        });
        Ok(lost.map(|(id, ..)| format!("{id} is connected, but shown as lost")).collect())
    }

    /// Each node, whose it is, and whether it is shown as Online; none where no server can show them.
    async fn shown_states(&self) -> anyhow::Result<Vec<(String, Option<usize>, bool)>> {
        let mut shown = Vec::new();
        let Some(server) = self.well() else { return Ok(shown) };
        let mut next_token = None;
        loop {
            let request = DescribeInstanceInformationRequest {
                next_token: next_token.take(),
                ..DescribeInstanceInformationRequest::default()
            };
            let answer = control::perform(&self.context_of(server)?, request).await?;
            for node in answer.instance_information_list.unwrap_or_default() {
                let id = node.instance_id.unwrap_or_default();
                let agent = self.agents.iter().position(|agent| agent.node_id().is_some_and(|n| n.as_str() == id));
                shown.push((id, agent, node.ping_status.as_deref() == Some("Online")));
            }
            next_token = answer.next_token;
            if next_token.is_none() {
                return Ok(shown);
            }
        }
    }

    /// Nothing is begun any more of what has ended: an order to run is of an invocation that is open.
    pub(super) async fn look_at_order(&mut self, message: &FromServer) -> anyhow::Result<()> {
        let FromServer::Order(signed) = message else { return Ok(()) };
        let OrderBody::Run(job) = agent_wire::read::<SignedText>(&signed.payload)?.body else { return Ok(()) };
        let found = self.ground.store.invocation_get_by_job(&home()?, &job.job_id).await?;
        match found.map(|found| found.row.state) {
            Some(InvocationState::Open(_)) => {}
            state => {
                let name = self.command_name(&job.command_id);
                self.world.broken.push(format!("{name} is ordered although it is {state:?}"));
            }
        }
        Ok(())
    }

    async fn command_rows(&self) -> anyhow::Result<BTreeMap<CommandId, Command>> {
        let rows = self.ground.store.command_list(&home()?, &CommandQuery::all(ROWS_MAX)).await?;
        Ok(rows.into_iter().map(|versioned| (versioned.row.command_id.clone(), versioned.row)).collect())
    }

    /// A command's row.
    ///
    /// # Errors
    /// When there is no such command.
    pub async fn command_row(&self, command: &CommandId) -> anyhow::Result<Command> {
        self.ground.store.command_get(&home()?, command).await?.row.context("no such command")
    }

    /// A command's invocations.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn invocation_rows(&self, command: &CommandId) -> anyhow::Result<Vec<Invocation>> {
        let query = InvocationQuery { command_id: Some(command.clone()), ..InvocationQuery::all(ROWS_MAX) };
        let rows = self.ground.store.invocation_list(&home()?, &query).await?;
        Ok(rows.into_iter().map(|versioned| versioned.row).collect())
    }

    /// Whether no command is open and nobody has anything to tell.
    pub(super) async fn is_quiet(&self) -> anyhow::Result<bool> {
        let open = self.ground.store.command_list_open(&home()?, None, 1).await?;
        Ok(open.is_empty() && self.agents.iter().all(|agent| agent.spooled() == 0))
    }

    /// When the last deadline of an open command passes.
    pub(super) async fn latest_expiry(&self) -> anyhow::Result<Option<Timestamp>> {
        let open = self.ground.store.command_list_open(&home()?, None, ROWS_MAX).await?;
        Ok(open.iter().map(|command| command.row.expires_at).max())
    }

    /// Replays the events in the order of their commits: ends are ends, and neither limit is ever passed.
    async fn broken_in_the_log(&self) -> anyhow::Result<Vec<String>> {
        let commands = self.command_rows().await?;
        let mut replay = Replay { states: BTreeMap::new(), broken: Vec::new() };
        let mut finished: BTreeMap<String, u32> = BTreeMap::new();
        for command in commands.keys() {
            for row in self.invocation_rows(command).await? {
                replay.states.insert((command.clone(), row.node_id), InvocationState::PENDING);
            }
        }
        for entry in self.ground.store.event_list(&home()?, 0, ROWS_MAX).await? {
            let event = entry.event;
            match event.kind.as_str() {
                "command.finished" => *finished.entry(event.subject.clone()).or_default() += 1,
                "command.invocation.changed" | "command.invocation.finished" => {
                    let text = |name: &str| event.body.get(name).and_then(|value| value.as_str()).unwrap_or_default();
                    let command = CommandId::parse(text("command"))?;
                    let state = InvocationState::parse(text("state"));
                    if let (Some(row), Some(state)) = (commands.get(&command), state) {
                        replay.moves(row, NodeId::parse(&event.subject)?, state);
                    }
                }
                _ => {}
            }
        }
        for (command, times) in finished.iter().filter(|(_, times)| **times > 1) {
            replay.broken.push(format!("command {command} came to its end {times} times"));
        }
        Ok(replay.broken)
    }

    async fn broken_by(&self, id: &CommandId) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        let name = self.command_name(id);
        let Some(command) = self.ground.store.command_get(&home()?, id).await?.row else {
            return Ok(vec![format!("{name} is gone")]);
        };
        let invocations = self.invocation_rows(id).await?;
        let tally = Tally::of(&invocations);
        let counted =
            (command.target_count, command.completed_count, command.error_count, command.delivery_timed_out_count);
        if counted != (tally.total, tally.completed(), tally.errors(), tally.delivery_timed_out) {
            broken.push(format!("{name} counts {counted:?}, but its invocations are {tally:?}"));
        }
        if self.clock.now() >= command.expires_at && !command.state.is_ended() {
            broken.push(format!("{name} is {} after its expiry", command.state));
        }
        let ended_early = command.state.is_ended() && invocations.iter().any(|row| !row.state.is_ended());
        if ended_early {
            broken.push(format!("{name} is {} while some of it is open", command.state));
        }
        let (_, most) = self.world.at_work.get(id).copied().unwrap_or_default();
        let limit = command.max_concurrency.concurrency(command.target_count);
        if most > limit {
            broken.push(format!("{name}: {most} nodes worked on it at once, {limit} may"));
        }
        for invocation in &invocations {
            broken.extend(self.broken_by_result(&command, invocation).await?);
        }
        let asked = AuditQuery {
            action: Some("ssm:SendCommand".to_owned()),
            resource: Some(home()?.ssm_arn(&format!("command/{id}"))),
            order: Order::OldestFirst,
            ..AuditQuery::all(ROWS_MAX)
        };
        if self.ground.store.audit_list(&home()?, &asked).await?.len() != 1 {
            broken.push(format!("{name} has not exactly one audit record"));
        }
        Ok(broken)
    }

    /// A result that an agent made is the invocation's, unless its time was over before it came.
    async fn broken_by_result(&self, command: &Command, invocation: &Invocation) -> anyhow::Result<Vec<String>> {
        let agent = self.agents.iter().find(|agent| agent.node_id() == Some(&invocation.node_id));
        let Some(agent) = agent.filter(|_| !self.world.cut_short.contains(&command.command_id)) else {
            return Ok(Vec::new());
        };
        let Some(report) = agent.journal.get(&invocation.job_id).and_then(|job| job.report.as_ref()) else {
            return Ok(match invocation.state {
                InvocationState::Ended(EndState::Success | EndState::Failed | EndState::ExecutionTimedOut) => {
                    vec![format!(
                        "{} on {} has a result that no agent made",
                        self.command_name(&command.command_id),
                        agent.name()
                    )]
                }
                _ => Vec::new(),
            });
        };
        let too_late = invocation.state == InvocationState::Ended(EndState::DeliveryTimedOut)
            && invocation.finished_at.is_some_and(|at| at >= invocation.expires_at);
        if too_late {
            return Ok(Vec::new());
        }
        let place = format!("{} on {}", self.command_name(&command.command_id), agent.name());
        let expected = InvocationState::Ended(end_of(report));
        if invocation.state != expected {
            return Ok(vec![format!("{place} is {}, but the agent reported {expected}", invocation.state)]);
        }
        let mut broken = Vec::new();
        let outputs = self.ground.store.step_output_list(&home()?, &command.command_id, &invocation.node_id).await?;
        for step in &report.steps {
            let kept = outputs.iter().find(|output| output.step == step.name);
            let same = kept.is_some_and(|output| output.stdout == step.stdout && output.stderr == step.stderr);
            if !same {
                broken.push(format!("{place}: step {} wrote {:?}, kept is {kept:?}", step.name, step.stdout));
            }
            let status = invocation.steps.iter().find(|known| known.name == step.name).map(|known| known.status);
            if status != Some(status_of(step.status)) {
                broken.push(format!("{place}: step {} ended as {:?}, shown is {status:?}", step.name, step.status));
            }
        }
        Ok(broken)
    }

    /// Each patch run is kept once, and the inventory kept is the one that was told last.
    async fn broken_in_reports(&self) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        let scope = home()?;
        for (number, agent) in self.agents.iter().enumerate() {
            let Some(node) = agent.node_id() else { continue };
            let kept = self.ground.store.patch_report_list(&scope, node, None, ROWS_MAX).await?.len();
            let made = self.world.patch_reports.get(&number).copied().unwrap_or_default();
            // What a backup did not have is forgotten; what it had is not doubled.
            if kept != made && !(self.world.was_restored && kept < made) {
                broken.push(format!("{} made {made} patch reports, {kept} are kept", agent.name()));
            }
            let stored = self.ground.store.inventory_get(&scope, node).await?.map(|inventory| inventory.digest());
            if stored != agent.inventory_digest() {
                broken.push(format!("the inventory of {} is not the one it told last", agent.name()));
            }
        }
        Ok(broken)
    }
}

impl Replay {
    fn moves(&mut self, command: &Command, node: NodeId, to: InvocationState) {
        let id = &command.command_id;
        let key = (id.clone(), node);
        let from = self.states.insert(key.clone(), to).unwrap_or(InvocationState::PENDING);
        if from.is_ended() {
            self.broken.push(format!("{id} on {}: {from} was left for {to}", key.1));
        }
        let tally = |states: &BTreeMap<(CommandId, NodeId), InvocationState>| {
            let mut tally = Tally::default();
            states.iter().filter(|((command, _), _)| command == id).for_each(|(_, state)| tally.add(*state, 1));
            tally
        };
        let now = tally(&self.states);
        let limit = command.max_concurrency.concurrency(command.target_count);
        if now.in_flight > limit {
            self.broken.push(format!("{id}: {} in flight, {limit} allowed", now.in_flight));
        }
        let started = from == InvocationState::PENDING && to == InvocationState::Open(OpenState::Sent);
        if started && now.errors() > command.max_errors.errors(command.target_count) {
            self.broken.push(format!("{id} was started on {} after {} errors", key.1, now.errors()));
        }
    }
}

fn status_of(reported: Reported) -> StepStatus {
    match reported {
        Reported::Success => StepStatus::Success,
        Reported::Failed | Reported::Interrupted => StepStatus::Failed,
        Reported::TimedOut => StepStatus::TimedOut,
        Reported::Cancelled => StepStatus::Cancelled,
        Reported::Skipped => StepStatus::Skipped,
    }
}

/// Failed before timed out before cancelled before success.
fn end_of(report: &JobReport) -> EndState {
    let any = |wanted: StepStatus| report.steps.iter().any(|step| status_of(step.status) == wanted);
    match () {
        () if any(StepStatus::Failed) => EndState::Failed,
        () if any(StepStatus::TimedOut) => EndState::ExecutionTimedOut,
        () if any(StepStatus::Cancelled) => EndState::Cancelled,
        () => EndState::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use commands::{CommandState, RateLimit};
    use identifiers::{DocumentName, SeededIds};

    fn command(at_once: u32, errors: u32) -> Command {
        let at = Timestamp::EPOCH;
        Command {
            command_id: CommandId::generate(&mut SeededIds::new(1)),
            document_name: DocumentName::parse("AWS-RunShellScript").unwrap(),
            document_version: String::new(),
            document_version_resolved: "1".to_owned(),
            comment: String::new(),
            parameters: BTreeMap::new(),
            instance_ids: Vec::new(),
            targets: Vec::new(),
            delivery_timeout_seconds: 60,
            execution_timeout_seconds: 60,
            requested_at: at,
            delivery_until: at,
            expires_at: at,
            max_concurrency: RateLimit::Count(at_once),
            max_errors: RateLimit::Count(errors),
            state: CommandState::InProgress,
            target_count: 3,
            completed_count: 0,
            error_count: 0,
            delivery_timed_out_count: 0,
            cancel_requested_at: None,
            finished_at: None,
            requested_by: String::new(),
            request_id: String::new(),
        }
    }

    /// What is said of nodes that move to these states, one after the other.
    fn said(command: &Command, moves: &[(u32, InvocationState)]) -> Vec<String> {
        let mut replay = Replay { states: BTreeMap::new(), broken: Vec::new() };
        for (node, to) in moves {
            replay.moves(command, NodeId::parse(&format!("mi-{node:017x}")).unwrap(), *to);
        }
        replay.broken
    }

    #[test]
    fn a_log_that_breaks_a_promise_is_told_from_one_that_keeps_it() {
        let sent = InvocationState::Open(OpenState::Sent);
        let ended = InvocationState::Ended;
        let (success, failed) = (ended(EndState::Success), ended(EndState::Failed));
        for (at_once, errors, moves, words) in [
            (1, 0, &[(1, sent), (1, success), (2, sent), (2, success)][..], None),
            (1, 0, &[(1, sent), (2, sent)], Some("2 in flight, 1 allowed")),
            (2, 0, &[(1, sent), (2, sent), (1, failed), (2, success)], None),
            (1, 0, &[(1, sent), (1, failed), (2, sent)], Some("after 1 errors")),
            (1, 1, &[(1, sent), (1, failed), (2, sent)], None),
            (1, 0, &[(1, sent), (1, success), (1, failed)], Some("Success was left for Failed")),
        ] {
            let said = said(&command(at_once, errors), moves);
            assert_eq!(said.len(), usize::from(words.is_some()), "{said:?}");
            assert!(said.iter().all(|text| text.contains(words.unwrap())), "{said:?}");
        }
    }
}
