//! Installing exactly the approved versions, and whatever they need; one failure must not stop the rest.
//!
//! 1. Simulate. What would remove, downgrade or touch blocked packages is refused; to find which packages are at fault,
//!    the batch is halved until they stand alone.
//! 2. Fetch. What cannot be fetched is left out, together with what needs it.
//! 3. Install, in a session that outlives us. Success is what dpkg's status says afterwards. What dpkg could not install is
//!    left out, and the rest is tried again.
//!
//! The auto-installed marks of apt are as before afterwards: naming a package to `apt-get install` makes it "manual", which
//! would keep it from ever being removed by `autoremove`.

use crate::apt::{Apt, LOCK_WAIT_SECONDS, words_of};
use crate::command::{Ended, run_killable};
use crate::dpkg::{self, Installed};
use crate::files::{read_if_there, write_durably};
use crate::read::apt_paths;
use crate::simulation::{Forbidden, Simulation, objection};
use crate::transaction::{transact, wait_for_earlier};
use crate::{HostError, HostRoot};
use packages::PackageKey;
use patching::{InstallResult, PlannedInstall};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A simulation that takes longer is ended.
const SIMULATION_BOUND: Duration = Duration::from_secs(300);
/// A download that takes longer is ended, and what has come until then is used.
const FETCH_BOUND: Duration = Duration::from_secs(2 * 3600);
/// How long a transaction of an earlier attempt is waited for.
pub(crate) const EARLIER_BOUND: Duration = Duration::from_secs(2 * 3600);

/// What an installation needs of its surroundings.
pub struct InstallContext<'a> {
    /// The job's folder: outputs of package transactions stay there.
    pub job_dir: &'a Path,
    /// For people: what happens, and all that apt and dpkg say.
    pub log: &'a mut dyn Write,
    /// Whether the run was cancelled: nothing new begins then; a running transaction ends by itself.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Told whenever results came in, so that they can be kept before the next step.
    pub on_results: &'a mut dyn FnMut(&[InstallResult]) -> Result<(), HostError>,
}

/// One package that is other than before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The package.
    pub key: PackageKey,
    /// The version before; `None`: it was not installed.
    pub from: Option<String>,
    /// The version now.
    pub to: String,
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallOutcome {
    /// One for each approved package that was tried; without those that a cancellation kept from their turn.
    pub results: Vec<InstallResult>,
    /// All packages that dpkg has in another version than before, dependencies too.
    pub changed: Vec<Changed>,
    /// Whether it was cancelled before all was tried.
    pub cancelled: bool,
}

/// Installs exactly these versions, and what they need, on a host that we may change.
///
/// `blocked`: names of packages that must not be changed even as dependencies.
///
/// # Errors
/// When we lack privilege, a transaction of an earlier attempt does not end, or files of ours cannot be written. What fails
/// in a package is no error but a result.
pub fn install(
    host: &HostRoot,
    planned: &[PlannedInstall],
    blocked: &[String],
    context: InstallContext<'_>,
) -> Result<InstallOutcome, HostError> {
    if !host.privileged {
        return Err(HostError::NotPrivileged);
    }
    let apt = Apt::of_host(host)?;
    wait_for_earlier(&apt, EARLIER_BOUND, context.cancelled, context.log)?;
    let before = Installed::read(host)?;
    let (paths, _) = apt_paths(host);
    let marks = AutomaticMarks::remember(host, paths.extended_states.clone())?;
    let forbidden = Forbidden { blocked: blocked.iter().cloned().collect(), ..Forbidden::default() };
    let mut installer = Installer::new(host, apt, context, forbidden);
    installer.finish_interrupted()?;
    let wanted = installer.well_formed(planned)?;
    let batches = installer.sift(wanted)?;
    installer.work_through(batches)?;
    marks.restore(&mut installer)?;
    let after = Installed::read(host)?;
    let changed = changes(&before, &after);
    remove_fetched(&paths.archives, &changed);
    Ok(InstallOutcome { results: installer.results, changed, cancelled: installer.cancelled })
}

/// Finishes what an interrupted dpkg left (`dpkg --configure -a`), after waiting for transactions of earlier attempts.
pub(crate) fn finish_interrupted(host: &HostRoot, context: InstallContext<'_>) -> Result<(), HostError> {
    let apt = Apt::of_host(host)?;
    wait_for_earlier(&apt, EARLIER_BOUND, context.cancelled, context.log)?;
    Installer::new(host, apt, context, Forbidden::default()).finish_interrupted().map(drop)
}

