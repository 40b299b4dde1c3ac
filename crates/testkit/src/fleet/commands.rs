//! What people ask for, and what agents make of it.

use std::collections::BTreeMap;

use agent_wire::{Step, StepAction, StepStatus};
use anyhow::{Context, ensure};
use aws_wire::Sensitive;
use aws_wire::ssm::{CancelCommandRequest, SendCommandRequest, Target};
use identifiers::{CommandId, IdSource, JobId, SeededIds, Timestamp};

use store::CommandQuery;

use super::jobs::{Next, StepEnd};
use super::{SimulatedFleet, home};

/// A command to be sent to every registered node, or to some.
#[derive(Debug, Clone)]
pub struct Sending {
    /// The document.
    pub document: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Agents by their place; `None`: every registered node.
    pub agents: Option<Vec<usize>>,
    /// As in `SendCommand`.
    pub max_concurrency: Option<String>,
    /// As in `SendCommand`.
    pub max_errors: Option<String>,
    /// How long a node has to take it.
    pub timeout_seconds: Option<i32>,
}

impl Sending {
    fn new(document: &str, parameters: &[(&str, &str)]) -> Self {
        let parameter = |(name, value): &(&str, &str)| ((*name).to_owned(), vec![(*value).to_owned()]);
        Self {
            document: document.to_owned(),
            parameters: parameters.iter().map(parameter).collect(),
            agents: None,
            max_concurrency: None,
            max_errors: None,
            timeout_seconds: None,
        }
    }

    /// A script of one line. Simulated agents understand `exit N`, `hang` (until its time is over); all else succeeds. It may
    /// run ten minutes.
    #[must_use]
    pub fn shell(line: &str) -> Self {
        Self::new("AWS-RunShellScript", &[("commands", line), ("executionTimeout", "600")])
    }

    /// A patch run: `Scan` or `Install`.
    #[must_use]
    pub fn patch(operation: &str) -> Self {
        Self::new("AWS-RunPatchBaseline", &[("Operation", operation), ("RebootOption", "NoReboot")])
    }

    /// To these agents alone.
    #[must_use]
    pub fn to(self, agents: &[usize]) -> Self {
        Self { agents: Some(agents.to_vec()), ..self }
    }

    /// So many at once, and so many errors borne.
    #[must_use]
    pub fn rate(self, max_concurrency: &str, max_errors: &str) -> Self {
        Self { max_concurrency: Some(max_concurrency.to_owned()), max_errors: Some(max_errors.to_owned()), ..self }
    }

    /// So long to take it.
    #[must_use]
    pub fn within_seconds(self, seconds: i32) -> Self {
        Self { timeout_seconds: Some(seconds), ..self }
    }

    fn rate_text(&self) -> String {
        match (&self.max_concurrency, &self.max_errors) {
            (None, None) => String::new(),
            (at_once, errors) => format!(
                ", {} at once, {} errors borne",
                at_once.as_deref().unwrap_or("50"),
                errors.as_deref().unwrap_or("0")
            ),
        }
    }
}

