//! What the tests need of the machine, and how it is had.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use testkit::is_root;

use crate::machine::{program, run_visibly, succeeds};
use crate::postgres;

/// The AWS CLI that the tests drive, as pip names it.
const AWS_CLI: &str = "awscli>=1.44,<1.47";

/// Lists of packages older than this are fetched anew before something is installed.
const LISTS_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How it is known that something is there.
enum Probe {
    Program(&'static str),
    Postgres,
    PythonEnvironments,
}

/// A Debian package, how it is known to be there, and what for.
struct Need {
    package: &'static str,
    probe: Probe,
    reason: &'static str,
    /// Only the lab uses it, which needs root anyway.
    lab: bool,
}

const NEEDS: [Need; 8] = [
    Need { package: "postgresql", probe: Probe::Postgres, reason: "the store's second database", lab: false },
    Need {
        package: "python3-venv",
        probe: Probe::PythonEnvironments,
        reason: "the AWS CLI's surroundings",
        lab: false,
    },
    Need { package: "sqlite3", probe: Probe::Program("sqlite3"), reason: "a database owner's own edits", lab: false },
    Need { package: "gnupg", probe: Probe::Program("gpg"), reason: "signed repositories made in tests", lab: false },
    Need { package: "mmdebstrap", probe: Probe::Program("mmdebstrap"), reason: "the lab's Debian root", lab: true },
    Need { package: "iproute2", probe: Probe::Program("ip"), reason: "the lab's switch and cables", lab: true },
    Need { package: "util-linux", probe: Probe::Program("nsenter"), reason: "the lab's namespaces", lab: true },
    Need { package: "xz-utils", probe: Probe::Program("xz"), reason: "repositories made in tests", lab: false },
];

/// Installs what is missing; without root's rights says what to install.
pub(crate) fn install_missing() -> anyhow::Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| (is_root() || !need.lab) && !is_there(&need.probe)).collect();
    if missing.is_empty() {
        // The lab takes its mirror from apt's lists.
        return if is_root() && lists_age().is_none() { apt(&["update"]) } else { Ok(()) };
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let names = names.join(" ");
    for need in &missing {
        eprintln!("missing: {} ({})", need.package, need.reason);
    }
    if !is_root() {
        bail!("the tests need packages that are not installed: sudo apt-get install --no-install-recommends {names}");
    }
    if lists_age().is_none_or(|age| age > LISTS_AGE_MAX) {
        apt(&["update"])?;
    }
    let without_cluster = WithoutCluster::begin(&missing)?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(missing.iter().map(|need| need.package));
    let mut installed = apt(&install);
    if installed.is_err() {
        // Lists that were young enough may name versions that the mirror no longer has.
        apt(&["update"])?;
        installed = apt(&install);
    }
    drop(without_cluster);
    installed?;
    match missing.iter().find(|need| !is_there(&need.probe)) {
        Some(need) => bail!("{} is installed and yet not usable", need.package),
        None => Ok(()),
    }
}

fn is_there(probe: &Probe) -> bool {
    match probe {
        Probe::Program(name) => program(name).is_some(),
        Probe::Postgres => postgres::binaries().is_ok(),
        Probe::PythonEnvironments => succeeds("python3", &["-c", "import venv, ensurepip"]),
    }
}

fn apt(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"]).args(arguments);
    // Slow mirrors end in an error, not in silence.
    command.args(["--option", "Acquire::Retries=3", "--option", "Acquire::http::Timeout=60"]);
    run_visibly(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

/// How old the youngest list of packages is; none where there is no list.
fn lists_age() -> Option<Duration> {
    let entries = fs::read_dir("/var/lib/apt/lists").ok()?.flatten();
    let lists = entries.filter(|entry| entry.file_name().to_string_lossy().contains("_Packages"));
    let youngest = lists.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    Some(youngest.elapsed().unwrap_or_default())
}

/// While it lives, Debian's postgresql is installed without making and starting a database cluster of the machine's
/// own (pg_createcluster(1), createcluster.d): the tests bring theirs.
struct WithoutCluster(PathBuf);

impl WithoutCluster {
    fn begin(missing: &[&Need]) -> anyhow::Result<Option<Self>> {
        if !missing.iter().any(|need| need.package == "postgresql") {
            return Ok(None);
        }
        let folder = Path::new("/etc/postgresql-common/createcluster.d");
        fs::create_dir_all(folder)?;
        let path = folder.join("careen-tests.conf");
        fs::write(&path, "create_main_cluster = false\n")?;
        Ok(Some(Self(path)))
    }
}

impl Drop for WithoutCluster {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("{} should be removed: {error}", self.0.display());
        }
    }
}

/// The AWS CLI from PyPI in a virtual environment of its own under `target`; gives the path of `aws`.
pub(crate) fn aws_cli(target: &Path) -> anyhow::Result<PathBuf> {
    let folder = target.join("tools/aws-venv");
    let aws = folder.join("bin/aws");
    // Written last: a half-made environment has none, one of another version another.
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == AWS_CLI) && succeeds(&aws.to_string_lossy(), &["--version"])
    {
        return Ok(aws);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    run_visibly(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--timeout", "60", AWS_CLI]);
    run_visibly(&mut pip).context("the AWS CLI from PyPI")?;
    fs::write(&stamp, AWS_CLI)?;
    Ok(aws)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_its_reason_and_one_row() {
        for (index, need) in NEEDS.iter().enumerate() {
            assert!(!need.reason.is_empty());
            assert!(NEEDS.iter().skip(index + 1).all(|other| other.package != need.package), "{}", need.package);
        }
    }

    #[test]
    fn a_probe_tells_there_from_absent() {
        assert!(is_there(&Probe::Program("sh")));
        assert!(!is_there(&Probe::Program("no-such-program-anywhere")));
    }
}
