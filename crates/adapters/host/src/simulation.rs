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
    /// The first line about a package that cannot be understood, cut: what it would do is not known.
    pub(crate) riddle: Option<String>,
}

impl Simulation {
    /// Reads the lines `Inst`, `Remv` and `Purg` of `apt-get -s`:
    /// `Inst NAME[:ARCH] [OLD] (NEW ORIGIN [ARCH]) ...`, `Remv NAME [VERSION]`.
    pub(crate) fn parse(output: &str) -> Self {
        let mut simulation = Self::default();
        for line in output.lines() {
            let (verb, rest) = line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""));
            let understood = match verb {
                "Inst" => parse_install(rest).map(|install| simulation.installs.push(install)),
                "Remv" | "Purg" => parse_name(rest).map(|name| simulation.removals.push(name.to_owned())),
                _ => continue,
            };
            if understood.is_none() && simulation.riddle.is_none() {
                simulation.riddle = Some(line.chars().filter(|c| !c.is_control()).take(200).collect());
            }
        }
        simulation
    }

    fn find(&self, planned: &PlannedInstall) -> Option<&SimulatedInstall> {
        self.installs.iter().find(|install| is_same(&install.key, planned))
    }
}

/// The name at the start, with its architecture if it has one.
fn parse_name(rest: &str) -> Option<&str> {
    let name = rest.split(' ').next()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+-._:".contains(c);
    (name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_name)).then_some(name)
}

/// The archive's label may hold whatever its owner likes, also parentheses and brackets; what apt adds after the last
/// `[ARCH])` holds neither `)` nor a label.
fn parse_install(rest: &str) -> Option<SimulatedInstall> {
    let name = parse_name(rest)?;
    let (before, rest) = rest.strip_prefix(name)?.split_once('(')?;
    let name = name.split(':').next().unwrap_or_default();
    let from = match before.trim() {
        "" => None,
        before => Some(parse_version(before.strip_prefix('[')?.strip_suffix(']')?)?),
    };
    let (inside, _) = rest.rsplit_once("])")?;
    let (inside, architecture) = inside.rsplit_once('[')?;
    let to = parse_version(inside.split(' ').next()?)?;
    if architecture.is_empty() || !architecture.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return None;
    }
    Some(SimulatedInstall {
        key: PackageKey { name: name.to_owned(), architecture: architecture.to_owned() },
        from: from.map(str::to_owned),
        to: to.to_owned(),
    })
}

fn parse_version(text: &str) -> Option<&str> {
    let is_version = |c: char| c.is_ascii_alphanumeric() || "+-.:~_".contains(c);
    (!text.is_empty() && text.chars().all(is_version)).then_some(text)
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
    if let Some(line) = &simulation.riddle {
        return Some(format!("apt says what is not understood here: {line}"));
    }
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
    fn an_archives_label_may_hold_parentheses_and_brackets() {
        let output = "Inst libfoo:i386 [1:1.0] (1:1.1 Foo (c) [x86]) Inc. :1/stable, B:2 [i386]) [bar:i386 on libfoo:i386] [baz ]\n\
            Inst bare (1.0 [all]) []\n";
        let simulation = Simulation::parse(output);
        assert_eq!(simulation.riddle, None);
        let read: Vec<_> =
            simulation.installs.iter().map(|i| (&*i.key.architecture, i.from.as_deref(), &*i.to)).collect();
        assert_eq!(read, [("i386", Some("1:1.0"), "1:1.1"), ("all", None, "1.0")]);
    }

    #[test]
    fn a_line_that_is_not_understood_is_objected_to() {
        let lines = [
            "Inst",
            "Inst ",
            "Inst\tcurl",
            "Inst curl",
            "Inst curl (8.0 Debian:12/stable",
            "Inst curl (8.0 Debian:12/stable)",
            "Inst curl (8.0 Debian:12/stable [])",
            "Inst curl [8.1 (8.0 Debian:12/stable [amd64])",
            "Inst curl [] (8.0 Debian:12/stable [amd64])",
            "Inst curl ( Debian:12/stable [amd64])",
            "Inst (8.0 Debian:12/stable [amd64])",
            "Remv",
            "Remv ",
            "Remv  [2]",
            "Purg [2]",
        ];
        for line in lines {
            let simulation = Simulation::parse(&format!("{OUTPUT}{line}\n"));
            let why = objection(&simulation, &approved(), &Forbidden::default()).unwrap_or_default();
            assert!(why.starts_with("apt says what is not understood here: "), "{line}: {why}");
        }
        // Words of apt that only begin alike.
        assert_eq!(Simulation::parse(&format!("{OUTPUT}Installing:\n  curl\n")), Simulation::parse(OUTPUT));
    }

    #[test]
    fn what_goes_beyond_the_approval_is_objected_to() {
        let simulation = Simulation::parse(OUTPUT);
        let why = |output: &str, approved: &[PlannedInstall], forbidden: &Forbidden| {
            objection(&Simulation::parse(output), approved, forbidden).unwrap()
        };
        let none = Forbidden::default();
        assert_eq!(why(&format!("{OUTPUT}Remv vim [2]\n"), &approved(), &none), "apt would remove vim");
        assert_eq!(why(&format!("{OUTPUT}Purg vim [2]\n"), &approved(), &none), "apt would remove vim");
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
