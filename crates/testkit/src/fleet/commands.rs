//! What people ask for, and what agents make of it.

use std::collections::BTreeMap;

use agent_wire::{Step, StepAction, StepStatus, ToServerBody};
use anyhow::Context;
use aws_wire::Sensitive;
use aws_wire::ssm::{CancelCommandRequest, SendCommandRequest, Target};
use identifiers::{CommandId, IdSource, JobId, SeededIds, Timestamp};

use super::SimulatedFleet;
use super::jobs::{Next, StepEnd};

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
        let sent = control::perform(&self.context()?, request).await?.command.context("no command")?;
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
        let request = CancelCommandRequest { command_id: Some(command.to_string()), instance_ids: None };
        control::perform(&self.context()?, request).await?;
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
        let now = self.clock.now();
        loop {
            let next = {
                let agent = self.agent_mut(agent)?;
                agent.journal.get_mut(job_id).map_or(Next::Nothing, |job| job.next(now))
            };
            match next {
                Next::Again => continue,
                Next::Nothing => break,
                Next::Begin(step) => {
                    self.begin(agent, job_id, &step)?;
                    return self.flush(agent);
                }
                Next::End(step, since) => self.end(agent, job_id, &step, since)?,
            }
        }
        let report = self.agent(agent)?.journal.get(job_id).and_then(|job| job.report.clone());
        if let Some(report) = report {
            if let Some((at_work, _)) = self.world.at_work.get_mut(&report.command_id) {
                *at_work = at_work.saturating_sub(1);
            }
            self.agent_mut(agent)?.tell_result(report);
        }
        self.flush(agent)
    }

    fn begin(&mut self, agent: usize, job_id: &JobId, step: &Step) -> anyhow::Result<()> {
        let now = self.clock.now();
        *self.world.begun.entry((job_id.clone(), step.name.clone())).or_default() += 1;
        let agent = self.agent_mut(agent)?;
        if let Some(job) = agent.journal.get_mut(job_id) {
            job.begin_step(now);
        }
        agent.tell(ToServerBody::StepStarted { job_id: job_id.clone(), step: step.name.clone(), at: now });
        Ok(())
    }

    fn end(&mut self, agent: usize, job_id: &JobId, step: &Step, since: Timestamp) -> anyhow::Result<()> {
        let now = self.clock.now();
        let fails = self.chance.happens(self.faults.step_fails_permille);
        let report_id = SeededIds::new(self.chance.below(usize::MAX) as u64).uuid();
        let times = self.world.begun.get(&(job_id.clone(), step.name.clone())).copied().unwrap_or_default();
        let name = self.agent_name(agent);
        let agent_number = agent;
        let agent = self.agent_mut(agent)?;
        let Some(job) = agent.journal.get(job_id) else { return Ok(()) };
        let (cancelled, command_id) = (job.is_cancelled(), job.job.command_id.clone());
        let end = match &step.action {
            StepAction::Patch(patch) => {
                let run = agent.host.patch(patch, (job_id, &command_id), report_id, since, now);
                agent.note_inventory(Some(command_id), now);
                agent.tell(ToServerBody::PatchRun(Box::new(run)));
                *self.world.patch_reports.entry(agent_number).or_default() += 1;
                StepEnd { status: StepStatus::Success, exit_code: 0, stdout: String::new(), stderr: String::new() }
            }
            StepAction::RunShellScript { .. } if cancelled => {
                StepEnd::without_running(StepStatus::Cancelled, "Cancelled.")
            }
            StepAction::RunShellScript { lines, .. } => {
                let late = now.micros_since(since) >= i64::from(step.timeout_seconds) * 1_000_000;
                script_end(lines, &format!("{name} ran {job_id} {times} time(s)\n"), late, fails)
            }
            StepAction::Skip { reason } => StepEnd::without_running(StepStatus::Skipped, reason),
        };
        if let Some(job) = self.agent_mut(agent_number)?.journal.get_mut(job_id) {
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
