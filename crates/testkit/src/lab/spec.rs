use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::reboot_guard::Marker;

/// What a host's first process is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSpec {
    /// What the host will know about itself.
    pub marker: Marker,
    /// The host's root, as the machine sees it.
    pub root: PathBuf,
    /// The first process's own program, as the machine sees it.
    pub init_binary: PathBuf,
}

/// A program that a host runs from boot on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Program (an absolute path) and arguments.
    pub command: Vec<String>,
    /// Variables beside [`ServiceSpec::BASE_ENVIRONMENT`].
    pub environment: BTreeMap<String, String>,
    /// Whether it is started again whenever it ends.
    pub restart: bool,
}

impl ServiceSpec {
    /// Where a host keeps them.
    pub const FOLDER: &'static str = "/etc/testkit/services";
    /// Where their output goes: a file for each, appended to.
    pub const LOG_FOLDER: &'static str = "/var/log/testkit";
    /// Where the process id of each running one lies.
    pub const PID_FOLDER: &'static str = "/run/testkit/services";
    /// What every program in a host finds in its environment.
    pub const BASE_ENVIRONMENT: [(&'static str, &'static str); 4] = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ];

    /// A program that is started again whenever it ends.
    #[must_use]
    pub fn always<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), restart: true, ..Self::default() }
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }
}
