//! The server's figures: what `cargo xtask bench` runs beside its own. The server is the real program, in a process of its own;
//! this one makes the load, on the same cores. Medians are printed, with the CPU time of either side.
#![allow(clippy::print_stdout, reason = "a developer's command: this is its answer")]

mod agents;
mod process;
mod requests;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "bench --careen PROGRAM [--database URL] [--agents N] [--rounds N] [--plaintext] NAME...
    requests     signed requests a second, reads and writes apart
    heartbeats   heartbeats acknowledged after commit a second
    agents       memory of the server for each idle agent
    broadcast    one command to all agents: until the last has its order, and until all have finished
    restart      the server is killed and started again: until all agents are connected";

/// What is measured, and on what.
pub(crate) struct Options {
    /// The `careen` program.
    careen: PathBuf,
    /// Another database than the embedded one.
    database: Option<String>,
    /// How many agents.
    agents: usize,
    /// Whether agents speak TLS.
    tls: bool,
    /// How often each is measured.
    rounds: usize,
}

fn main() -> ExitCode {
    let run = || -> anyhow::Result<()> {
        let (options, names) = options(std::env::args().skip(1))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(&options, &names))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<(Options, Vec<String>)> {
    let (mut careen, mut database, mut agents, mut rounds, mut names) = (None, None, 10_000, 5, Vec::new());
    let mut tls = true;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--careen" => careen = Some(PathBuf::from(value()?)),
            "--database" => database = Some(value()?),
            "--agents" => agents = value()?.parse()?,
            "--rounds" => rounds = value()?.parse()?,
            "--plaintext" => tls = false,
            name if !name.starts_with("--") => names.push(argument),
            other => bail!("no such option: {other}"),
        }
    }
    Ok((Options { careen: careen.context("--careen is missing")?, database, agents, tls, rounds }, names))
}

async fn measure(options: &Options, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        match name.as_str() {
            "requests" => requests::run(options).await?,
            "heartbeats" => agents::heartbeats(options).await?,
            "agents" => agents::idle(options).await?,
            "broadcast" => agents::broadcast(options).await?,
            "restart" => agents::restart(options).await?,
            other => bail!("no such measurement: {other}"),
        }
    }
    Ok(())
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
