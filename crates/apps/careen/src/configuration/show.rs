//! `careen admin config`: every setting, its value, and where that comes from.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{
    Configuration, Resolved, ServerOptions,
    sources::Sources,
    table::{DECLARATIONS, Settings},
};
use crate::{
    admin::{self, Question},
    terminal::say,
};

/// What a running server was started with.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConfigurationAnswer {
    settings: Vec<Resolved>,
}

impl From<&Configuration> for ConfigurationAnswer {
    fn from(configuration: &Configuration) -> Self {
        Self { settings: configuration.resolved.clone() }
    }
}

/// Prints the settings that a server would be started with here and now, and in what a running one differs.
pub(crate) async fn show(options: &ServerOptions) -> Result<()> {
    let data = super::data_folder(options.data.as_deref())?;
    let (_, resolved) = Settings::resolve(&Sources::read(&data, &options.settings)?)?;
    say(&format!("data folder: {}", data.display()));
    say("");
    print_table(&resolved.iter().collect::<Vec<_>>());
    for name in unknown_variables() {
        say(&format!("Note: the environment has {name}, which is no setting."));
    }
    say("");
    // What does not go together is said here as the server would say it.
    if let Err(error) = Configuration::read(options) {
        say(&format!("A server would not start with this: {error:#}"));
    }
    say(&running(&data, &resolved).await?);
    Ok(())
}

async fn running(data: &Path, here: &[Resolved]) -> Result<String> {
    let Some(answer) = admin::ask_if_running(data, &Question::Configuration).await? else {
        return Ok("No server is running on this folder.".to_owned());
    };
    let running: ConfigurationAnswer = serde_json::from_str(&answer)?;
    let same = |there: &&Resolved| here.iter().any(|here| here.name == there.name && here.shown == there.shown);
    let other: Vec<&Resolved> = running.settings.iter().filter(|there| !same(there)).collect();
    if other.is_empty() {
        return Ok("The running server was started with the same values.".to_owned());
    }
    say("The running server was started with other values:");
    print_table(&other);
    Ok("They change when it is started again.".to_owned())
}

fn print_table(rows: &[&Resolved]) {
    let shown = |row: &Resolved| row.shown.clone().unwrap_or_else(|| "(not set)".to_owned());
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let value_width = rows.iter().map(|row| shown(row).len()).max().unwrap_or(0).min(60);
    for row in rows {
        say(&format!("{:name_width$}  {:value_width$}  {}", row.name, shown(row), row.source));
    }
}

/// Variables that look like settings and are none: most likely misspelt.
fn unknown_variables() -> Vec<String> {
    // What other parts of Careen read.
    const OTHERS: [&str; 2] = ["CAREEN_DATA", "CAREEN_REBOOT_COMMAND"];
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let known = |name: &str| {
        OTHERS.contains(&name)
            || name.starts_with("CAREEN_TEST_")
            || name.starts_with("CAREEN_AGENT_")
            || DECLARATIONS.iter().any(|declaration| declaration.variable() == name)
    };
    ours.filter(|name| name.starts_with("CAREEN_") && !known(name)).collect()
}
