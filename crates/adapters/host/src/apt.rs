//! How `apt-get`, `dpkg` and their kin are called: environment and settings that never ask, never page and always speak
//! English, so that their words can be read by programs too.

use crate::files;
use crate::{HostError, HostRoot};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long `apt-get` waits for dpkg's lock, in seconds.
pub(crate) const LOCK_WAIT_SECONDS: u64 = 600;

/// In the environment of every package transaction that we start, with the state folder as its value: by it a later
/// attempt finds one that outlived us.
pub(crate) const TRANSACTION_VARIABLE: &str = "CAREEN_PACKAGE_TRANSACTION";

/// What apt and dpkg are given of our own environment: proxies alone.
const PASSED_ON: [&str; 8] =
    ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Calls to the package tools of one host.
#[derive(Debug, Clone)]
pub(crate) struct Apt {
    /// Read before the host's configuration (`APT_CONFIG`): moves everything below another root.
    before: Option<PathBuf>,
    /// Read after the host's configuration (`-c`): lists and caches of our own, where we may not change apt's.
    after: Option<PathBuf>,
    state_dir: PathBuf,
}

impl Apt {
    /// Writes the configuration files that this host needs, if any, into the state folder.
    pub(crate) fn of_host(host: &HostRoot) -> Result<Self, HostError> {
        files::make_folder(&host.state_dir)?;
        let mut apt = Self { before: None, after: None, state_dir: host.state_dir.clone() };
        if !host.is_live() {
            let text = format!("Dir \"{0}/\";\nDPkg::Options:: \"--root={0}\";\n", quotable(&host.root)?);
            apt.before = Some(write_configuration(&host.state_dir.join("apt-root.conf"), &text)?);
        }
        if !host.privileged {
            for folder in ["lists/partial", "apt-cache/archives/partial", "apt-log"] {
                files::make_folder(&host.state_dir.join(folder))?;
            }
            let text = own_folders(quotable(&host.state_dir)?);
            apt.after = Some(write_configuration(&host.state_dir.join("apt-own.conf"), &text)?);
        }
        Ok(apt)
    }

    /// A program with our environment, without input, and with the host's configuration.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).current_dir("/");
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", "/root")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBIAN_PRIORITY", "critical")
            .env("APT_LISTCHANGES_FRONTEND", "none")
            .env("APT_LISTBUGS_FRONTEND", "none")
            // needrestart(1) only lists what should be restarted; it neither asks nor restarts.
            .env("NEEDRESTART_MODE", "l")
            .env("UCF_FORCE_CONFFOLD", "1");
        if let Some(before) = &self.before {
            command.env("APT_CONFIG", before);
        }
        command
    }

    /// `apt-get` with the settings that every call shares.
    pub(crate) fn get(&self) -> Command {
        let mut command = self.command("apt-get");
        if let Some(after) = &self.after {
            command.arg("-c").arg(after);
        }
        for setting in [
            "APT::Color=0",
            "APT::Install-Recommends=false",
            "APT::Install-Suggests=false",
            "APT::Get::AutomaticRemove=false",
            "APT::Get::HideAutoRemove=true",
            "APT::Get::Show-User-Simulation-Note=false",
            "Acquire::Retries=3",
            "Acquire::http::Timeout=30",
            "Acquire::https::Timeout=30",
            "Dpkg::Use-Pty=0",
            "Dpkg::Options::=--force-confdef",
            "Dpkg::Options::=--force-confold",
        ] {
            command.args(["-o", setting]);
        }
        command.args(["-o", &format!("DPkg::Lock::Timeout={LOCK_WAIT_SECONDS}")]);
        command
    }

    /// `dpkg --configure -a`: finishes what an interrupted dpkg left, with the options that apt gives to dpkg on this host.
    pub(crate) fn configure_all(&self) -> Command {
        let mut asked = self.command("apt-config");
        asked.args(["dump", "--format", "%v%n", "DPkg::Options"]);
        let options = asked.output().map(|output| output.stdout).unwrap_or_default();
        let mut command = self.command("dpkg");
        command.args(String::from_utf8_lossy(&options).lines().filter(|option| option.starts_with("--")));
        command.args(["--force-confdef", "--force-confold", "--configure", "-a"]);
        command
    }

    /// The value of [`TRANSACTION_VARIABLE`] for this host.
    pub(crate) fn transaction_mark(&self) -> &Path {
        &self.state_dir
    }
}

/// apt.conf(5) for scans without privilege. Hooks are cleared because they expect root.
fn own_folders(state_dir: &str) -> String {
    format!(
        "Dir::State::lists \"{state_dir}/lists/\";\n\
         Dir::Cache \"{state_dir}/apt-cache/\";\n\
         Dir::Cache::archives \"{state_dir}/apt-cache/archives/\";\n\
         Dir::Log \"{state_dir}/apt-log\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n"
    )
}

/// A path as it can stand between quotes in apt.conf(5).
fn quotable(path: &Path) -> Result<&str, HostError> {
    let unusable = || HostError::UnusablePath { path: path.to_owned() };
    let text = path.to_str().ok_or_else(unusable)?.trim_end_matches('/');
    let usable = path.is_absolute() && !text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'));
    if usable { Ok(text) } else { Err(unusable()) }
}

fn write_configuration(path: &Path, text: &str) -> Result<PathBuf, HostError> {
    let current = files::read_if_there(path).map_err(HostError::file(path))?;
    if current.as_deref() != Some(text.as_bytes()) {
        files::write_durably(path, text.as_bytes())?;
    }
    Ok(path.to_owned())
}

/// What apt or dpkg said of what went wrong: their error lines, else the last lines. Bounded.
pub(crate) fn words_of(output: &str) -> String {
    const CHARACTERS_MAX: usize = 2000;
    const LINES_MAX: usize = 12;
    let is_error = |line: &&str| line.starts_with("E: ") || line.starts_with("dpkg: error");
    let mut lines: Vec<&str> = output.lines().map(str::trim_end).filter(is_error).take(LINES_MAX).collect();
    if lines.is_empty() {
        lines = output.lines().rev().map(str::trim_end).filter(|line| !line.is_empty()).take(3).collect();
        lines.reverse();
    }
    lines.dedup();
    lines.join("\n").chars().take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_error_lines_or_else_the_last_ones() {
        let output = "Reading package lists...\nE: Failed to fetch X  404  Not Found\nE: Some files failed\n";
        assert_eq!(words_of(output), "E: Failed to fetch X  404  Not Found\nE: Some files failed");
        assert_eq!(words_of("one\n\ntwo\nthree\nfour\n"), "two\nthree\nfour");
    }

    #[test]
    fn paths_that_would_end_the_quotes_are_refused() {
        assert_eq!(quotable(Path::new("/var/lib/x/")).unwrap(), "/var/lib/x");
        for path in ["/a\"b", "/a\nb", "relative", "/a\\b"] {
            assert!(quotable(Path::new(path)).is_err(), "{path}");
        }
    }
}
