//! What a server needs.

use crate::Judgement;

/// Whether flags, environment and `careen.toml` go together.
#[must_use]
pub fn configuration(read: Result<(), &str>) -> Judgement {
    match read {
        Ok(()) => Judgement::ok("configuration", "understood"),
        Err(reason) => Judgement::failed(
            "configuration",
            reason,
            "mend that first, the rest depends on it; careen admin config shows where each value comes from",
        ),
    }
}

/// A database as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The embedded one has not been made yet.
    Absent,
    /// It has no tables.
    Empty,
    /// It has tables of this schema.
    Schema {
        /// The database's.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It cannot be opened or read.
    Unusable(String),
}

/// Whether the database can be used by this program.
#[must_use]
pub fn database(name: &str, found: &Database) -> Judgement {
    let check = "database";
    match found {
        Database::Absent => Judgement::ok(check, format!("{name} does not exist yet; it is made at the first start")),
        Database::Empty => Judgement::ok(check, format!("{name} is empty; tables are made at the first start")),
        Database::Schema { found, known } if found == known => Judgement::ok(check, format!("{name}, schema {found}")),
        Database::Schema { found, known } if found < known => Judgement::warning(
            check,
            format!("{name} has schema {found}; this program brings it to {known} at its start"),
            "have a backup first (careen admin backup)",
        ),
        Database::Schema { found, known } => Judgement::failed(
            check,
            format!("{name} has schema {found}; this program knows {known}"),
            "start the newer program that made it, or restore the backup from before",
        ),
        Database::Unusable(reason) => Judgement::failed(
            check,
            format!("{name} cannot be used: {reason}"),
            "for PostgreSQL: does it run, does its name resolve, may this user connect (psql says the same)? For the embedded \
             one: careen admin check tells what is damaged, and a backup can be restored",
        ),
    }
}

/// A clock that is further off than this is wrong, in seconds; requests are signed for five minutes.
const CLOCK_SECONDS_MAX: i64 = 60;

/// Whether the clock is right: `now` and `built_at` are seconds since 1970, `ahead` is how far another clock is ahead of
/// this one, in seconds, if one could be asked; `whose` it is.
#[must_use]
pub fn clock(now: i64, built_at: i64, whose: &str, ahead: Option<i64>) -> Judgement {
    let advice =
        "let it be set (timedatectl set-ntp true, or chrony); signatures, orders and certificates depend on it";
    if now < built_at {
        return Judgement::failed("clock", "it is set to a time before this program was made", advice);
    }
    match ahead {
        None => Judgement::ok("clock", "plausible; there is no other clock to compare it with"),
        Some(ahead) if ahead.abs() > CLOCK_SECONDS_MAX => {
            let side = if ahead > 0 { "behind" } else { "ahead of" };
            Judgement::failed("clock", format!("it is {} s {side} {whose}", ahead.abs()), advice)
        }
        Some(ahead) => Judgement::ok("clock", format!("within {} s of {whose}", ahead.abs().max(1))),
    }
}

/// A port as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Nobody listens there.
    Free,
    /// Somebody does.
    Taken,
    /// It cannot be listened on.
    Refused(String),
}

/// Whether the server can listen; `running`: one runs on this data folder.
#[must_use]
pub fn port(address: &str, found: &Port, running: bool) -> Judgement {
    let check = "port";
    match (found, running) {
        (Port::Free, false) => Judgement::ok(check, format!("{address} is free")),
        (Port::Free, true) => Judgement::failed(
            check,
            format!("a server runs, but does not listen on {address}"),
            "it was started with other settings; start it again",
        ),
        (Port::Taken, true) => Judgement::ok(check, format!("{address} is listened on, and a server runs")),
        (Port::Taken, false) => Judgement::failed(
            check,
            format!("another program listens on {address}"),
            "ss -ltnp says which; end it, or choose another port with --listen",
        ),
        (Port::Refused(reason), _) => Judgement::failed(
            check,
            format!("{address} cannot be listened on: {reason}"),
            "is it an address of this machine (ip address)? Ports below 1024 need root or CAP_NET_BIND_SERVICE",
        ),
    }
}

/// A certificate as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Loopback alone, in plaintext, or plaintext by wish.
    Plaintext {
        /// Whether others can reach it.
        off_loopback: bool,
    },
    /// The server's own authority makes it.
    Own,
    /// From files.
    Files {
        /// Why they cannot be used, if they cannot.
        wrong: Option<String>,
        /// Names of the server that it does not cover.
        uncovered: Vec<String>,
    },
}

/// Whether what is shown in TLS can be shown.
#[must_use]
pub fn certificate(found: &Certificate) -> Judgement {
    let check = "certificate";
    match found {
        Certificate::Plaintext { off_loopback: false } => Judgement::ok(check, "none: loopback needs no TLS"),
        Certificate::Plaintext { off_loopback: true } => Judgement::warning(
            check,
            "none: everyone on the network can read keys, commands and outputs",
            "leave --allow-plaintext out, unless a balancer in front of it speaks TLS",
        ),
        Certificate::Own => {
            Judgement::ok(check, "made and renewed by the server's own authority (ca.pem in the data folder)")
        }
        Certificate::Files { wrong: Some(reason), .. } => Judgement::failed(
            check,
            reason,
            "--tls-certificate is the certificate with its chain, --tls-key its private key, both PEM and readable",
        ),
        Certificate::Files { wrong: None, uncovered } if !uncovered.is_empty() => Judgement::warning(
            check,
            format!("it is not for {}", uncovered.join(", ")),
            "clients that call the server so will refuse it; have it issued for that name too",
        ),
        Certificate::Files { .. } => Judgement::ok(check, "readable, and it fits its key and the server's names"),
    }
}

/// Open files a server needs besides its agents.
const OWN_FILES: u64 = 256;

/// Whether the limit on open files leaves room for agents; each of them is one.
#[must_use]
pub fn files_max(soft: u64) -> Judgement {
    let agents = soft.saturating_sub(OWN_FILES);
    let text = format!("{soft}: room for {agents} agents");
    match soft {
        0..1024 => Judgement::failed("open files", text, "raise it: LimitNOFILE=65536 in the unit, or ulimit -n"),
        1024..8192 => Judgement::warning(
            "open files",
            text,
            "enough for a small fleet; else LimitNOFILE=65536 in the unit, or ulimit -n",
        ),
        _ => Judgement::ok("open files", text),
    }
}

/// What the server itself says, if one runs.
#[must_use]
pub fn running(said: Option<&[(String, bool)]>) -> Vec<Judgement> {
    let check = "server";
    match said {
        None => vec![Judgement::ok(check, "none runs on this data folder now")],
        Some(findings) if findings.iter().all(|(_, good)| *good) => {
            vec![Judgement::ok(check, "it runs, and says that it is ready")]
        }
        Some(findings) => findings
            .iter()
            .filter(|(_, good)| !good)
            .map(|(text, _)| Judgement::failed(check, format!("it runs, but {text}"), "its log says more"))
            .collect(),
    }
}
