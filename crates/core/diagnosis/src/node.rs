//! What a node needs.

use crate::Judgement;

/// Whether the agent may do what it is asked for.
#[must_use]
pub fn privileges(user: u32) -> Judgement {
    match user {
        0 => Judgement::ok("privileges", "root"),
        user => Judgement::warning(
            "privileges",
            format!("user {user}: this node can be scanned, but nothing can be installed"),
            "run the agent as root",
        ),
    }
}

/// A registration as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// There is none.
    None,
    /// It cannot be read.
    Unusable(String),
    /// This node, with that server.
    Registered {
        /// The node.
        node: String,
        /// The server's address.
        server: String,
    },
}

/// Whether this host is a managed node.
#[must_use]
pub fn registration(found: &Registration) -> Judgement {
    let check = "registration";
    match found {
        Registration::None => Judgement::failed(
            check,
            "this host is not registered",
            "make an activation (aws ssm create-activation), then careen-agent register --server URL --activation-id ID",
        ),
        Registration::Unusable(reason) => {
            Judgement::failed(check, format!("it cannot be read: {reason}"), "register this host again with --force")
        }
        Registration::Registered { node, server } => Judgement::ok(check, format!("{node} with {server}")),
    }
}

/// A step on the way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its name became addresses.
    Resolve,
    /// A connection was made.
    Connect,
    /// TLS and WebSocket were spoken.
    Converse,
    /// It showed the identity that was pinned at registration.
    Identify,
}

/// How far the way to the server could be gone; `proxy` is in between.
#[must_use]
pub fn way(server: &str, proxy: Option<&str>, end: Result<(), (Step, &str)>) -> Judgement {
    let check = "way to the server";
    let through = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    let (step, reason) = match end {
        Ok(()) => {
            let found = format!("{server} answers{through} and is who it was at registration");
            return Judgement::ok(check, found);
        }
        Err(end) => end,
    };
    let (what, advice) = match step {
        Step::Resolve => ("its name is not known", "getent hosts NAME asks the same; is DNS (/etc/resolv.conf) right?"),
        Step::Connect => (
            "no connection",
            "does the server run and listen for other hosts (--listen), and do firewalls let its port through?",
        ),
        Step::Converse => (
            "it was reached, but does not speak as a server of Careen",
            "is this its address and port, https:// or http:// as it listens, and does a proxy or balancer pass WebSockets on?",
        ),
        Step::Identify => (
            "somebody answers who is not the server that this node was registered with",
            "nothing was given away. If the server was made anew, register this node again with --force; else find out who \
             answers there",
        ),
    };
    Judgement::failed(check, format!("{server}{through}: {what}: {reason}"), advice)
}

/// Whether the agent runs: `None` if not, else whether it is connected, and what went wrong last.
#[must_use]
pub fn connection(found: Option<(bool, Option<&str>)>) -> Judgement {
    let check = "agent";
    match found {
        None => Judgement::failed(check, "it does not run", "systemctl start careen-agent, or careen-agent run"),
        Some((true, _)) => Judgement::ok(check, "it runs and is connected"),
        Some((false, error)) => Judgement::failed(
            check,
            format!("it runs, but is not connected: {}", error.unwrap_or("it has just begun")),
            "see the way to the server above; the agent calls again by itself",
        ),
    }
}

/// Whether the node's own policy can be used: its file, and what is wrong with it, if anything. `None`: there is none.
#[must_use]
pub fn policy(found: Option<(&str, Result<(), &str>)>) -> Judgement {
    let check = "policy";
    match found {
        None => Judgement::ok(check, "there is no policy file: everything is allowed"),
        Some((path, Ok(()))) => {
            Judgement::ok(check, format!("{path} can be used; careen-agent policy check says what it allows"))
        }
        Some((path, Err(reason))) => Judgement::failed(
            check,
            format!("{path} cannot be used: {reason}"),
            "until it can, this node runs nothing; mend it (careen-agent policy check), or remove it",
        ),
    }
}

/// The package database as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// Whether dpkg and apt-get are there.
    pub present: bool,
    /// What `dpkg --audit` says; empty: nothing is half-installed. `None`: it could not be asked.
    pub audit: Option<String>,
}

/// Whether packages can be installed.
#[must_use]
pub fn dpkg(found: &Packages) -> Judgement {
    let check = "packages";
    if !found.present {
        let text = "there is no dpkg and apt-get";
        return Judgement::warning(check, text, "scripts run on any host, patching works on hosts with apt only");
    }
    match found.audit.as_deref() {
        None => Judgement::warning(check, "dpkg --audit could not be run", "run it by hand"),
        Some("") => Judgement::ok(check, "dpkg and apt-get are there, and no package is half-installed"),
        Some(said) => {
            let first: String = said.lines().next().unwrap_or_default().chars().take(200).collect();
            Judgement::failed(check, first, "dpkg --configure -a, then apt-get --fix-broken install")
        }
    }
}

/// Lists older than this say little of what is missing, in days.
const LISTS_DAYS_MAX: u64 = 7;

/// How old apt's lists are, in seconds; `None`: there are none.
#[must_use]
pub fn lists(age_seconds: Option<u64>) -> Judgement {
    let check = "package lists";
    let days = |seconds: u64| seconds / 86_400;
    match age_seconds {
        None => Judgement::warning(check, "there are none yet", "a scan fetches them; or: apt-get update"),
        Some(age) if days(age) > LISTS_DAYS_MAX => Judgement::warning(
            check,
            format!("{} days old", days(age)),
            "a scan refreshes them if it can; apt-get update says why it cannot",
        ),
        Some(age) => Judgement::ok(check, format!("{} h old", age / 3600)),
    }
}

/// Who holds apt's and dpkg's locks: process and program.
#[must_use]
pub fn locks(holders: &[(u32, String)]) -> Judgement {
    let check = "package locks";
    match holders {
        [] => Judgement::ok(check, "nobody holds them"),
        holders => {
            let who: Vec<String> =
                holders.iter().map(|(process, name)| format!("{name} (process {process})")).collect();
            Judgement::warning(
                check,
                format!("held by {}", who.join(", ")),
                "patching waits for it; if it has hung, end it, then dpkg --configure -a",
            )
        }
    }
}

/// The systemd unit of a running agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its `KillMode`.
    pub kill_mode: String,
}

/// Whether a package installation outlives the agent; `None`: no unit runs it.
#[must_use]
pub fn unit(found: Option<&Unit>) -> Judgement {
    let check = "systemd unit";
    match found {
        None => Judgement::ok(check, "the agent is in none"),
        Some(unit) if unit.kill_mode == "process" => Judgement::ok(check, format!("{}, KillMode=process", unit.name)),
        Some(unit) => Judgement::failed(
            check,
            format!("{} has KillMode={}", unit.name, unit.kill_mode),
            "stopping or updating the agent would kill a package installation: set KillMode=process in the unit, then \
             systemctl daemon-reload",
        ),
    }
}