/// What dpkg has in another version than before.
pub(crate) fn changes(before: &Installed, after: &Installed) -> Vec<Changed> {
    let old: BTreeMap<&PackageKey, &str> = before.versions().collect();
    let new = after.versions().filter(|(key, version)| old.get(key) != Some(version));
    new.map(|(key, version)| Changed {
        key: key.clone(),
        from: old.get(key).map(|version| (*version).to_owned()),
        to: version.to_owned(),
    })
    .collect()
}

struct Installer<'h, 'c> {
    host: &'h HostRoot,
    apt: Apt,
    context: InstallContext<'c>,
    forbidden: Forbidden,
    results: Vec<InstallResult>,
    cancelled: bool,
    /// Whether apt can work at all, once asked: its words if it cannot.
    healthy: Option<Result<(), String>>,
    /// Why nothing more can be installed.
    hopeless: Option<String>,
}

/// How a fetch ended.
enum Fetched {
    All,
    /// Some files cannot be had; they are in `forbidden.unavailable` now.
    Without,
    /// For a reason that names no file.
    Failed(String),
}

impl<'h, 'c> Installer<'h, 'c> {
    fn new(host: &'h HostRoot, apt: Apt, context: InstallContext<'c>, forbidden: Forbidden) -> Self {
        Self { host, apt, context, forbidden, results: Vec::new(), cancelled: false, healthy: None, hopeless: None }
    }

    fn say(&mut self, line: &str) {
        // A log that cannot be written to must not stop an installation.
        let _ = writeln!(self.context.log, "{line}");
    }

    fn is_cancelled(&mut self) -> bool {
        self.cancelled = self.cancelled || (self.context.cancelled)();
        self.cancelled
    }

    fn result(&mut self, planned: &PlannedInstall, failure: Option<String>) {
        if let Some(words) = &failure {
            self.say(&format!("Failed: {} {}: {}", planned.name, planned.to, first_line(words)));
        }
        let key = PackageKey { name: planned.name.clone(), architecture: planned.architecture.clone() };
        self.results.push(InstallResult { key, version: planned.to.clone(), failure });
    }

    fn keep_results(&mut self) -> Result<(), HostError> {
        (self.context.on_results)(&self.results)
    }

    /// Takes out what is not in the form of the Debian Policy: names and versions come from a server and from lists, and
    /// become arguments of `apt-get`.
    fn well_formed(&mut self, planned: &[PlannedInstall]) -> Result<Vec<PlannedInstall>, HostError> {
        let formed = |p: &PlannedInstall| {
            dpkg::is_package_name(&p.name) && dpkg::is_architecture(&p.architecture) && dpkg::is_version(&p.to)
        };
        let (good, bad): (Vec<_>, Vec<_>) = planned.iter().cloned().partition(formed);
        for planned in &bad {
            self.result(planned, Some("its name, architecture or version is not well-formed".to_owned()));
        }
        self.keep_results()?;
        Ok(good)
    }

