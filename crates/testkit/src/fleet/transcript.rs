//! The history as lines for people.

use std::path::Path;

use agent_wire::{FromServer, Order, OrderBody, ToServerBody};
use anyhow::{Context, bail};
use identifiers::{CommandId, JobId};

use super::{BEGINS_AT_SECONDS, SimulatedFleet};

/// Set to 1, it makes [`compare_transcript`] write the file anew.
const VARIABLE: &str = "CAREEN_WRITE_TRANSCRIPTS";

/// Compares a transcript with a committed file, line by line.
///
/// # Errors
/// With the first line that differs; with `CAREEN_WRITE_TRANSCRIPTS=1` the file is written instead.
pub fn compare_transcript(path: &Path, transcript: &[String]) -> anyhow::Result<()> {
    let text = format!("{}\n", transcript.join("\n"));
    if std::env::var(VARIABLE).is_ok_and(|value| value == "1") {
        return std::fs::write(path, text).with_context(|| path.display().to_string());
    }
    let committed =
        std::fs::read_to_string(path).with_context(|| format!("{}: set {VARIABLE}=1 to write it", path.display()))?;
    if committed == text {
        return Ok(());
    }
    let at = committed.lines().zip(text.lines()).position(|(one, other)| one != other);
    let at = at.unwrap_or_else(|| committed.lines().count().min(text.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    bail!(
        "{} differs at line {}:\n  committed: {}\n  now:       {}\nIf the new history is right, run the test with {VARIABLE}=1.",
        path.display(),
        at + 1,
        line(&committed),
        line(&text)
    )
}

impl SimulatedFleet {
    /// The history so far.
    #[must_use]
    pub fn transcript(&self) -> &[String] {
        &self.transcript
    }

    /// Adds a line of a test's own.
    pub fn note(&mut self, text: impl std::fmt::Display) {
        let seconds = self.clock.now().as_seconds() - BEGINS_AT_SECONDS;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        self.transcript.push(format!("+{hours:02}:{minutes:02}:{seconds:02}  {text}"));
    }

    /// What a command is called in transcripts.
    pub(super) fn command_name(&self, command: &CommandId) -> String {
        match self.commands.iter().position(|known| known == command) {
            Some(at) => format!("command-{}", at + 1),
            None => "an unknown command".to_owned(),
        }
    }

    /// What a job is called in transcripts: its command, for on one node a command is one job.
    fn job_name(&self, agent: usize, job: &JobId) -> String {
        let written = self.agents.get(agent).and_then(|agent| agent.journal.get(job));
        written.map_or_else(|| "a job it has not".to_owned(), |written| self.command_name(&written.job.command_id))
    }

    pub(super) fn agent_name(&self, agent: usize) -> String {
        self.agents.get(agent).map_or_else(String::new, |agent| agent.name().to_owned())
    }

    pub(super) fn note_to_server(&mut self, agent: usize, id: u64, body: &ToServerBody) {
        let text = match body {
            // They would drown the rest.
            ToServerBody::Heartbeat { .. } | ToServerBody::Output(_) => return,
            ToServerBody::Facts(_) => "facts".to_owned(),
            ToServerBody::JobAccepted { job_id } => format!("accepts {}", self.job_name(agent, job_id)),
            ToServerBody::JobRefused { job_id, reason, .. } => {
                format!("refuses {}: {reason}", self.job_name(agent, job_id))
            }
            ToServerBody::StepStarted { job_id, step, .. } => {
                format!("has begun {} of {}", step, self.job_name(agent, job_id))
            }
            ToServerBody::JobFinished(report) => {
                let steps: Vec<String> = report
                    .steps
                    .iter()
                    .map(|step| format!("{} {:?} ({})", step.name, step.status, step.exit_code))
                    .collect();
                format!("has finished {}: {}", self.command_name(&report.command_id), steps.join(", "))
            }
            ToServerBody::PatchRun(run) => {
                let summary = &run.report.summary;
                let (missing, installed) = (summary.missing_count, summary.installed_count);
                format!("reports {}: {missing} missing, {installed} installed", self.command_name(&run.command_id))
            }
            ToServerBody::Inventory(report) => {
                let whole = if report.from_digest.is_none() { "the whole inventory" } else { "what changed" };
                format!("tells {whole}: {} packages", report.present.len())
            }
            ToServerBody::OrderRefused { reason, .. } => format!("refuses an order: {reason}"),
            ToServerBody::TrustKept { serial, .. } => format!("keeps the announced keys ({serial})"),
            ToServerBody::NodeKey { .. } => "names its next key".to_owned(),
            ToServerBody::ImpostorMet { reason, .. } => format!("has met an impostor: {reason}"),
            ToServerBody::Unknown => "something unknown".to_owned(),
        };
        self.note(format!("{} -> server  [{id}] {text}", self.agent_name(agent)));
    }

    pub(super) fn note_to_agent(&mut self, agent: usize, message: &FromServer) {
        let text = match message {
            FromServer::Acknowledged { id } => format!("[{id}] acknowledged"),
            FromServer::Unsupported { id } => format!("[{id}] unsupported"),
            FromServer::Trust(_) => "announces its keys".to_owned(),
            FromServer::InventoryWanted => "wants the whole inventory".to_owned(),
            FromServer::OutputWindow(_) => return,
            FromServer::Unknown => "something unknown".to_owned(),
            FromServer::Order(signed) => match agent_wire::read::<Order>(&signed.payload).map(|order| order.body) {
                Ok(OrderBody::Run(job)) => format!("orders {}", self.command_name(&job.command_id)),
                Ok(OrderBody::Cancel { job_id }) => format!("cancels {}", self.job_name(agent, &job_id)),
                Err(_) => "an order that cannot be read".to_owned(),
            },
        };
        self.note(format!("server -> {}  {text}", self.agent_name(agent)));
    }
}
