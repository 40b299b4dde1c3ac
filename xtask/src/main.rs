//! The workspace's own tasks, as `cargo xtask TASK`.

mod bench;
mod check;
mod codegen;
mod layers;
mod machine;
mod postgres;
mod simulate;
mod terraform;
mod tests_run;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const TASKS: &str = "cargo xtask TASK
    check                  formatting, lints, layers, generated code: what needs no machine
    codegen [--check]      AWS shapes, validation and routes from the service models
    check-layers           the walls of ARCHITECTURE.md
    test [ARGUMENTS]       installs what the tests need, prepares it, and runs them; arguments go to the test runner
                           (`test -p NAME`: that package alone, with other packages' binaries as they lie)
    simulate [OPTION...]   a thousand histories of a simulated fleet (`simulate --help` names the options)
    bench [NAME...]        the README's figures (all of them as: cargo xtask with-tools cargo xtask bench), or
                           those named: patch-scan, agent, requests, heartbeats, agents, broadcast, restart
    with-tools COMMAND...  runs a command in the surroundings that `test` prepares";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let root = workspace_root()?;
    let (task, rest) = arguments.split_first().context(TASKS)?;
    match task.as_str() {
        "bench" => bench::run(&root, rest),
        "check" => check::run(&root),
        "codegen" => codegen::run(rest),
        "check-layers" => layers::run(&root),
        "simulate" => simulate::run(&root, rest),
        "test" => tests_run::test(&root, rest),
        "with-tools" => tests_run::with_tools(&root, rest),
        other => bail!("no such task: {other}\n{TASKS}"),
    }
}

/// The workspace's root: the folder above this crate's.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
    Ok(root.to_owned())
}
