use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::process::run_bounded;

/// Whether these tests run with root's rights, which the lab needs.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a continuous integration runs the tests (`CI=true`): there, a test that cannot run is a failed test.
#[must_use]
pub fn in_continuous_integration() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Where a binary of this workspace lies: beside the test's own executable.
///
/// # Errors
/// When it is not built; the text says how to build it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this test's own path is unknown")?;
    // target/debug/deps/test-0123 -> target/debug; a binary lies in target/debug itself.
    for folder in own.ancestors().skip(1).take(2) {
        let found = folder.join(name);
        if found.is_file() {
            return Ok(found);
        }
    }
    bail!("{name} is not built beside {}: run `cargo xtask test`, or `cargo build --workspace` first", own.display())
}

/// What the lab takes over from this machine's own apt: where Debian is fetched from, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AptSettings {
    /// Where the main archive lies, without a slash at its end.
    pub main_uri: String,
    /// Where the security archive lies, without a slash at its end.
    pub security_uri: String,
    /// The proxy this machine's apt uses for http, if any.
    pub proxy: Option<String>,
    /// Settings about the age of Release files that differ from apt's own.
    pub date_checks: Vec<String>,
}

impl AptSettings {
    /// Reads them: `apt-get indextargets` (apt-get(8)) names the archives, `apt-config` the rest.
    ///
    /// # Errors
    /// When this machine's apt knows no Debian archive, or has not fetched its lists yet.
    pub fn of_this_machine() -> anyhow::Result<Self> {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]);
        let targets = run_bounded(&mut command, Duration::from_secs(60))?.expect_success("apt-get indextargets")?;
        let (main_uri, security_uri) = archives(&targets)?;
        let config = run_bounded(Command::new("apt-config").arg("dump"), Duration::from_secs(60))?
            .expect_success("apt-config dump")?;
        Ok(Self { main_uri, security_uri, proxy: proxy(&config), date_checks: date_checks(&config) })
    }

    /// The hosts (with port) that packages come from: all that the lab's proxy lets through.
    #[must_use]
    pub fn allowed_hosts(&self) -> Vec<String> {
        [&self.main_uri, &self.security_uri].iter().filter_map(|uri| authority(uri)).collect()
    }
}

/// `host:port` of an http or https URI; the port is the scheme's own unless the URI names one.
pub(crate) fn authority(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let authority = rest.split('/').next().filter(|authority| !authority.is_empty())?;
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    match (authority.rsplit_once(':'), scheme) {
        (Some((_, port)), _) if port.chars().all(|c| c.is_ascii_digit()) => Some(authority.to_owned()),
        (_, "http") => Some(format!("{authority}:80")),
        (_, "https") => Some(format!("{authority}:443")),
        _ => None,
    }
}

/// The main and the security archive among the lines of `apt-get indextargets`.
fn archives(targets: &str) -> anyhow::Result<(String, String)> {
    let find = |label: &str| {
        targets.lines().find_map(|line| {
            let mut fields = line.split('|');
            let matches = fields.next() == Some("Debian") && fields.next() == Some(label);
            fields.next().filter(|_| matches).map(|uri| uri.trim_end_matches('/').to_owned())
        })
    };
    match (find("Debian"), find("Debian-Security")) {
        (Some(main), Some(security)) => Ok((main, security)),
        _ => bail!(
            "this machine's apt has no lists of Debian's main and security archives: the lab takes its mirror from \
             there. Run `apt-get update`; on another distribution the lab's tests cannot run"
        ),
    }
}

/// The http proxy in the output of `apt-config dump`.
fn proxy(config: &str) -> Option<String> {
    let value = config.lines().find_map(|line| line.strip_prefix("Acquire::http::Proxy \""))?;
    Some(value.trim_end_matches("\";").to_owned()).filter(|value| !value.is_empty() && value != "DIRECT")
}

/// The lines about Release dates in the output of `apt-config dump`: where mirrors lag, hosts need them too.
fn date_checks(config: &str) -> Vec<String> {
    let wanted = ["Acquire::Check-Valid-Until ", "Acquire::Check-Date ", "Acquire::Max-FutureTime "];
    let lines = config.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name)));
    lines.map(str::to_owned).collect()
}

/// The pid namespace of this process as the kernel writes it: `pid:[4026531836]`.
///
/// # Errors
/// When /proc is not mounted.
pub(crate) fn own_pid_namespace() -> anyhow::Result<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").context("/proc/self/ns/pid cannot be read")?;
    Ok(link.to_string_lossy().into_owned())
}

/// Whether a process with this id lives and started at this time (field 22 of /proc/PID/stat, proc_pid_stat(5)).
pub(crate) fn lives(pid: u32, started: &str) -> bool {
    start_time(pid).is_some_and(|found| found == started)
}

/// When a process started, in clock ticks since boot; with its id this names it for good.
pub(crate) fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces.
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_apart_by_origin_and_label() {
        let lines = "Other|Other|https://a.example/apt/\nDebian|Debian|http://m.example/debian/\n\
                     Debian|Debian-Security|http://m.example/debian-security/\n";
        let (main, security) = archives(lines).unwrap();
        assert_eq!(main, "http://m.example/debian");
        assert_eq!(security, "http://m.example/debian-security");
        assert!(archives("").unwrap_err().to_string().contains("apt-get update"));
    }

    #[test]
    fn an_authority_always_has_its_port() {
        assert_eq!(authority("http://m.example/debian").as_deref(), Some("m.example:80"));
        assert_eq!(authority("https://m.example/").as_deref(), Some("m.example:443"));
        assert_eq!(authority("http://u:p@m.example:8080").as_deref(), Some("m.example:8080"));
        assert_eq!(authority("file:/srv/x"), None);
    }

    #[test]
    fn proxy_and_date_checks_are_taken_over() {
        let config = "Acquire \"\";\nAcquire::Check-Date \"false\";\nAcquire::http::Proxy \"http://p.example:3128\";\n";
        assert_eq!(proxy(config).as_deref(), Some("http://p.example:3128"));
        assert_eq!(date_checks(config), ["Acquire::Check-Date \"false\";"]);
        assert_eq!(proxy("Acquire::http::Proxy \"DIRECT\";"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id();
        let started = start_time(own).unwrap();
        assert!(lives(own, &started));
        assert!(!lives(own, "0"));
    }
}