    /// Divides a list into batches that apt would install as they are; what it would not is failed.
    fn sift(&mut self, list: Vec<PlannedInstall>) -> Result<Vec<Vec<PlannedInstall>>, HostError> {
        let mut parts = vec![list];
        let mut accepted: Vec<Vec<PlannedInstall>> = Vec::new();
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            if self.is_cancelled() {
                return Ok(Vec::new());
            }
            let Some(why) = self.objection_to(&part)? else {
                accepted.push(part);
                continue;
            };
            if self.is_cancelled() {
                return Ok(Vec::new());
            }
            if let Err(words) = self.health()? {
                parts.push(part);
                for planned in parts.iter().flatten().chain(accepted.iter().flatten()).cloned().collect::<Vec<_>>() {
                    self.result(&planned, Some(words.clone()));
                }
                self.keep_results()?;
                return Ok(Vec::new());
            }
            if let [planned] = part.as_slice() {
                self.result(&planned.clone(), Some(why));
                continue;
            }
            let second = part.split_off(part.len() / 2);
            parts.push(second);
            parts.push(part);
        }
        self.keep_results()?;
        if accepted.len() > 1 {
            let all: Vec<PlannedInstall> = accepted.iter().flatten().cloned().collect();
            if self.objection_to(&all)?.is_none() {
                return Ok(vec![all]);
            }
        }
        Ok(accepted)
    }

    fn objection_to(&mut self, part: &[PlannedInstall]) -> Result<Option<String>, HostError> {
        match self.simulate(part)? {
            Ok(simulation) => Ok(objection(&simulation, part, &self.forbidden)),
            Err(words) => Ok(Some(words)),
        }
    }

    /// Whether apt can work at all: it refuses everything while dependencies of what is installed are unmet.
    fn health(&mut self) -> Result<Result<(), String>, HostError> {
        if let Some(known) = &self.healthy {
            return Ok(known.clone());
        }
        let health = self.simulate(&[])?.map(drop);
        self.healthy = Some(health.clone());
        Ok(health)
    }

    fn simulate(&mut self, part: &[PlannedInstall]) -> Result<Result<Simulation, String>, HostError> {
        let mut command = self.install_command(&["-s"], part);
        let ran = run_killable(&mut command, &self.work_dir(), SIMULATION_BOUND, self.context.cancelled)?;
        Ok(match ran.ended {
            Ended::Itself { success: true } => Ok(Simulation::parse(&ran.output)),
            Ended::Itself { success: false } => Err(words_of(&ran.output)),
            Ended::TimedOut => Err(format!("apt-get -s did not end within {} s", SIMULATION_BOUND.as_secs())),
            Ended::Cancelled => {
                self.cancelled = true;
                Err("cancelled".to_owned())
            }
        })
    }

    /// `apt-get install` of exactly these versions.
    fn install_command(&self, options: &[&str], part: &[PlannedInstall]) -> Command {
        let mut command = self.apt.get();
        command.args(["-q", "-y", "--only-upgrade"]).args(options).args(["install", "--"]);
        command.args(part.iter().map(|p| format!("{}:{}={}", p.name, p.architecture, p.to)));
        command
    }

    fn work_dir(&self) -> PathBuf {
        self.host.state_dir.join("work")
    }

    fn work_through(&mut self, batches: Vec<Vec<PlannedInstall>>) -> Result<(), HostError> {
        let mut queue = VecDeque::from(batches);
        while let Some(batch) = queue.pop_front() {
            if self.is_cancelled() {
                return Ok(());
            }
            if let Some(words) = self.hopeless.clone() {
                batch.iter().for_each(|planned| self.result(planned, Some(words.clone())));
                continue;
            }
            let left = self.attempt(batch)?;
            for part in left.into_iter().rev() {
                queue.push_front(part);
            }
            self.keep_results()?;
        }
        self.keep_results()
    }

    /// Tries one batch. What comes back is to be tried next, and is less, or in smaller parts, than what went in.
    fn attempt(&mut self, batch: Vec<PlannedInstall>) -> Result<Vec<Vec<PlannedInstall>>, HostError> {
        // A batch before this one may have brought some of it along.
        let installed = Installed::read(self.host)?;
        let (done, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(|planned| installed.has(planned));
        for planned in &done {
            self.result(planned, None);
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        match self.fetch(&batch)? {
            Fetched::All => {}
            Fetched::Without => return self.sift(batch),
            Fetched::Failed(words) => return Ok(self.halved(batch, &words)),
        }
        if self.is_cancelled() {
            return Ok(vec![batch]);
        }
        self.say(&format!("Installing {}.", counted(batch.len(), "package")));
        let mut command = self.install_command(&["--no-remove"], &batch);
        let output = transact(&self.apt, &mut command, self.context.job_dir, self.context.log)?.output;
        self.judge(batch, &output)
    }

    /// Downloads what a batch needs, without installing; it can be killed at any moment.
    fn fetch(&mut self, batch: &[PlannedInstall]) -> Result<Fetched, HostError> {
        let until = Instant::now() + Duration::from_secs(LOCK_WAIT_SECONDS);
        let ran = loop {
            let mut command = self.install_command(&["--download-only", "--no-remove"], batch);
            let ran = run_killable(&mut command, &self.work_dir(), FETCH_BOUND, self.context.cancelled)?;
            // apt waits for dpkg's lock, but not for the one of its archives.
            let locked = !ran.succeeded() && ran.output.contains("archives/lock");
            if !locked || Instant::now() >= until {
                break ran;
            }
            thread::sleep(Duration::from_secs(1));
        };
        match ran.ended {
            Ended::Itself { success: true } => return Ok(Fetched::All),
            Ended::Cancelled => {
                self.cancelled = true;
                return Ok(Fetched::All);
            }
            _ => {}
        }
        let words = words_of(&ran.output);
        // Without those it has, apt lists the files that it would still have to fetch.
        let mut command = self.install_command(&["--print-uris", "--no-remove"], batch);
        let uris = run_killable(&mut command, &self.work_dir(), SIMULATION_BOUND, self.context.cancelled)?;
        let failed = unfetched(&uris.output, &ran.output);
        let known = self.forbidden.unavailable.len();
        for (key, why) in failed {
            self.say(&format!("Cannot be downloaded: {} {}: {}", key.0, key.1, first_line(&why)));
            self.forbidden.unavailable.insert(key, why);
        }
        if self.forbidden.unavailable.len() > known {
            return Ok(Fetched::Without);
        }
        self.note_hopeless(&ran.output, &words);
        Ok(Fetched::Failed(words))
    }

    /// What stands in the way of every package is not tried again with each of them.
    fn note_hopeless(&mut self, output: &str, words: &str) {
        let general = ["Could not get lock", "Unable to acquire the dpkg", "No space left on device"];
        if general.iter().any(|text| output.contains(text)) {
            self.hopeless = Some(words.to_owned());
        }
    }

    fn halved(&mut self, mut batch: Vec<PlannedInstall>, words: &str) -> Vec<Vec<PlannedInstall>> {
        if let [planned] = batch.as_slice() {
            self.result(&planned.clone(), Some(words.to_owned()));
            return Vec::new();
        }
        let second = batch.split_off(batch.len() / 2);
        vec![batch, second]
    }

    /// Decides by dpkg's status what a transaction has done, and what is to be tried next.
    fn judge(&mut self, batch: Vec<PlannedInstall>, output: &str) -> Result<Vec<Vec<PlannedInstall>>, HostError> {
        let installed = Installed::read(self.host)?;
        if batch.iter().all(|planned| installed.has(planned)) {
            for planned in &batch {
                self.result(planned, None);
            }
            return Ok(Vec::new());
        }
        let said = words_of(output);
        self.note_hopeless(output, &said);
        // What apt had unpacked when it stopped is configured here, and may fail here.
        let output = &format!("{output}\n{}", self.finish_interrupted()?);
        let named = processing_errors(output);
        let installed = Installed::read(self.host)?;
        let mut left = Vec::new();
        let mut progress = false;
        let unfinished: BTreeSet<String> = installed.unfinished().into_iter().map(str::to_owned).collect();
        for name in named.iter().filter(|name| !batch.iter().any(|p| p.name == **name && installed.has(p))) {
            progress |= self.forbidden.broken.insert(name.clone(), words_about(name, output)).is_none();
        }
        for planned in batch {
            if installed.has(&planned) {
                self.result(&planned, None);
                progress = true;
            } else if named.contains(&planned.name) || unfinished.contains(&planned.name) {
                let words = words_about(&planned.name, output);
                self.forbidden.broken.insert(planned.name.clone(), words.clone());
                self.result(&planned, Some(words));
                progress = true;
            } else {
                left.push(planned);
            }
        }
        self.healthy = None;
        match (left.is_empty(), progress) {
            (true, _) => Ok(Vec::new()),
            (false, true) => self.sift(left),
            (false, false) => Ok(self.halved(left, &said)),
        }
    }

    /// Lets dpkg finish what it has begun, if there is such a thing, and gives what it says.
    fn finish_interrupted(&mut self) -> Result<String, HostError> {
        let unfinished = {
            let installed = Installed::read(self.host)?;
            installed.unfinished().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        if unfinished.is_empty() && !dpkg::was_interrupted(self.host) {
            return Ok(String::new());
        }
        self.say(&format!(
            "dpkg was interrupted and has not finished with: {}. Running dpkg --configure -a.",
            if unfinished.is_empty() { "its journal".to_owned() } else { unfinished.join(", ") }
        ));
        let until = Instant::now() + Duration::from_secs(LOCK_WAIT_SECONDS);
        loop {
            let mut command = self.apt.configure_all();
            let output = transact(&self.apt, &mut command, self.context.job_dir, self.context.log)?.output;
            // Unlike apt-get, dpkg does not wait for its lock.
            let locked = output.contains("lock was locked by another process");
            if !locked || Instant::now() >= until || self.is_cancelled() {
                return Ok(output);
            }
            thread::sleep(Duration::from_secs(1));
        }
    }
}

/// The packages that apt knew as automatically installed before we named some of them to it. Kept in the state folder until
/// they are restored, so that a death in between loses nothing.
struct AutomaticMarks {
    extended_states: PathBuf,
    kept: PathBuf,
    before: BTreeSet<(String, String)>,
}

impl AutomaticMarks {
    fn remember(host: &HostRoot, extended_states: PathBuf) -> Result<Self, HostError> {
        let kept = host.state_dir.join("automatic-marks.json");
        let mut before = dpkg::automatic(&extended_states);
        if let Some(file) = read_if_there(&kept).map_err(HostError::file(&kept))? {
            before.extend(serde_json::from_slice::<BTreeSet<(String, String)>>(&file).unwrap_or_default());
        }
        write_durably(&kept, &serde_json::to_vec(&before).unwrap_or_default())?;
        Ok(Self { extended_states, kept, before })
    }

    fn restore(self, installer: &mut Installer<'_, '_>) -> Result<(), HostError> {
        let now = dpkg::automatic(&self.extended_states);
        let installed = Installed::read(installer.host)?;
        let lost = self.before.difference(&now).filter(|(name, architecture)| {
            dpkg::is_package_name(name)
                && dpkg::is_architecture(architecture)
                && installed.find(name, architecture).is_some()
        });
        let names: Vec<String> = lost.map(|(name, architecture)| format!("{name}:{architecture}")).collect();
        if !names.is_empty() {
            let mut command = installer.apt.command("apt-mark");
            command.arg("auto").args(names);
            let ran = run_killable(&mut command, &installer.work_dir(), SIMULATION_BOUND, &|| false)?;
            if !ran.succeeded() {
                let words = words_of(&ran.output);
                installer.say(&format!("The marks of automatically installed packages are lost: {words}"));
            }
        }
        std::fs::remove_file(&self.kept).map_err(HostError::file(&self.kept))
    }
}

/// Removes the fetched files of what was installed, as `apt-get clean` would; others' files stay.
fn remove_fetched(archives: &Path, changed: &[Changed]) {
    for change in changed {
        let version = change.to.replace(':', "%3a");
        let name = format!("{}_{version}_{}.deb", change.key.name, change.key.architecture);
        // Already gone where the host's configuration cleans by itself.
        let _ = std::fs::remove_file(archives.join(name));
    }
}

/// Which files could not be fetched, by package and version, with apt's words: of those that `apt-get --print-uris` still
/// lists (`'URI' FILE SIZE HASH`), the ones that the failed fetch complained of.
fn unfetched(uris: &str, output: &str) -> Vec<((String, String), String)> {
    let mut found = Vec::new();
    for line in uris.lines() {
        let Some((uri, rest)) = line.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) else { continue };
        let Some(file) = rest.split_ascii_whitespace().next() else { continue };
        let complaint = output.lines().find(|line| line.starts_with("E: ") && line.contains(uri));
        let mut parts = file.split('_');
        if let (Some(why), Some(name), Some(version)) = (complaint, parts.next(), parts.next()) {
            let version = version.replace("%3a", ":").replace("%3A", ":");
            found.push(((name.to_owned(), version), why.trim_start_matches("E: ").to_owned()));
        }
    }
    found
}

/// The packages that dpkg names after "Errors were encountered while processing:", by name or by file.
fn processing_errors(output: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in output.lines() {
        if line.starts_with("Errors were encountered while processing:") {
            inside = true;
        } else if let (true, Some(item)) = (inside, line.strip_prefix(' ')) {
            let file = item.rsplit('/').next().unwrap_or_default();
            let name = match file.split_once('_') {
                // Unpacked from a folder of apt's own, files are numbered: `001-name_version_arch.deb`.
                Some((numbered, _)) if item.contains("apt-dpkg-install") => {
                    numbered.split_once('-').map_or(numbered, |(_, name)| name)
                }
                Some((name, _)) => name,
                None => item.split(':').next().unwrap_or_default(),
            };
            if dpkg::is_package_name(name) {
                names.insert(name.to_owned());
            }
        } else {
            inside = false;
        }
    }
    names
}

/// What was said about one package: dpkg's lines from "error processing" on, else all error lines.
fn words_about(name: &str, output: &str) -> String {
    let about = |line: &&str| {
        line.starts_with("dpkg: error processing")
            && line
                .split([' ', ':', '/', '_', '(', ')'])
                .any(|word| word == name || word.ends_with(&format!("-{name}")))
    };
    let mut lines = output.lines();
    let Some(first) = lines.find(about) else { return words_of(output) };
    let rest = lines.take_while(|line| line.starts_with(' ') || line.starts_with('\t')).take(5);
    let all: Vec<&str> = std::iter::once(first).chain(rest).map(str::trim).collect();
    all.join("\n")
}

fn first_line(words: &str) -> &str {
    words.lines().next().unwrap_or_default()
}

pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests;
