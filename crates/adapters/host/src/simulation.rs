//! What `apt-get -s install` says it would do, and whether that is within what was approved.

use packages::PackageKey;
use patching::PlannedInstall;
use std::collections::{BTreeMap, BTreeSet};

/// One package that apt would install or upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SimulatedInstall {
    pub(crate) key: PackageKey,
    /// The installed version; `None`: it would be new.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
}

/// What apt would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Simulation {
    pub(crate) installs: Vec<SimulatedInstall>,
    /// Names of the packages that would go.
    pub(crate) removals: Vec<String>,
}

impl Simulation {
    /// Reads the lines `Inst` and `Remv` of `apt-get -s`:
    /// `Inst NAME[:ARCH] [OLD] (NEW ORIGIN [ARCH]) ...`, `Remv NAME [VERSION]`.
    pub(crate) fn parse(output: &str) -> Self {
        let mut simulation = Self::default();
        for line in output.lines() {
            if let Some(rest) = line.strip_prefix("Inst ") {
                simulation.installs.extend(parse_install(rest));
            } else if let Some(name) = line.strip_prefix("Remv ").and_then(|rest| rest.split(' ').next()) {
                simulation.removals.push(name.to_owned());
            }
        }
        simulation
    }

    fn find(&self, planned: &PlannedInstall) -> Option<&SimulatedInstall> {
        self.installs.iter().find(|install| is_same(&install.key, planned))
    }
}

fn parse_install(rest: &str) -> Option<SimulatedInstall> {
    let (name, rest) = rest.split_once(' ')?;
    let name = name.split(':').next().unwrap_or_default();
    let (before, rest) = rest.split_once('(')?;
    let from = before.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (inside, _) = rest.split_once(')')?;
    let to = inside.split(' ').next()?;
    let architecture = inside.rsplit_once('[')?.1.strip_suffix(']')?;
    Some(SimulatedInstall {
        key: PackageKey { name: name.to_owned(), architecture: architecture.to_owned() },
        from: from.map(str::to_owned),
        to: to.to_owned(),
    })
}

/// Whether these are the same package, which may change its architecture to and from `all` with its version.
fn is_same(key: &PackageKey, planned: &PlannedInstall) -> bool {
    key.name == planned.name
        && (key.architecture == planned.architecture || key.architecture == "all" || planned.architecture == "all")
}

/// What must not happen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forbidden {
    /// Rejected and blocked by the baseline.
    pub(crate) blocked: BTreeSet<String>,
    /// Files that cannot be fetched, by name and version, with apt's words.
    pub(crate) unavailable: BTreeMap<(String, String), String>,
    /// Packages that dpkg could not install in this run, with its words.
    pub(crate) broken: BTreeMap<String, String>,
}

