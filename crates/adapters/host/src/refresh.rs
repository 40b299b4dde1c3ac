//! Refreshing apt's package lists.

use crate::apt::{Apt, words_of};
use crate::command::{Ended, Ran, run_killable};
use crate::files::{self, apt_parts, modified_at};
use crate::paths::AptPaths;
use crate::read::{apt_paths, has_lists};
use crate::{HostError, HostRoot};
use identifiers::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Lists refreshed less than so many seconds ago, by us, are not refreshed again.
pub const REFRESH_YOUNG_SECONDS: i64 = 600;
/// A refresh that takes longer is ended.
const REFRESH_BOUND: Duration = Duration::from_secs(900);
/// How long another `apt-get update` is waited for; apt itself does not wait for the lock of the lists.
const LISTS_LOCK_BOUND: Duration = Duration::from_secs(120);

/// What a refresh did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// When we last refreshed these lists with success; `None`: never.
    pub at: Option<Timestamp>,
    /// Whether it was skipped because the lists are young.
    pub skipped: bool,
    /// apt's own words where it failed, wholly or for one source. The lists of before are still there.
    pub failure: Option<String>,
    /// What else apt warned of, in its own words.
    pub warnings: Vec<String>,
}

/// The last success: `refreshed.json` in the state folder.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    at: Timestamp,
    /// The folder of the lists: root's and our own are two.
    lists: PathBuf,
    /// The source files with the times of their last change: a new source makes the lists old.
    sources: Vec<(PathBuf, Timestamp)>,
}

/// Runs `apt-get update`, unless the last successful one is younger than [`REFRESH_YOUNG_SECONDS`] (and `force` is not
/// set). Without privilege the lists go to a folder of our own.
///
/// A refresh that fails is no error: [`Refreshed::failure`] says why.
///
/// # Errors
/// When it is cancelled, or our own state cannot be written.
pub fn refresh(
    host: &HostRoot,
    now: Timestamp,
    force: bool,
    cancelled: &dyn Fn() -> bool,
) -> Result<Refreshed, HostError> {
    let (paths, _) = apt_paths(host);
    let stamp_path = host.state_dir.join("refreshed.json");
    let sources = source_files(&paths);
    let lists = if host.privileged { paths.lists } else { host.state_dir.join("lists") };
    let last = read_stamp(&stamp_path);
    let young = |stamp: &Stamp| {
        (0..REFRESH_YOUNG_SECONDS * 1_000_000).contains(&now.micros_since(stamp.at))
            && stamp.sources == sources
            && stamp.lists == lists
            && has_lists(&lists)
    };
    let at = last.as_ref().map(|stamp| stamp.at);
    if !force && last.as_ref().is_some_and(young) {
        return Ok(Refreshed { at, skipped: true, failure: None, warnings: Vec::new() });
    }
    let ran = match update(host, cancelled) {
        Ok(ran) => ran,
        Err(error @ HostError::Program { .. }) => {
            return Ok(Refreshed { at, skipped: false, failure: Some(error.to_string()), warnings: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    let failure = match ran.ended {
        Ended::Itself { success: true } => None,
        Ended::Itself { success: false } => Some(words_of(&ran.output)),
        Ended::TimedOut => Some(format!("apt-get update did not end within {} s", REFRESH_BOUND.as_secs())),
        Ended::Cancelled => return Err(HostError::Cancelled),
    };
    let warnings = ran.output.lines().filter(|line| line.starts_with("W: ")).take(20).map(str::to_owned).collect();
    if failure.is_some() {
        return Ok(Refreshed { at, skipped: false, failure, warnings });
    }
    let stamp = serde_json::to_vec(&Stamp { at: now, lists, sources }).unwrap_or_default();
    files::write_durably(&stamp_path, &stamp)?;
    Ok(Refreshed { at: Some(now), skipped: false, failure: None, warnings })
}

/// When we last refreshed the lists with success.
pub(crate) fn last_refresh(host: &HostRoot) -> Option<Timestamp> {
    read_stamp(&host.state_dir.join("refreshed.json")).map(|stamp| stamp.at)
}

fn read_stamp(path: &std::path::Path) -> Option<Stamp> {
    serde_json::from_slice(&files::read_if_there(path).ok()??).ok()
}

fn source_files(paths: &AptPaths) -> Vec<(PathBuf, Timestamp)> {
    let parts = apt_parts(&paths.sources_parts, &["list", "sources"], false).unwrap_or_default();
    let all = std::iter::once(paths.sources_list.clone()).chain(parts);
    all.filter_map(|path| modified_at(&path).map(|at| (path, at))).collect()
}

fn update(host: &HostRoot, cancelled: &dyn Fn() -> bool) -> Result<Ran, HostError> {
    let apt = Apt::of_host(host)?;
    let until = Instant::now() + LISTS_LOCK_BOUND;
    loop {
        let mut command = apt.get();
        // Without this a source that cannot be reached is a warning and exit code 0 (apt-get(8), apt.conf(5)).
        command.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"]);
        let ran = run_killable(&mut command, &host.state_dir.join("work"), REFRESH_BOUND, cancelled)?;
        let locked = !ran.succeeded() && ran.output.contains("Could not get lock") && ran.output.contains("lists/lock");
        if !locked || Instant::now() >= until || cancelled() {
            return Ok(ran);
        }
        thread::sleep(Duration::from_secs(1));
    }
}
