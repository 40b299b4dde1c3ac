//! Which foreign crates may be where.

use std::collections::BTreeSet;

use super::Breach;
use super::cargo::Package;

/// Crates that may be nowhere, and why.
const BANNED: [(&str, &str); 5] = [
    ("aws-lc-rs", "ring is the one crypto provider; turn the default features off that pull it"),
    ("aws-lc-sys", "ring is the one crypto provider; turn the default features off that pull it"),
    ("openssl", "TLS is rustls'; turn the default features off that pull it"),
    ("openssl-sys", "TLS is rustls'; nothing may need the machine's OpenSSL to build"),
    ("native-tls", "TLS is rustls'; turn the default features off that pull it"),
];

/// Crates that may not be under core and formats, which only compute.
const NOT_IN_PURE_WINGS: [&str; 14] = [
    "tokio",
    "async-std",
    "smol",
    "futures-executor",
    "async-io",
    "mio",
    "sqlx",
    "sqlx-core",
    "axum",
    "hyper",
    "reqwest",
    "rustls",
    "rustix",
    "tempfile",
];

/// Crates that may not be in the agent: what the server needs, and what costs more bytes than it saves lines.
const NOT_IN_AGENT: [(&str, &str); 13] = [
    ("sqlx", "the agent's state is files"),
    ("sqlx-core", "the agent's state is files"),
    ("axum", "the agent listens nowhere"),
    ("hyper", "the agent speaks WebSocket only"),
    ("reqwest", "the agent speaks WebSocket only"),
    ("tower", "the agent listens nowhere"),
    ("askama", "pages are the console's"),
    ("clap", "half a megabyte; the agent has three subcommands"),
    ("regex", "a megabyte; the agent's forms are fixed"),
    ("tracing-subscriber", "the agent writes its few lines itself"),
    ("aws-sigv4", "agents have keys of their own"),
    ("testkit", "that is the tests'"),
    ("identity", "the server's secrets are no matter of the agent"),
];

/// The most crates the agent may be made of, its own included: what it has plus a little. Six of them read the node's policy, which is
/// TOML as the server's configuration is: people write it.
pub(super) const AGENT_CRATES_MAX: usize = 98;

/// Banned crates, with who wants them.
pub(super) fn banned(packages: &[Package]) -> Vec<Breach> {
    let found = packages.iter().filter_map(|package| {
        let (_, reason) = BANNED.iter().find(|(name, _)| *name == package.name)?;
        let what = format!("the banned crate {} {} is in the tree", package.name, package.version);
        Some(Breach::new(what, format!("wanted by {}", package.wanted_by.join(", ")), *reason))
    });
    found.collect()
}

/// What does I/O or waits, below the wings that may.
pub(super) fn asynchronous(tree: &BTreeSet<String>) -> Vec<Breach> {
    let found = NOT_IN_PURE_WINGS.iter().filter(|name| tree.contains(**name)).map(|name| {
        Breach::new(
            format!("{name} is under core or formats, which only compute"),
            format!("see `cargo tree --workspace --edges normal --invert {name}`"),
            "move what needs it into an adapter, or turn off the feature that pulls it",
        )
    });
    found.collect()
}

/// What the agent may not be made of.
pub(super) fn agent(tree: &BTreeSet<String>) -> Vec<Breach> {
    let place = "see `cargo tree --package agent --edges normal`";
    let found = NOT_IN_AGENT.iter().filter(|(name, _)| tree.contains(*name));
    let mut breaches: Vec<Breach> = found
        .map(|(name, reason)| {
            Breach::new(format!("the agent is made of {name}, too: {reason}"), place, "do without it")
        })
        .collect();
    if tree.len() > AGENT_CRATES_MAX {
        breaches.push(Breach::new(
            format!("the agent is made of {} crates, more than {AGENT_CRATES_MAX}", tree.len()),
            place,
            "turn features off, or raise AGENT_CRATES_MAX in xtask/src/layers/trees.rs and say why in the commit",
        ));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_banned_crate_is_told_with_who_wants_it() {
        let package = |name: &str| Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            wanted_by: vec!["somebody".to_owned()],
        };
        let breaches = banned(&[package("serde"), package("openssl-sys")]);
        assert_eq!(breaches.len(), 1);
        assert_eq!(breaches[0].what, "the banned crate openssl-sys 1.0.0 is in the tree");
        assert_eq!(breaches[0].place, "wanted by somebody");
    }

    #[test]
    fn the_pure_wings_have_no_runtime() {
        assert!(asynchronous(&names(&["serde", "jiff"])).is_empty());
        assert_eq!(asynchronous(&names(&["serde", "tokio", "axum"])).len(), 2);
    }

    #[test]
    fn the_agent_stays_small() {
        assert!(agent(&names(&["agent", "serde"])).is_empty());
        assert_eq!(agent(&names(&["agent", "sqlx"])).len(), 1);
        let many: BTreeSet<String> = (0..=AGENT_CRATES_MAX).map(|number| format!("crate-{number}")).collect();
        assert!(agent(&many)[0].what.contains("more than"));
    }
}
