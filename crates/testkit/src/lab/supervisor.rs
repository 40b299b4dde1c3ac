//! The thread that keeps a host as its switch stands: starts its first process, sees it end, and starts it again
//! after a reboot.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::host::HostInner;
use super::{BootSpec, held, network};
use crate::reboot_guard::Marker;

/// What root in a host may not do to the machine whose kernel it shares: load modules, set the clock, touch ports
/// and memory.
pub(super) const BOUNDING_SET: &str = "-sys_module,-sys_time,-sys_rawio,-mac_admin,-mac_override,-wake_alarm";

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootEnd {
    /// reboot(2) from inside: the kernel ends a pid namespace's first process with SIGHUP (reboot(2)).
    Reboot,
    /// reboot(2) from inside, to power off: SIGINT.
    PowerOff,
    /// Anything else: power loss, or the first process failed.
    Lost,
}

impl BootEnd {
    fn of(status: ExitStatus) -> Self {
        match status.signal().or(status.code().map(|code| code - 128)) {
            Some(SIGHUP) => Self::Reboot,
            Some(SIGINT) => Self::PowerOff,
            _ => Self::Lost,
        }
    }
}

/// What a host is meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
    /// Off for good.
    Gone,
}

/// What a host is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) switch: Switch,
    pub(super) boots: u32,
    pub(super) up: Option<Up>,
    /// Whether a boot's processes exist, be it up yet or not.
    pub(super) alive: bool,
    pub(super) ends: Vec<BootEnd>,
    pub(super) link_cut: bool,
    pub(super) failure: Option<String>,
}

/// A running boot.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) first_process: u32,
    pub(super) first_process_fd: OwnedFd,
}

/// Runs until the host is gone.
pub(super) fn supervise(host: &HostInner) {
    loop {
        {
            let mut state = held(&host.state);
            while state.switch == Switch::Off {
                state = host.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            if state.switch == Switch::Gone {
                return;
            }
            state.boots += 1;
            state.alive = true;
        }
        let end = one_boot(host);
        let mut state = held(&host.state);
        state.up = None;
        state.alive = false;
        match end {
            Ok(end) => {
                state.ends.push(end);
                if end != BootEnd::Reboot && state.switch == Switch::On {
                    state.switch = Switch::Off;
                }
            }
            Err(error) => {
                state.failure = Some(format!("{error:#}\n{}", host.console_tail()));
                if state.switch == Switch::On {
                    state.switch = Switch::Off;
                }
            }
        }
        host.changed.notify_all();
    }
}

fn one_boot(host: &HostInner) -> anyhow::Result<BootEnd> {
    let mut child = boot_command(host)?.spawn().context("setpriv, nsenter and unshare (util-linux) are needed")?;
    let up = bring_up(host, &mut child);
    match up {
        Ok(up) => {
            let mut state = held(&host.state);
            if state.switch == Switch::On {
                state.up = Some(up);
            } else {
                // Switched off while it came up.
                child.kill()?;
            }
            host.changed.notify_all();
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.context(format!("{} did not come up", host.name())));
        }
    }
    Ok(BootEnd::of(child.wait()?))
}

fn boot_command(host: &HostInner) -> anyhow::Result<Command> {
    let spec = BootSpec {
        marker: Marker { host: host.name().to_owned(), machine_pid_namespace: host.lab.machine_pid_namespace.clone() },
        root: host.root_in_lab(),
        init_binary: host.lab.init_binary.clone(),
    };
    // Both clocks that count from boot start over (time_namespaces(7)).
    let uptime = std::fs::read_to_string("/proc/uptime")?;
    let uptime: u64 = uptime.split('.').next().unwrap_or_default().parse().context("/proc/uptime")?;
    let offset = format!("-{}", uptime.saturating_sub(1));
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "nsenter"]).arg(format!("--mount=/proc/{}/ns/mnt", host.lab.holder));
    command.args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--time"]);
    command.args(["--boottime", &offset, "--monotonic", &offset, "--fork", "--kill-child=KILL", "--"]);
    command.args(["setpriv", "--bounding-set", BOUNDING_SET]).arg(&host.lab.init_binary);
    command.arg("boot").arg(serde_json::to_string(&spec)?);
    let console = File::options().create(true).append(true).open(host.console_path())?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(console);
    Ok(command)
}

/// The exchange with the first process: it has its namespaces; we plug the cable; it mounts and comes up.
fn bring_up(host: &HostInner, child: &mut Child) -> anyhow::Result<Up> {
    let mut said = BufReader::new(child.stdout.take().context("no output")?).lines();
    expect_line(said.next(), "namespaces")?;
    let first_process = only_child(child.id())?;
    let pid = i32::try_from(first_process).ok().and_then(Pid::from_raw).context("no process id")?;
    let first_process_fd = pidfd_open(pid, PidfdFlags::empty())?;
    let link_cut = held(&host.state).link_cut;
    network::plug(&host.lab, host.number, &host.address(), first_process, link_cut)?;
    child.stdin.take().context("no input")?.write_all(b"network\n")?;
    expect_line(said.next(), "up")?;
    Ok(Up { first_process, first_process_fd })
}

fn expect_line(line: Option<std::io::Result<String>>, wanted: &str) -> anyhow::Result<()> {
    match line {
        Some(Ok(line)) if line == wanted => Ok(()),
        other => anyhow::bail!("its first process was to say {wanted:?} and said {other:?}"),
    }
}

/// The one child of a process (proc_pid_task_tid_children(5)).
fn only_child(parent: u32) -> anyhow::Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    children.split_whitespace().next().and_then(|pid| pid.parse().ok()).context("unshare has no child")
}