/// Why apt's way to these approved packages must not be taken; `None`: it may.
///
/// Packages that were not approved may be added or upgraded where apt needs them as dependencies of approved ones (asked
/// for these alone, it changes nothing else); nothing may be removed or downgraded, and what was approved comes in exactly
/// the approved version.
pub(crate) fn objection(simulation: &Simulation, approved: &[PlannedInstall], forbidden: &Forbidden) -> Option<String> {
    if !simulation.removals.is_empty() {
        return Some(format!("apt would remove {}", simulation.removals.join(", ")));
    }
    for install in &simulation.installs {
        let (name, to) = (&install.key.name, &install.to);
        if let Some(from) = &install.from
            && versions::compare_dpkg(from, to).is_gt()
        {
            return Some(format!("apt would downgrade {name} from {from} to {to}"));
        }
        if forbidden.blocked.contains(name) {
            return Some(format!("it needs {name} {to}, which the patch baseline rejects and blocks"));
        }
        let itself = approved.len() == 1 && approved.iter().any(|planned| planned.name == *name);
        let needs = if itself { String::new() } else { format!("it needs {name} {to}: ") };
        if let Some(words) = forbidden.unavailable.get(&(name.clone(), to.clone())) {
            return Some(format!("{needs}{words}"));
        }
        if let Some(words) = forbidden.broken.get(name) {
            return Some(format!("{needs}{words}"));
        }
    }
    approved.iter().find_map(|planned| match simulation.find(planned) {
        Some(install) if versions::compare_dpkg(&install.to, &planned.to).is_eq() => None,
        Some(install) => {
            Some(format!("apt would install {} {} instead of the approved {}", planned.name, install.to, planned.to))
        }
        None => Some(format!("apt would not install {} {}", planned.name, planned.to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Reading package lists...\n\
        Inst libperl5.36 [5.36.0-7+deb12u3] (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64]) [perl:amd64 ]\n\
        Inst libfoo:i386 [1:1.0] (1:1.1 Debian:12.1/stable, Debian-Security:12/stable-security [i386]) []\n\
        Inst newdep (2.0-1 Debian:12.1/stable [all])\n\
        Conf libperl5.36 (5.36.0-7+deb12u4 Debian-Security:12/oldstable-security [amd64])\n";

    fn planned(name: &str, architecture: &str, to: &str) -> PlannedInstall {
        PlannedInstall {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            from: "0".to_owned(),
            to: to.to_owned(),
        }
    }

    fn approved() -> Vec<PlannedInstall> {
        vec![planned("libperl5.36", "amd64", "5.36.0-7+deb12u4"), planned("libfoo", "i386", "1:1.1")]
    }

    #[test]
    fn lines_of_a_simulation_are_read() {
        let simulation = Simulation::parse(OUTPUT);
        let read: Vec<_> = simulation
            .installs
            .iter()
            .map(|i| (i.key.name.as_str(), i.key.architecture.as_str(), i.from.as_deref(), i.to.as_str()))
            .collect();
        assert_eq!(
            read,
            [
                ("libperl5.36", "amd64", Some("5.36.0-7+deb12u3"), "5.36.0-7+deb12u4"),
                ("libfoo", "i386", Some("1:1.0"), "1:1.1"),
                ("newdep", "all", None, "2.0-1"),
            ]
        );
        assert_eq!(objection(&simulation, &approved(), &Forbidden::default()), None);
    }

    #[test]
    fn what_goes_beyond_the_approval_is_objected_to() {
        let simulation = Simulation::parse(OUTPUT);
        let why = |output: &str, approved: &[PlannedInstall], forbidden: &Forbidden| {
            objection(&Simulation::parse(output), approved, forbidden).unwrap()
        };
        let none = Forbidden::default();
        assert_eq!(why(&format!("{OUTPUT}Remv vim [2]\n"), &approved(), &none), "apt would remove vim");
        let downgrade = format!("{OUTPUT}Inst curl [8.1] (8.0 Debian:12/stable [amd64])\n");
        assert_eq!(why(&downgrade, &approved(), &none), "apt would downgrade curl from 8.1 to 8.0");
        let mut other = approved();
        other[1].to = "1:1.2".to_owned();
        assert_eq!(why(OUTPUT, &other, &none), "apt would install libfoo 1:1.1 instead of the approved 1:1.2");
        other[1].name = "absent".to_owned();
        assert_eq!(why(OUTPUT, &other, &none), "apt would not install absent 1:1.2");
        let blocked = Forbidden { blocked: BTreeSet::from(["newdep".to_owned()]), ..Forbidden::default() };
        assert!(objection(&simulation, &approved(), &blocked).unwrap().contains("rejects and blocks"));
        let key = ("newdep".to_owned(), "2.0-1".to_owned());
        let unavailable = Forbidden { unavailable: BTreeMap::from([(key, "404".to_owned())]), ..Forbidden::default() };
        assert_eq!(objection(&simulation, &approved(), &unavailable).unwrap(), "it needs newdep 2.0-1: 404");
    }
}
