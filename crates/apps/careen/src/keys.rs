//! `careen admin key`: the server's own keys, and how they are exchanged.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use control::Server;
use nodes::{KeyStep, ServerKeyKind};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{self, Answer, Question},
    configuration::data_folder,
};

/// `careen admin key …`.
#[derive(Subcommand)]
pub(crate) enum KeyTask {
    /// Print the server's keys with their places, and the nodes that have not written them down.
    List {
        /// The server's data folder
        #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
        data: Option<PathBuf>,
    },
    /// Make the key that follows, and tell the nodes of it.
    Announce(Exchanged),
    /// Take the announced key into use; the one before stays valid.
    Switch(Exchanged),
    /// End the validity of the key before.
    Retire(Exchanged),
    /// Take an announced key back.
    Withdraw(Exchanged),
}

/// Which key.
#[derive(Args)]
pub(crate) struct Exchanged {
    /// identity (who the server is to its nodes), job (what orders are signed with), or ca (the server's own CA)
    #[arg(value_name = "KEY")]
    key: String,
    /// Although nodes have not heard of it
    #[arg(long)]
    force: bool,
    /// The server's data folder
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    data: Option<PathBuf>,
}

/// What is asked of the server.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyQuestion {
    List,
    Announce { key: String },
    Switch { key: String, force: bool },
    Retire { key: String, force: bool },
    Withdraw { key: String },
}

pub(crate) async fn run(task: KeyTask) -> Result<()> {
    let (data, question) = match task {
        KeyTask::List { data } => (data, KeyQuestion::List),
        KeyTask::Announce(of) => (of.data, KeyQuestion::Announce { key: of.key }),
        KeyTask::Switch(of) => (of.data, KeyQuestion::Switch { key: of.key, force: of.force }),
        KeyTask::Retire(of) => (of.data, KeyQuestion::Retire { key: of.key, force: of.force }),
        KeyTask::Withdraw(of) => (of.data, KeyQuestion::Withdraw { key: of.key }),
    };
    admin::ask(&data_folder(data.as_deref())?, &Question::Keys(question)).await
}

/// Answers with the keys as they are after the step.
pub(crate) async fn answer(
    server: &Arc<Server>,
    question: KeyQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let (key, step, force) = match question {
        KeyQuestion::List => return list(server, writer).await,
        KeyQuestion::Announce { key } => (key, KeyStep::Announce, false),
        KeyQuestion::Switch { key, force } => (key, KeyStep::Switch, force),
        KeyQuestion::Retire { key, force } => (key, KeyStep::Retire, force),
        KeyQuestion::Withdraw { key } => (key, KeyStep::Withdraw, false),
    };
    let kind = ServerKeyKind::parse(&key);
    let kind = kind.with_context(|| format!("there is no key {key:?}; there are identity, job and ca"))?;
    server.key_step(kind, step, force).await.map_err(|error| anyhow::anyhow!(error.message))?;
    list(server, writer).await
}

async fn list(server: &Arc<Server>, writer: &mut (impl AsyncWriteExt + Unpin)) -> Result<()> {
    let failed = |error: control::Error| anyhow::anyhow!(error.message);
    for key in server.keys_shown().await.map_err(failed)? {
        let line =
            format!("{:9} {:9} {} since {}", key.kind.as_str(), key.place, key.fingerprint, key.since.to_human());
        admin::tell(writer, &Answer::Line(line)).await?;
    }
    let waiting = server.nodes_waiting_for_keys().await.map_err(failed)?;
    let summary = match waiting.count {
        0 => "every registered node has written them down".to_owned(),
        count => format!("{count} registered nodes have not written them down:"),
    };
    admin::tell(writer, &Answer::Line(summary)).await?;
    for (scope, node) in &waiting.some {
        admin::tell(writer, &Answer::Line(format!("  {node} ({} {})", scope.account, scope.region))).await?;
    }
    Ok(())
}
