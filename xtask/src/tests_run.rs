//! `cargo xtask test`: from a bare machine to the tests' verdict.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use testkit::{in_continuous_integration, is_root, prepare_base_root, prepare_frozen_layer};

use crate::machine::{cargo, program, run_visibly};
use crate::postgres::Server;
use crate::{terraform, tools};

/// What the tests find in their environment, and what keeps it alive.
struct Surroundings {
    variables: BTreeMap<&'static str, OsString>,
    /// Ends when dropped, however the tests end.
    _postgres: Server,
    absent: Vec<String>,
}

/// Prepares everything and runs the tests; `arguments` go to nextest, or to `cargo test` where there is none.
pub(crate) fn test(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let began = Instant::now();
    let packages = chosen_packages(arguments);
    let surroundings = prepare(root, packages.as_deref())?;
    let prepared = began.elapsed();
    let mut command = cargo();
    let runner = if program("cargo-nextest").is_some() { ["nextest", "run"].as_slice() } else { &["test"] };
    command.args(runner);
    if packages.is_none() {
        command.arg("--workspace");
    }
    command.args(arguments).current_dir(root).envs(&surroundings.variables);
    let verdict = run_visibly(&mut command);
    let absent = surroundings.absent.clone();
    drop(surroundings);
    eprintln!(
        "\ncargo xtask test: {} ({:.0} s, of which {:.0} s preparation; runner: {})",
        if verdict.is_ok() { "passed" } else { "FAILED" },
        began.elapsed().as_secs_f64(),
        prepared.as_secs_f64(),
        runner.join(" ")
    );
    for text in absent {
        eprintln!("    {text}");
    }
    verdict
}

/// Prepares everything and runs `command` there.
pub(crate) fn with_tools(root: &Path, command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("cargo xtask with-tools COMMAND...")?;
    let surroundings = prepare(root, Some(&[]))?;
    run_visibly(Command::new(program).args(arguments).envs(&surroundings.variables))
}

/// The packages the caller has chosen; none if the choice is the whole workspace.
fn chosen_packages(arguments: &[String]) -> Option<Vec<String>> {
    let mut chosen = Vec::new();
    let mut words = arguments.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word == "-p" || word == "--package" {
            chosen.extend(words.next().cloned());
        } else if let Some(name) = word.strip_prefix("--package=").or_else(|| word.strip_prefix("-p")) {
            chosen.push(name.to_owned());
        }
    }
    (!chosen.is_empty()).then_some(chosen)
}

/// Builds what tests start: all of it, or for chosen packages these and the lab's own program. Binaries of packages
/// that were not chosen are then used as they lie.
fn build(root: &Path, packages: Option<&[String]>) -> anyhow::Result<()> {
    let mut command = cargo();
    command.arg("build").current_dir(root);
    match packages {
        None => command.arg("--workspace"),
        Some(packages) => {
            command.args(["--package", "testkit"]).args(packages.iter().map(|name| format!("--package={name}")))
        }
    };
    run_visibly(&mut command)
}

fn prepare(root: &Path, packages: Option<&[String]>) -> anyhow::Result<Surroundings> {
    let mut absent = Vec::new();
    let mut variables: BTreeMap<&'static str, OsString> = BTreeMap::new();
    match terraform::find() {
        Ok(found) => {
            variables.insert("CAREEN_TEST_TERRAFORM", found.program.into());
            variables.insert("CAREEN_TEST_TERRAFORM_PLUGINS", found.plugins.into());
        }
        Err(missing) => absent.push(format!("TERRAFORM ABSENT: {missing}; its tests test nothing")),
    }
    if !is_root() {
        absent.push("NOT ROOT: the lab's tests (real hosts in namespaces) test nothing".to_owned());
    }
    for text in &absent {
        eprintln!("{text}");
    }
    if in_continuous_integration() && !absent.is_empty() {
        bail!("CI=true, and something is absent that tests need: {}", absent.join("; "));
    }
    timed("machine's packages", tools::install_missing)?;
    let target = target_folder()?;
    variables.insert("CAREEN_TEST_AWS", timed("AWS CLI", || tools::aws_cli(&target))?.into());
    let postgres = timed("PostgreSQL", Server::start)?;
    variables.insert("CAREEN_TEST_POSTGRES_URL", postgres.url.clone().into());
    let base = if is_root() { Some(timed("Debian root", prepare_base_root)?) } else { None };
    timed("build", || build(root, packages))?;
    if let Some(base) = base {
        let roots = timed("frozen packages", || prepare_frozen_layer(&base))?;
        variables.insert("CAREEN_TEST_ROOT_BOOKWORM", roots.base.into());
        variables.extend(roots.frozen.map(|frozen| ("CAREEN_TEST_FROZEN_BOOKWORM", frozen.into())));
    }
    Ok(Surroundings { variables, _postgres: postgres, absent })
}

/// Does one step of the preparation and says how long it took.
fn timed<T>(what: &str, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let done = step().with_context(|| format!("preparing: {what}"))?;
    eprintln!("prepared: {what} ({:.1} s)", began.elapsed().as_secs_f64());
    Ok(done)
}

/// The target folder this program itself was built into: TARGET/debug/xtask.
fn target_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(target.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_packages_is_the_callers() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen_packages(&words(&["-p", "store", "--package=api"])), Some(words(&["store", "api"])));
        assert_eq!(chosen_packages(&words(&["-pstore"])), Some(words(&["store"])));
        assert_eq!(chosen_packages(&words(&["--no-fail-fast", "a_test", "--", "-p", "x"])), None);
    }
}
