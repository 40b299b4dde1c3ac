//! What a host's own apt and dpkg say, to hold the reports against.

use std::collections::{BTreeMap, BTreeSet};

use testkit::Host;

/// What `apt-cache policy` says of one installed package.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    pub(crate) architecture: String,
    pub(crate) installed: String,
    pub(crate) candidate: String,
    /// The sources (`URI SUITE/COMPONENT ARCH Packages`) of each version.
    sources: BTreeMap<String, Vec<String>>,
}

/// Everything installed on a host, by name (the lab's hosts have one architecture), with apt's view of it.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) all: BTreeMap<String, Policy>,
    security: BTreeSet<String>,
}

impl Policies {
    pub(crate) fn of(host: &Host) -> Self {
        let listed = host.shell("dpkg-query -W -f '${Package} ${Architecture} ${db:Status-Status}\\n'").unwrap();
        let installed = listed.lines().filter_map(|line| line.strip_suffix(" installed")?.split_once(' '));
        let installed: BTreeMap<&str, &str> = installed.collect();
        let printed = host.shell("apt-cache policy $(dpkg-query -W -f '${Package} ')").unwrap();
        let mut all = policies(&printed);
        all.retain(|name, policy| {
            policy.architecture = installed.get(name.as_str()).copied().unwrap_or_default().to_owned();
            installed.contains_key(name.as_str())
        });
        assert_eq!(all.len(), installed.len(), "apt-cache policy left some out");
        Self { all, security: security_sources(&host.shell("apt-cache policy").unwrap()) }
    }

    /// Whether a security archive offers a version of a package.
    pub(crate) fn is_security(&self, policy: &Policy, version: &str) -> bool {
        policy.sources.get(version).is_some_and(|sources| sources.iter().any(|source| self.security.contains(source)))
    }

    /// The packages whose candidate is newer than what is installed and offered by a security archive.
    pub(crate) fn missing(&self) -> BTreeMap<String, Policy> {
        let missing = self
            .all
            .iter()
            .filter(|(_, policy)| policy.candidate != policy.installed && self.is_security(policy, &policy.candidate));
        missing.map(|(name, policy)| (name.clone(), policy.clone())).collect()
    }
}

fn policies(printed: &str) -> BTreeMap<String, Policy> {
    let mut all: BTreeMap<String, Policy> = BTreeMap::new();
    let (mut name, mut version) = (String::new(), String::new());
    for line in printed.lines() {
        let trimmed = line.trim();
        if !line.starts_with(' ') {
            name = line.trim_end_matches(':').to_owned();
        }
        let policy = all.entry(name.clone()).or_default();
        if let Some(installed) = trimmed.strip_prefix("Installed: ") {
            policy.installed = installed.to_owned();
        } else if let Some(candidate) = trimmed.strip_prefix("Candidate: ") {
            policy.candidate = candidate.to_owned();
        } else if line.starts_with("        ") {
            let source = trimmed.split_once(' ').unwrap().1.to_owned();
            policy.sources.entry(version.clone()).or_default().push(source);
        } else if line.starts_with(" *** ") || line.starts_with("     ") {
            version = trimmed.trim_start_matches("*** ").split(' ').next().unwrap().to_owned();
        }
    }
    all
}

/// The sources that are security archives, by the `release` line below each.
fn security_sources(printed: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut source = String::new();
    for line in printed.lines() {
        match line.trim().strip_prefix("release ") {
            Some(release) if release.split(',').any(|field| field == "l=Debian-Security") => {
                found.insert(source.clone());
            }
            Some(_) => {}
            None => source = line.trim().split_once(' ').map_or_else(String::new, |(_, rest)| rest.trim().to_owned()),
        }
    }
    found
}

/// What `apt-get -s ARGUMENTS` would install in place of an older version: name to new version.
pub(crate) fn simulated(host: &Host, arguments: &str) -> BTreeMap<String, Upgrade> {
    let printed = host.shell(&format!("apt-get -s {arguments}")).unwrap();
    let upgrades = printed.lines().filter_map(|line| {
        // Inst NAME [OLD] (NEW ARCHIVES... [ARCHITECTURE])
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" [")?;
        let (to, archives) = rest.split_once("] (")?.1.split_once(' ')?;
        let upgrade = Upgrade { to: to.to_owned(), security: archives.contains("Debian-Security:") };
        Some((name.to_owned(), upgrade))
    });
    upgrades.collect()
}

/// One line of a simulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upgrade {
    pub(crate) to: String,
    pub(crate) security: bool,
}

/// The version of every installed package.
pub(crate) fn versions(host: &Host) -> BTreeMap<String, String> {
    let listed = host.shell("dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\\n'").unwrap();
    let installed = listed.lines().filter_map(|line| line.strip_suffix(" installed")?.split_once(' '));
    installed.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}
