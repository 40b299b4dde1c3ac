//! Who may call reboot(2).
//!
//! In a pid namespace of its own, reboot(2) ends only that namespace's first process; in the machine's own pid
//! namespace the same call restarts the machine (reboot(2), "Behavior inside PID namespaces"). So everything that
//! would call it must first show, with [`judge`], that it stands inside a host of the lab. Only the binary
//! `testkit-init` holds the call itself; this module only decides.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a host of the lab says that it is one. On the host's own /run, which is new at every boot.
pub const MARKER_PATH: &str = "/run/testkit/host.json";

/// The name of a host's first process, as /proc/1/comm gives it (at most 15 bytes).
pub const INIT_NAME: &str = "testkit-init";

/// The pid namespace a kernel starts with always has this number (`PROC_PID_INIT_INO` in the kernel's
/// include/linux/proc_ns.h).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What the marker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The host's name.
    pub host: String,
    /// The pid namespace of the machine (of the process that made the lab).
    pub machine_pid_namespace: String,
}

/// What is known about the place a reboot is asked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The pid namespace of the asking process.
    pub own_pid_namespace: Option<String>,
    /// The marker, if there is a readable one.
    pub marker: Option<Marker>,
    /// The name of process 1.
    pub first_process: Option<String>,
}

impl Surroundings {
    /// Looks around.
    #[must_use]
    pub fn here() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        Self {
            own_pid_namespace: std::fs::read_link("/proc/self/ns/pid").ok().map(|l| l.to_string_lossy().into_owned()),
            marker: text(MARKER_PATH).and_then(|json| serde_json::from_str(&json).ok()),
            first_process: text("/proc/1/comm").map(|name| name.trim_end().to_owned()),
        }
    }
}

/// Leave to call reboot(2). Only [`judge`] makes one.
#[derive(Debug)]
pub struct Permit(());

/// Why there is no leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no marker: this is no host of the lab.
    NoMarker,
    /// The own pid namespace cannot be read.
    UnknownNamespace,
    /// The own pid namespace is the machine's: the call would restart the machine.
    MachineNamespace,
    /// The first process is not the lab's.
    ForeignInit,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoMarker => "this is no host of the lab: there is no marker",
            Self::UnknownNamespace => "the own pid namespace cannot be read",
            Self::MachineNamespace => "this is the machine's own pid namespace: the machine would restart",
            Self::ForeignInit => "the first process here is not the lab's",
        })
    }
}

/// Gives leave only inside a host of the lab.
///
/// # Errors
/// In every other place, and whenever something needed for the judgement is unknown.
pub fn judge(surroundings: &Surroundings) -> Result<Permit, Refused> {
    let marker = surroundings.marker.as_ref().ok_or(Refused::NoMarker)?;
    let own = surroundings.own_pid_namespace.as_deref().ok_or(Refused::UnknownNamespace)?;
    if !own.starts_with("pid:[") || !marker.machine_pid_namespace.starts_with("pid:[") {
        return Err(Refused::UnknownNamespace);
    }
    if own == FIRST_PID_NAMESPACE || own == marker.machine_pid_namespace {
        return Err(Refused::MachineNamespace);
    }
    if surroundings.first_process.as_deref() != Some(INIT_NAME) {
        return Err(Refused::ForeignInit);
    }
    Ok(Permit(()))
}

/// Where the marker lies under another root than `/`.
#[must_use]
pub fn marker_under(root: &Path) -> std::path::PathBuf {
    root.join(MARKER_PATH.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside() -> Surroundings {
        Surroundings {
            own_pid_namespace: Some("pid:[4026532999]".to_owned()),
            marker: Some(Marker { host: "h1".to_owned(), machine_pid_namespace: "pid:[4026532000]".to_owned() }),
            first_process: Some(INIT_NAME.to_owned()),
        }
    }

    #[test]
    fn a_host_of_the_lab_may_reboot_itself() {
        assert!(judge(&inside()).is_ok());
    }

    #[test]
    fn everyone_else_may_not() {
        let refused = |change: &dyn Fn(&mut Surroundings)| {
            let mut place = inside();
            change(&mut place);
            judge(&place).unwrap_err()
        };
        assert_eq!(refused(&|place| place.marker = None), Refused::NoMarker);
        assert_eq!(refused(&|place| place.own_pid_namespace = None), Refused::UnknownNamespace);
        assert_eq!(refused(&|place| place.own_pid_namespace = Some(String::new())), Refused::UnknownNamespace);
        assert_eq!(refused(&|place| place.first_process = Some("systemd".to_owned())), Refused::ForeignInit);
        assert_eq!(refused(&|place| place.first_process = None), Refused::ForeignInit);
        let machine = "pid:[4026532000]".to_owned();
        assert_eq!(refused(&|place| place.own_pid_namespace = Some(machine.clone())), Refused::MachineNamespace);
        let first = FIRST_PID_NAMESPACE.to_owned();
        assert_eq!(refused(&|place| place.own_pid_namespace = Some(first.clone())), Refused::MachineNamespace);
    }

    #[test]
    fn the_machine_that_runs_this_test_is_refused() {
        // Only looks and judges: nothing here could restart anything, whatever the judgement.
        assert_eq!(judge(&Surroundings::here()).unwrap_err(), Refused::NoMarker);
        let claimed = Surroundings {
            marker: Some(Marker {
                host: "h1".to_owned(),
                machine_pid_namespace: crate::machine::own_pid_namespace().unwrap(),
            }),
            first_process: Some(INIT_NAME.to_owned()),
            ..Surroundings::here()
        };
        assert_eq!(judge(&claimed).unwrap_err(), Refused::MachineNamespace);
    }
}
