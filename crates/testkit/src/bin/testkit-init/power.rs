//! Reboot and power off, from the asking command to the call.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::system::{RebootCommand, reboot};
use testkit::reboot_guard::{Surroundings, judge};

/// Where a wish for the first process lies.
const WISH_PATH: &str = "/run/testkit/wanted";

/// How long processes have between the polite and the other signal (systemd gives 90 s; tests are in a hurry).
const FAREWELL: Duration = Duration::from_secs(5);

/// What whoever asked is given to hear that it was heard: `systemctl reboot` comes back before the shutdown begins.
const ASKER_PAUSE: Duration = Duration::from_millis(200);

/// What is wanted of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Down and up again.
    Reboot,
    /// Down.
    PowerOff,
}

/// Leaves a wish for the first process and comes back at once, as `systemctl reboot` does.
pub(crate) fn ask_first_process(wanted: Wanted) -> anyhow::Result<()> {
    permitted()?;
    let text = match wanted {
        Wanted::Reboot => "reboot",
        Wanted::PowerOff => "poweroff",
    };
    fs::write(WISH_PATH, text).context("the wish cannot be left")
}

/// The wish that was left, if any.
pub(crate) fn wish() -> Option<Wanted> {
    match fs::read_to_string(WISH_PATH).ok()?.as_str() {
        "reboot" => Some(Wanted::Reboot),
        "poweroff" => Some(Wanted::PowerOff),
        _ => None,
    }
}

/// Ends all other processes, politely first, then goes down. Only for the first process.
pub(crate) fn shut_down(wanted: Wanted) -> anyhow::Result<()> {
    permitted()?;
    thread::sleep(ASKER_PAUSE);
    let until = Instant::now() + FAREWELL;
    signal_all(Signal::TERM);
    while !others().is_empty() && Instant::now() < until {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        thread::sleep(Duration::from_millis(10));
    }
    signal_all(Signal::KILL);
    at_once(wanted)
}

/// Goes down without a farewell, as `reboot -f` does.
pub(crate) fn at_once(wanted: Wanted) -> anyhow::Result<()> {
    permitted()?;
    rustix::fs::sync();
    let command = match wanted {
        Wanted::Reboot => RebootCommand::Restart,
        Wanted::PowerOff => RebootCommand::PowerOff,
    };
    reboot(command).context("reboot(2)")?;
    bail!("reboot(2) came back")
}

fn permitted() -> anyhow::Result<()> {
    match judge(&Surroundings::here()) {
        Ok(_) => Ok(()),
        Err(refused) => bail!("refused: {refused}"),
    }
}

/// All processes of this namespace but the first and this one.
fn others() -> BTreeSet<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| *id != 1 && *id != own).collect()
}

fn signal_all(signal: Signal) {
    for id in others() {
        if let Some(pid) = Pid::from_raw(id) {
            // It may have ended by itself in the meantime.
            let _ = kill_process(pid, signal);
        }
    }
}
