//! Commands that people watch, and facts about the machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use testkit::run_bounded;

/// The cargo that runs this program, or the one on the path.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command whose output is for whoever watches; without input.
pub(crate) fn run_visibly(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Where a program lies on the path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether a command can be started and ends well within a minute.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let ended = run_bounded(Command::new(program).args(arguments), Duration::from_secs(60));
    ended.is_ok_and(|ended| ended.succeeded())
}

/// The home folder, if there is one.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_only() {
        assert!(program("sh").is_some());
        assert!(program("no-such-program-anywhere").is_none());
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run_visibly(Command::new("false").arg("x")).unwrap_err();
        assert!(error.to_string().starts_with("false x: exit status: 1"), "{error}");
        assert!(!succeeds("false", &[]) && succeeds("true", &[]));
    }
}
