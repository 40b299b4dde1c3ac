//! What a host runs from boot on: one JSON file for each service.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use testkit::ServiceSpec;

/// Between a service's end and its next start (systemd's own default is 100 ms).
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// Between the polite and the other signal to a service whose file is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// The services of this host, by name.
#[derive(Debug, Default)]
pub(crate) struct Services(BTreeMap<String, Service>);

#[derive(Debug)]
struct Service {
    spec: ServiceSpec,
    state: State,
}

#[derive(Debug)]
enum State {
    Running(u32),
    Stopping(u32, Instant),
    Restarting(Instant),
    Ended,
}

impl Services {
    /// A process was reaped; it may have been a service's.
    pub(crate) fn ended(&mut self, ended: u32) {
        for (name, service) in &mut self.0 {
            match service.state {
                State::Running(pid) if pid == ended && service.spec.restart => {
                    service.state = State::Restarting(Instant::now() + RESTART_PAUSE);
                }
                State::Running(pid) | State::Stopping(pid, _) if pid == ended => service.state = State::Ended,
                _ => continue,
            }
            // Absent already if the host is being cleaned up.
            let _ = fs::remove_file(pid_path(name));
        }
    }

    /// Starts what is new or due, stops what is no longer wanted.
    pub(crate) fn look(&mut self) {
        let wanted = wanted();
        for (name, service) in &mut self.0 {
            service.step(name, wanted.contains_key(name));
        }
        self.0.retain(|name, service| {
            let kept = wanted.contains_key(name) || !matches!(service.state, State::Ended);
            if !kept {
                // Absent if it could never be started.
                let _ = fs::remove_file(started_path(name));
            }
            kept
        });
        for (name, path) in wanted {
            let Entry::Vacant(vacant) = self.0.entry(name) else { continue };
            match read(&path) {
                Ok(spec) => {
                    let state = start(vacant.key(), &spec);
                    vacant.insert(Service { spec, state });
                }
                Err(error) => eprintln!("service {}: {error:#}", vacant.key()),
            }
        }
    }
}

impl Service {
    fn step(&mut self, name: &str, wanted: bool) {
        match self.state {
            State::Running(pid) if !wanted => {
                signal(pid, Signal::TERM);
                self.state = State::Stopping(pid, Instant::now() + FAREWELL);
            }
            State::Stopping(pid, until) if Instant::now() >= until => signal(pid, Signal::KILL),
            State::Restarting(_) if !wanted => self.state = State::Ended,
            State::Restarting(at) if Instant::now() >= at => self.state = start(name, &self.spec),
            _ => {}
        }
    }
}

/// The services that have a file, with it.
fn wanted() -> BTreeMap<String, PathBuf> {
    let Ok(entries) = fs::read_dir(ServiceSpec::FOLDER) else { return BTreeMap::new() };
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned(), path))
    });
    named.collect()
}

fn read(path: &Path) -> anyhow::Result<ServiceSpec> {
    serde_json::from_slice(&fs::read(path)?).with_context(|| path.display().to_string())
}

fn start(name: &str, spec: &ServiceSpec) -> State {
    match spawn(name, spec) {
        Ok(pid) => State::Running(pid),
        Err(error) => {
            eprintln!("service {name}: {error:#}");
            if spec.restart { State::Restarting(Instant::now() + RESTART_PAUSE) } else { State::Ended }
        }
    }
}

fn spawn(name: &str, spec: &ServiceSpec) -> anyhow::Result<u32> {
    let (program, arguments) = spec.command.split_first().context("it has no command")?;
    fs::create_dir_all(ServiceSpec::LOG_FOLDER)?;
    let log = Path::new(ServiceSpec::LOG_FOLDER).join(format!("{name}.log"));
    let log = File::options().create(true).append(true).open(log)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(testkit::ServiceSpec::BASE_ENVIRONMENT)
        .envs(&spec.environment)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| program.clone())?;
    fs::write(pid_path(name), child.id().to_string())?;
    fs::write(started_path(name), "")?;
    Ok(child.id())
}

fn pid_path(name: &str) -> PathBuf {
    Path::new(ServiceSpec::PID_FOLDER).join(format!("{name}.pid"))
}

fn started_path(name: &str) -> PathBuf {
    Path::new(ServiceSpec::PID_FOLDER).join(format!("{name}.started"))
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, signal);
    }
}
