use patching::RebootPolicy;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How an agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentOptions {
    /// Where identity, jobs, spool and log are.
    pub data_directory: PathBuf,
    /// The program and its first arguments to which `supervise` and other own commands are added; see [`own_program`].
    pub program: Vec<OsString>,
    /// The command that reboots the host; absent: the host's own way.
    pub reboot_command: Option<Vec<String>>,
    /// What `RebootIfNeeded` means on this node.
    pub reboot_policy: RebootPolicy,
    /// The longest wait between two calls, in seconds; at most 60.
    pub reconnect_seconds_max: u32,
    /// How old the node's own key gets before the agent exchanges it, in days.
    pub node_key_days: u32,
    /// Whether log lines go to standard error too.
    pub log_to_stderr: bool,
}

impl AgentOptions {
    /// The defaults, for a data folder and a program.
    #[must_use]
    pub fn new(data_directory: PathBuf, program: Vec<OsString>) -> Self {
        Self {
            data_directory,
            program,
            reboot_command: None,
            reboot_policy: RebootPolicy::default(),
            reconnect_seconds_max: 60,
            node_key_days: crate::trust::NODE_KEY_DAYS,
            log_to_stderr: true,
        }
    }
}

/// `/var/lib/careen-agent` for root; else `careen-agent` in the user's data folder (XDG Base Directory Specification).
#[must_use]
pub fn default_data_directory(privileged: bool) -> PathBuf {
    if privileged {
        return PathBuf::from("/var/lib/careen-agent");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    // Without a home, the current folder: a well-known name in a folder that everybody may write would be a trap.
    data.unwrap_or_default().join("careen-agent")
}

/// This very program, with `arguments` that lead to the agent's commands in it.
///
/// `/proc/self/exe` is used where the program's file was replaced: it still names the one that runs.
#[must_use]
pub fn own_program(arguments: &[&str]) -> Vec<OsString> {
    let path = std::env::current_exe().ok().filter(|path| path.exists());
    let path = path.unwrap_or_else(|| Path::new("/proc/self/exe").to_owned());
    std::iter::once(path.into_os_string()).chain(arguments.iter().map(OsString::from)).collect()
}
