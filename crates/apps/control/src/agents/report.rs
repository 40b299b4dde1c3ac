//! What a node found: patch runs and inventories.

use std::sync::Arc;

use agent_wire::{FromServer, InventoryReport, PatchRunReport};
use changes::{Changes, Event, Versioned};
use identifiers::Timestamp;
use patching::{PatchReport, PreviousReport};
use store::{
    ApplyError, IdempotencyRow, InventoryApply, InventoryWrite, OfferedVersion, PatchQuery, RecordWrite, Write,
};

use super::{AgentSession, inbox::Kept};
use crate::{Error, Server, commit::ATTEMPTS_MAX};

/// More patches than a host has packages.
const ROWS_MAX: u32 = 1_000_000;

impl Server {
    /// Keeps the result of a scan or an installation.
    pub(super) async fn keep_patch_run(
        self: &Arc<Self>,
        session: &AgentSession,
        run: PatchRunReport,
    ) -> Result<Kept, Error> {
        let invocation = self.store.invocation_get(&session.scope, &run.command_id, &session.node_id).await?;
        if invocation.row.is_none_or(|row| row.job_id != run.job_id) {
            return Ok(Kept::refused("a patch run of a job that this node was not given"));
        }
        for _ in 0..ATTEMPTS_MAX {
            let previous = self.previous_report(session, &run.report).await?;
            let mut changes: Changes<Write> =
                patching::record_report(&session.node_id, &run.command_id, &previous, &run.report).map(Write::from);
            changes.writes.push(Write::from(InventoryWrite::OfferedVersionsPut {
                distribution_id: self.distribution_id(session).await?,
                at: self.now(),
                versions: run.offered.iter().map(offered).collect(),
            }));
            changes.writes.push(Write::from(RecordWrite::IdempotencyPut(first_time(session, &run, self.now()))));
            changes.events.push(Event {
                at: self.now(),
                kind: "node.patches.reported".to_owned(),
                subject: session.node_id.to_string(),
                body: serde_json::to_value(&run.report.summary)?,
            });
            match self.store.apply(&session.scope, changes).await {
                Ok(_) | Err(ApplyError::Duplicate { .. }) => return Ok(Kept::done()),
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }

    async fn previous_report(
        &self,
        session: &AgentSession,
        _report: &PatchReport,
    ) -> Result<Versioned<Option<PreviousReport>>, Error> {
        let summary = self.store.patch_summary_get(&session.scope, &session.node_id).await?;
        let row = match summary.row {
            None => None,
            Some(last) => {
                let all = PatchQuery::all(ROWS_MAX);
                let rows = self.store.patch_list(&session.scope, &session.node_id, &all).await?;
                Some(PreviousReport { summary: last.summary, rows })
            }
        };
        Ok(Versioned { revision: summary.revision, row })
    }

    async fn distribution_id(&self, session: &AgentSession) -> Result<String, Error> {
        let node = self.store.node_get(&session.scope, &session.node_id).await?;
        Ok(node.row.map(|row| row.facts.distribution_id).unwrap_or_default())
    }

    /// Keeps an inventory or what changed in it. A delta that does not fit what is stored is dropped, and all of it asked for.
    pub(super) async fn keep_inventory(
        self: &Arc<Self>,
        session: &AgentSession,
        report: InventoryReport,
    ) -> Result<Kept, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let node = self.store.node_get(&session.scope, &session.node_id).await?;
            let Some(row) = node.row else { return Ok(Kept::refused("the inventory of a node that is gone")) };
            let found = Versioned { revision: node.revision, row };
            let noted = nodes::record_inventory(&found, &report.to_digest, report.at);
            let mut changes: Changes<Write> = noted.map(Write::from);
            changes.writes.push(self.hold_of(session));
            changes.writes.push(Write::from(InventoryWrite::Apply(Box::new(applied(session, report.clone())))));
            match self.store.apply(&session.scope, changes).await {
                Ok(_) | Err(ApplyError::Duplicate { .. }) => return Ok(Kept::done()),
                Err(ApplyError::Superseded { .. }) => {
                    self.sessions.gone(&session.node_id, session.epoch);
                    return Ok(Kept::overtaken());
                }
                Err(ApplyError::InventoryMismatch { .. }) => return Ok(Kept::answered(FromServer::InventoryWanted)),
                // Someone changed the node meanwhile; the agent would wait for minutes before it says this again.
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }
}

fn applied(session: &AgentSession, report: InventoryReport) -> InventoryApply {
    InventoryApply {
        node_id: session.node_id.clone(),
        at: report.at,
        command_id: report.command_id,
        from_digest: report.from_digest,
        to_digest: report.to_digest,
        distribution: report.distribution,
        present: report.present,
        absent: report.absent,
    }
}

/// What makes a report that comes twice count once. Its instants do not: those of a clock that is ahead are taken as the
/// present each time.
fn first_time(session: &AgentSession, run: &PatchRunReport, now: Timestamp) -> IdempotencyRow {
    IdempotencyRow {
        operation: "careen:ReportPatches".to_owned(),
        token: format!("{}/{}", session.node_id, run.report_id),
        request_digest: String::new(),
        result: serde_json::Value::Null,
        at: now,
    }
}

fn offered(version: &agent_wire::OfferedVersion) -> OfferedVersion {
    OfferedVersion {
        name: version.name.clone(),
        architecture: version.architecture.clone(),
        version: version.version.clone(),
    }
}
