//! `careen audit`: the audit records, one JSON object a line, oldest first.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::Args;
use control::Server;
use identifiers::{AccountId, Region, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use store::{AuditEntry, AuditQuery, Order};
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{self, Answer, Question},
    configuration::data_folder,
};

/// How many records are read at once.
const BATCH_ROWS: u32 = 500;

/// The flags of `careen audit`.
#[derive(Args)]
pub(crate) struct AuditOptions {
    /// The server's data folder
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    data: Option<PathBuf>,
    /// Only records from this instant on, e.g. 2026-11-22T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records before this instant
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only this action, e.g. ssm:SendCommand
    #[arg(long)]
    action: Option<String>,
    /// Only this principal, e.g. key/AKIA… or console/root
    #[arg(long)]
    principal: Option<String>,
    /// Only this resource
    #[arg(long, value_name = "ARN")]
    resource: Option<String>,
    /// Only this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Another account than the server's own
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Another region than the server's own
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
}

/// The options as they travel.
#[derive(Serialize, Deserialize)]
pub(crate) struct AuditQuestion {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    action: Option<String>,
    principal: Option<String>,
    resource: Option<String>,
    request_id: Option<String>,
    account: Option<AccountId>,
    region: Option<Region>,
}

pub(crate) async fn run(options: AuditOptions) -> Result<()> {
    let instant = |name: &str, text: Option<String>| {
        text.map(|text| Timestamp::parse(&text)).transpose().with_context(|| format!("--{name}"))
    };
    let question = AuditQuestion {
        since: instant("since", options.since)?,
        until: instant("until", options.until)?,
        action: options.action,
        principal: options.principal,
        resource: options.resource,
        request_id: options.request_id,
        account: options.account.map(|text| AccountId::parse(&text)).transpose()?,
        region: options.region.map(|text| Region::parse(&text)).transpose()?,
    };
    admin::ask(&data_folder(options.data.as_deref())?, &Question::Audit(question)).await
}

/// Answers with every record that is asked for, in batches.
pub(crate) async fn answer(
    server: &Arc<Server>,
    home: &Scope,
    question: AuditQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let scope = Scope {
        account: question.account.unwrap_or_else(|| home.account.clone()),
        region: question.region.unwrap_or_else(|| home.region.clone()),
    };
    let action = access::Action::new("careen:ListAudit");
    let log = access::Resource::new(&scope.ssm_arn("audit"));
    if let access::Decision::Deny(reason) = access::authorise(&access::Principal::System, &action, &[log], &scope) {
        anyhow::bail!("{reason}");
    }
    let mut query = AuditQuery {
        from: question.since,
        until: question.until,
        principal: question.principal,
        action: question.action,
        resource: question.resource,
        request_id: question.request_id,
        order: Order::OldestFirst,
        after: None,
        limit: BATCH_ROWS,
    };
    loop {
        let entries = server.store.audit_list(&scope, &query).await?;
        for entry in &entries {
            admin::tell(writer, &Answer::Line(line(entry)?)).await?;
        }
        match entries.last() {
            Some(last) if entries.len() == BATCH_ROWS as usize => query.after = Some(last.seq),
            _ => return Ok(()),
        }
    }
}

/// A record as people and programs read it: the sequence number in front, the instant as text.
#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    at: String,
    principal: &'a str,
    action: &'a str,
    resource: &'a str,
    outcome: &'a str,
    source_address: &'a str,
    request_id: &'a str,
    before: &'a serde_json::Value,
    after: &'a serde_json::Value,
}

fn line(entry: &AuditEntry) -> Result<String> {
    let record = &entry.record;
    Ok(serde_json::to_string(&Line {
        seq: entry.seq,
        at: record.at.to_rfc3339_millis(),
        principal: &record.principal,
        action: &record.action,
        resource: &record.resource,
        outcome: &record.outcome,
        source_address: &record.source_address,
        request_id: &record.request_id,
        before: &record.before,
        after: &record.after,
    })?)
}
