//! Whether a reboot follows an installation, and which installations wait for one.

use crate::{InstallResult, PendingInstall, RebootOption, RebootPolicy};
use serde::{Deserialize, Serialize};

/// Names of the Debian packages whose change needs a reboot: the kernel, the C library, systemd and D-Bus, because they
/// run since boot and cannot be restarted under a running system. A trailing `*` stands for any ending but `-dbg` and
/// `-dbgsym`, which are debugging symbols.
pub const REBOOT_PACKAGES: [&str; 11] = [
    "linux-image-*",
    "linux-modules-*",
    "raspberrypi-kernel",
    "libc6",
    "systemd",
    "libsystemd0",
    "libsystemd-shared",
    "dbus",
    "dbus-broker",
    "dbus-daemon",
    "libdbus-1-3",
];

/// What is known when the decision is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RebootFacts {
    /// Whether this run installed at least one patch.
    pub installed_any: bool,
    /// Whether a patch in the state INSTALLED_PENDING_REBOOT was found.
    pub pending_any: bool,
    /// Whether the distribution asks for a reboot: `/run/reboot-required` exists.
    pub reboot_required_file: bool,
    /// Names of all packages that this run changed or added, dependencies too.
    pub changed_packages: Vec<String>,
}

/// Whether to reboot, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootDecision {
    /// Whether.
    pub reboot: bool,
    /// Why.
    pub reason: RebootReason,
}

/// Why a reboot follows or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RebootReason {
    /// No: the run was not allowed to.
    NoRebootOption,
    /// No: this run installed nothing and nothing waits for a reboot. What others installed is not ours to reboot for.
    NothingInstalled,
    /// No: nothing that was installed needs it.
    NotNeeded,
    /// Yes: patches were installed, and the policy is AWS's.
    Installed,
    /// Yes: patches of earlier runs wait for it.
    Pending,
    /// Yes: the distribution asks for it.
    RebootRequiredFile,
    /// Yes: these packages changed.
    PackagesChanged {
        /// Their names.
        names: Vec<String>,
    },
}

impl std::fmt::Display for RebootReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRebootOption => f.write_str("no reboot: the run was started with NoReboot"),
            Self::NothingInstalled => f.write_str("no reboot: nothing was installed and nothing waits for one"),
            Self::NotNeeded => f.write_str("no reboot: nothing that was installed needs one"),
            Self::Installed => f.write_str("reboot: patches were installed, and the reboot policy is aws"),
            Self::Pending => f.write_str("reboot: patches of an earlier run wait for one"),
            Self::RebootRequiredFile => f.write_str("reboot: the distribution asks for one (/run/reboot-required)"),
            Self::PackagesChanged { names } => write!(f, "reboot: these packages changed: {}", names.join(", ")),
        }
    }
}

fn needs_reboot(name: &str) -> bool {
    REBOOT_PACKAGES.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start) && !name.ends_with("-dbg") && !name.ends_with("-dbgsym"),
        None => *pattern == name,
    })
}

/// Decides whether a reboot follows an Install run.
///
/// Patches that wait since an earlier NoReboot run always count: without the reboot they would never comply.
#[must_use]
pub fn reboot_decision(option: RebootOption, policy: RebootPolicy, facts: &RebootFacts) -> RebootDecision {
    let no = |reason| RebootDecision { reboot: false, reason };
    let yes = |reason| RebootDecision { reboot: true, reason };
    if option == RebootOption::NoReboot {
        return no(RebootReason::NoRebootOption);
    }
    if facts.pending_any {
        return yes(RebootReason::Pending);
    }
    if !facts.installed_any {
        return no(RebootReason::NothingInstalled);
    }
    match policy {
        RebootPolicy::Aws => yes(RebootReason::Installed),
        RebootPolicy::Needed => {
            let mut names: Vec<String> =
                facts.changed_packages.iter().filter(|name| needs_reboot(name)).cloned().collect();
            names.sort_unstable();
            names.dedup();
            match names.is_empty() {
                false => yes(RebootReason::PackagesChanged { names }),
                true if facts.reboot_required_file => yes(RebootReason::RebootRequiredFile),
                true => no(RebootReason::NotNeeded),
            }
        }
    }
}

