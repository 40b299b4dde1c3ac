//! `careen admin retention`: how long each kind of record is kept, and how many would be removed now.

use std::sync::Arc;

use anyhow::{Result, bail};
use control::{Server, reconcilers::Retention};
use identifiers::Period;
use serde::{Deserialize, Serialize};
use store::RecordKind;
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{self, Answer, Question, tell},
    configuration::{ServerOptions, Stored},
};

/// For how long each kind would be kept, as it travels.
#[derive(Serialize, Deserialize)]
pub(crate) struct RetentionQuestion {
    periods: Vec<String>,
}

/// Asks the running server what it would remove with the settings that are given here.
pub(crate) async fn run(options: &ServerOptions) -> Result<()> {
    let stored = Stored::read(options)?;
    let retention = stored.settings.retention();
    let periods = RecordKind::ALL.map(|kind| retention.of(kind).to_string()).to_vec();
    admin::ask(&stored.data, &Question::Retention(RetentionQuestion { periods })).await
}

/// The server's half.
pub(crate) async fn answer(
    server: &Arc<Server>,
    question: RetentionQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let periods: Vec<Period> = question.periods.iter().map(|text| Period::parse(text)).collect::<Result<_, _>>()?;
    let [commands, patch_history, package_history, events, deregistered_nodes] = periods.as_slice() else {
        bail!("the question was not understood; use the careen binary of the server's version");
    };
    let asked = Retention {
        commands: *commands,
        patch_history: *patch_history,
        package_history: *package_history,
        events: *events,
        deregistered_nodes: *deregistered_nodes,
        audit: server.settings.retention.audit,
    };
    for (kind, count) in server.retention_preview(&asked).await? {
        let differs = match server.settings.retention.of(kind) == asked.of(kind) {
            true => String::new(),
            false => format!(" (the running server keeps them {})", server.settings.retention.of(kind)),
        };
        let line =
            format!("{:20} kept {:8} {count:>10} past that now{differs}", kind.name(), asked.of(kind).to_string());
        tell(writer, &Answer::Line(line)).await?;
    }
    Ok(())
}
