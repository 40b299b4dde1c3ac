//! The first process of a host of the lab, and what `reboot`, `poweroff` and `systemctl` are inside one.
//!
//! The only program of this workspace that can call reboot(2); `testkit::reboot_guard` decides each time whether
//! it may. `testkit-init judge` only prints that decision: it has no way to the call.

mod boot;
mod power;
mod services;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::mount::{MountFlags, mount};
use testkit::reboot_guard::{Surroundings, judge};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let called = arguments.first().map(String::as_str).unwrap_or_default();
    let called = Path::new(called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let rest: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match run(&called, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{called}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(called: &str, arguments: &[&str]) -> anyhow::Result<()> {
    match (called, arguments) {
        ("reboot", ["-f" | "--force"]) => power::at_once(power::Wanted::Reboot),
        ("reboot", []) | ("systemctl", ["reboot"]) => power::ask_first_process(power::Wanted::Reboot),
        ("poweroff", []) | ("systemctl", ["poweroff"]) => power::ask_first_process(power::Wanted::PowerOff),
        ("testkit-init", ["boot", spec]) => boot::boot(spec),
        ("testkit-init", ["hold", folder, options]) => hold(folder, options),
        ("testkit-init", ["judge"]) => dry_judgement(),
        _ => bail!("not known to a host of the lab: {called} {}", arguments.join(" ")),
    }
}

/// Keeps the lab's mount and network namespaces: mounts the memory file system that all hosts write to, says so,
/// and waits until its standard input ends.
fn hold(folder: &str, options: &str) -> anyhow::Result<()> {
    let options = std::ffi::CString::new(options)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), options.as_c_str()).context("the lab's file system")?;
    say("held")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Prints what the guard says here. Deliberately without any way to the call itself.
fn dry_judgement() -> anyhow::Result<()> {
    match judge(&Surroundings::here()) {
        Ok(_) => say("may reboot"),
        Err(refused) => bail!("refused: {refused}"),
    }
}

/// One line to whoever started this process.
fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}