/// Which of a run's installations wait for a reboot, to be remembered until the boot id changes: with NoReboot all that
/// succeeded, otherwise all if a reboot follows (until it has happened) and none if none is needed.
#[must_use]
pub fn pending_installs(
    installs: &[InstallResult],
    option: RebootOption,
    decision: &RebootDecision,
    boot_id: &str,
) -> Vec<PendingInstall> {
    if option != RebootOption::NoReboot && !decision.reboot {
        return Vec::new();
    }
    installs
        .iter()
        .filter(|install| install.failure.is_none())
        .map(|install| PendingInstall {
            key: install.key.clone(),
            version: install.version.clone(),
            boot_id: boot_id.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use RebootOption::{NoReboot, RebootIfNeeded};
    use RebootPolicy::{Aws, Needed};
    use packages::PackageKey;

    fn facts(installed_any: bool, pending_any: bool, file: bool, changed: &[&str]) -> RebootFacts {
        RebootFacts {
            installed_any,
            pending_any,
            reboot_required_file: file,
            changed_packages: changed.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// A sentence, what is given, and whether a reboot follows and why.
    macro_rules! cases {
        ($($case:literal: $option:expr, $policy:expr, $facts:expr => $reboot:expr, $reason:expr;)+) => {$(
            let decision = RebootDecision { reboot: $reboot, reason: $reason };
            assert_eq!(reboot_decision($option, $policy, &$facts), decision, $case);
        )+};
    }

    #[test]
    fn each_case_reboots_or_not_for_its_reason() {
        let kernel = RebootReason::PackagesChanged { names: vec!["linux-image-6.1.0-40-amd64".to_owned()] };
        let image: &[&str] = &["linux-image-6.1.0-40-amd64", "curl"];
        let curl: &[&str] = &["curl"];
        cases! {
            "NoReboot never reboots": NoReboot, Aws, facts(true, true, true, image) => false, RebootReason::NoRebootOption;
            "AWS reboots after any": RebootIfNeeded, Aws, facts(true, false, false, curl) => true, RebootReason::Installed;
            "AWS reboots for the pending": RebootIfNeeded, Aws, facts(false, true, false, &[]) => true, RebootReason::Pending;
            "AWS does nothing after nothing":
                RebootIfNeeded, Aws, facts(false, false, true, &[]) => false, RebootReason::NothingInstalled;
            "curl needs none": RebootIfNeeded, Needed, facts(true, false, false, curl) => false, RebootReason::NotNeeded;
            "the distribution's signal counts":
                RebootIfNeeded, Needed, facts(true, false, true, curl) => true, RebootReason::RebootRequiredFile;
            "a kernel counts without a signal": RebootIfNeeded, Needed, facts(true, false, false, image) => true, kernel;
            "what others installed is not ours":
                RebootIfNeeded, Needed, facts(false, false, true, &[]) => false, RebootReason::NothingInstalled;
            "the pending must become compliant":
                RebootIfNeeded, Needed, facts(false, true, false, &[]) => true, RebootReason::Pending;
        }
    }

    #[test]
    fn kernel_libc_systemd_and_dbus_need_a_reboot_and_their_neighbours_do_not() {
        for name in ["linux-image-amd64", "linux-image-6.8.0-60-generic", "libc6", "systemd", "dbus", "libsystemd0"] {
            assert!(needs_reboot(name), "{name}");
        }
        for name in [
            "linux-libc-dev",
            "linux-headers-amd64",
            "libc6-dev",
            "linux-image-6.1.0-40-amd64-dbg",
            "libc-bin",
            "systemd-timesyncd",
            "curl",
            "dbus-x11",
        ] {
            assert!(!needs_reboot(name), "{name}");
        }
    }

    #[test]
    fn after_no_reboot_every_success_waits_and_after_an_unneeded_reboot_none_does() {
        let install = |name: &str, failure: Option<&str>| InstallResult {
            key: PackageKey { name: name.to_owned(), architecture: "amd64".to_owned() },
            version: "2".to_owned(),
            failure: failure.map(str::to_owned),
        };
        let installs = [install("curl", None), install("vim", Some("disk full"))];
        let pending = |option, reboot| {
            let decision = RebootDecision { reboot, reason: RebootReason::NotNeeded };
            pending_installs(&installs, option, &decision, "boot-1")
        };
        let names = |list: Vec<PendingInstall>| list.into_iter().map(|p| (p.key.name, p.boot_id)).collect::<Vec<_>>();
        let curl = vec![("curl".to_owned(), "boot-1".to_owned())];
        assert_eq!(names(pending(NoReboot, false)), curl);
        assert_eq!(names(pending(RebootIfNeeded, true)), curl);
        assert_eq!(names(pending(RebootIfNeeded, false)), vec![]);
    }
}