impl SimulatedFleet {
    /// Sends a command as the administrator.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn send(&mut self, sending: &Sending) -> anyhow::Result<CommandId> {
        self.send_to(0, sending).await
    }

    /// Sends a command to whichever server listens. `None`: a fault explains that none took it, or none said so.
    ///
    /// # Errors
    /// When a server refuses it that nothing is wrong with.
    pub async fn try_to_send(&mut self, sending: &Sending) -> anyhow::Result<Option<CommandId>> {
        let Some(server) = self.chance.pick(&self.listening()).copied() else { return Ok(None) };
        let sent = self.send_to(server, sending).await;
        let sent = self.excuse(server, "sending a command", sent).await?;
        if sent.is_none() {
            self.find_commands().await?;
        }
        Ok(sent)
    }

    /// A command that was kept although nobody was told so is a command.
    async fn find_commands(&mut self) -> anyhow::Result<()> {
        let rows = self.ground.store.command_list(&home()?, &CommandQuery::all(1000)).await?;
        for id in rows.into_iter().rev().map(|versioned| versioned.row.command_id) {
            if !self.commands.contains(&id) {
                self.commands.push(id.clone());
                let name = self.command_name(&id);
                self.note(format!("{name} was kept all the same"));
            }
        }
        Ok(())
    }

    async fn send_to(&mut self, server: usize, sending: &Sending) -> anyhow::Result<CommandId> {
        let mut request = SendCommandRequest {
            document_name: Some(sending.document.clone()),
            parameters: Some(Sensitive::from(sending.parameters.clone())),
            max_concurrency: sending.max_concurrency.clone(),
            max_errors: sending.max_errors.clone(),
            timeout_seconds: sending.timeout_seconds,
            ..SendCommandRequest::default()
        };
        match &sending.agents {
            None => {
                let every = Target { key: Some("InstanceIds".to_owned()), values: Some(vec!["*".to_owned()]) };
                request.targets = Some(vec![every]);
            }
            Some(agents) => {
                let mut nodes = Vec::new();
                for agent in agents {
                    nodes.push(self.agent(*agent)?.node_id().context("not registered")?.to_string());
                }
                request.instance_ids = Some(nodes);
            }
        }
        let sent = control::perform(&self.context_of(server)?, request).await?.command.context("no command")?;
        ensure!(!self.replica(server)?.server.store.has_ended(), "the server has died");
        let id = CommandId::parse(sent.command_id.as_deref().unwrap_or_default())?;
        self.commands.push(id.clone());
        let (name, targets) = (self.command_name(&id), sent.target_count.unwrap_or_default());
        self.note(format!("{name} is sent: {} to {targets} nodes{}", sending.document, sending.rate_text()));
        self.sweep_links().await?;
        Ok(id)
    }

    /// Cancels a command as the administrator.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn cancel(&mut self, command: &CommandId) -> anyhow::Result<()> {
        self.cancel_at(0, command).await
    }

    /// Cancels a command at whichever server listens, which a fault may keep from doing it.
    pub(super) async fn try_to_cancel(&mut self, command: &CommandId) -> anyhow::Result<()> {
        let Some(server) = self.chance.pick(&self.listening()).copied() else { return Ok(()) };
        let cancelled = self.cancel_at(server, command).await;
        let what = format!("cancelling {}", self.command_name(command));
        self.excuse(server, &what, cancelled).await.map(drop)
    }

    async fn cancel_at(&mut self, server: usize, command: &CommandId) -> anyhow::Result<()> {
        let request = CancelCommandRequest { command_id: Some(command.to_string()), instance_ids: None };
        control::perform(&self.context_of(server)?, request).await?;
        let name = self.command_name(command);
        self.note(format!("{name} is cancelled"));
        self.sweep_links().await
    }

    /// Writes into the transcript how far a command is, on each of its nodes.
    ///
    /// # Errors
    /// When there is no such command.
    pub async fn note_command(&mut self, command: &CommandId) -> anyhow::Result<()> {
        let row = self.command_row(command).await?;
        let mut nodes = Vec::new();
        for invocation in self.invocation_rows(command).await? {
            let agent = self.agents.iter().find(|agent| agent.node_id() == Some(&invocation.node_id));
            let name = agent.map_or_else(|| invocation.node_id.to_string(), |agent| agent.name().to_owned());
            nodes.push(format!("{name} {}", invocation.state));
        }
        nodes.sort();
        let (done, all, errors) = (row.completed_count, row.target_count, row.error_count);
        let (name, state) = (self.command_name(command), row.state);
        self.note(format!("{name} is {state}: {done} of {all} done, {errors} errors; {}", nodes.join(", ")));
        Ok(())
    }

    /// The jobs that an agent may go on with now: five scripts at once, one patch operation.
    pub(super) fn workable(&self, agent: usize) -> Vec<JobId> {
        let Some(agent) = self.agents.get(agent) else { return Vec::new() };
        if self.steady < agent.powered_at {
            return Vec::new();
        }
        let mut open: Vec<_> = agent.journal.values().filter(|job| job.report.is_none()).collect();
        open.sort_by_key(|job| job.place);
        let running = open.iter().filter(|job| job.runs() && !job.patches()).count();
        let first_patch = open.iter().find(|job| job.patches()).map(|job| job.place);
        let may = |job: &super::jobs::WrittenJob| match job.patches() {
            true => first_patch == Some(job.place),
            false => job.runs() || running < 5,
        };
        open.into_iter().filter(|job| may(job)).map(|job| job.job.job_id.clone()).collect()
    }

    /// An agent goes on with its first job: begins a step, or ends the one that runs. `false`: there is nothing to do.
    ///
    /// # Errors
    /// When there is no such agent.
    pub async fn work(&mut self, agent: usize) -> anyhow::Result<bool> {
        match self.workable(agent).first().cloned() {
            None => Ok(false),
            Some(job) => self.work_on(agent, &job).await.map(|()| true),
        }
    }

    pub(super) async fn work_on(&mut self, agent: usize, job_id: &JobId) -> anyhow::Result<()> {
        let (wall, steady) = (self.wall(agent)?, self.steady);
        loop {
            let next = {
                let agent = self.agent_mut(agent)?;
                let judged = agent.clock.now(wall, steady);
                agent.journal.get_mut(job_id).map_or(Next::Nothing, |job| job.next(wall, judged))
            };
            match next {
                Next::Again => continue,
                Next::Nothing => break,
                Next::Begin(step) => {
                    *self.world.begun.entry((job_id.clone(), step.name.clone())).or_default() += 1;
                    if let Some(job) = self.agent_mut(agent)?.journal.get_mut(job_id) {
                        job.begin_step(wall, steady);
                    }
                    return self.tell_of(agent, job_id).await;
                }
                Next::End(step, since, begun) => self.end(agent, job_id, &step, (since, begun))?,
            }
        }
        let report = self.agent(agent)?.journal.get(job_id).and_then(|job| job.report.as_ref());
        let command = report.map(|report| report.command_id.clone());
        if let Some((at_work, _)) = command.and_then(|command| self.world.at_work.get_mut(&command)) {
            *at_work = at_work.saturating_sub(1);
        }
        self.tell_of(agent, job_id).await
    }

    /// An agent whose process runs tells what is new of a job; it may die over it.
    async fn tell_of(&mut self, agent: usize, job_id: &JobId) -> anyhow::Result<()> {
        if self.agent(agent)?.is_down {
            return Ok(());
        }
        let (wall, permille) = (self.wall(agent)?, self.faults.agent_dies_permille);
        let mut chance = self.chance.clone();
        let lives = self.agent_mut(agent)?.deliver(job_id, wall, &mut || chance.happens(permille));
        self.chance = chance;
        match lives {
            true => self.flush(agent),
            false => self.agent_dies(agent).await,
        }
    }

    fn end(&mut self, agent: usize, job_id: &JobId, step: &Step, since: (Timestamp, i64)) -> anyhow::Result<()> {
        let (now, steady) = (self.wall(agent)?, self.steady);
        let fails = self.chance.happens(self.faults.step_fails_permille);
        let report_id = SeededIds::new(self.chance.below(usize::MAX) as u64).uuid();
        let times = self.world.begun.get(&(job_id.clone(), step.name.clone())).copied().unwrap_or_default();
        let name = self.agent_name(agent);
        let simulated = self.agent_mut(agent)?;
        let Some(job) = simulated.journal.get(job_id) else { return Ok(()) };
        let (cancelled, command_id, place) = (job.is_cancelled(), job.job.command_id.clone(), job.at());
        let mut found = None;
        let end = match &step.action {
            StepAction::Patch(patch) => {
                let run = simulated.host.patch(patch, (job_id, &command_id), report_id, since.0, now);
                found = place.map(|place| (place, Box::new(run)));
                *self.world.patch_reports.entry(agent).or_default() += 1;
                StepEnd { status: StepStatus::Success, exit_code: 0, stdout: String::new(), stderr: String::new() }
            }
            StepAction::RunShellScript { .. } if cancelled => {
                StepEnd::without_running(StepStatus::Cancelled, "Cancelled.")
            }
            StepAction::RunShellScript { lines, .. } => {
                let late = steady - since.1 >= i64::from(step.timeout_seconds);
                script_end(lines, &format!("{name} ran {job_id} {times} time(s)\n"), late, fails)
            }
            StepAction::Skip { reason } => StepEnd::without_running(StepStatus::Skipped, reason),
        };
        if let Some(job) = self.agent_mut(agent)?.journal.get_mut(job_id) {
            job.runs.extend(found);
            job.end_step(end, now);
        }
        Ok(())
    }
}

fn script_end(lines: &[String], stdout: &str, late: bool, fails: bool) -> StepEnd {
    let line = lines.first().map(String::as_str).unwrap_or_default();
    let exit_code = match line.strip_prefix("exit ").and_then(|code| code.trim().parse().ok()) {
        Some(code) => code,
        None => i32::from(fails),
    };
    let status = match exit_code {
        _ if late || line == "hang" => StepStatus::TimedOut,
        0 => StepStatus::Success,
        _ => StepStatus::Failed,
    };
    let exit_code = if status == StepStatus::TimedOut { -1 } else { exit_code };
    StepEnd { status, exit_code, stdout: stdout.to_owned(), stderr: String::new() }
}
