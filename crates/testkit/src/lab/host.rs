use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Signal, pidfd_send_signal};

use super::files::{RootFolder, tail};
use super::supervisor::{BOUNDING_SET, BootEnd, State, Switch, supervise};
use super::{LabInner, PROXY_PORT, SWITCH_ADDRESS, ServiceSpec, held, network};
use crate::process::{Finished, run_bounded};
use crate::repository::BuiltRepository;
use crate::wait::wait_until;

/// How long a host may take to come up or go down. On a busy machine; alone it takes a tenth of a second.
const BOOT_BOUND: Duration = Duration::from_secs(60);

/// How long a command in a host may take unless the caller says otherwise.
const EXEC_BOUND: Duration = Duration::from_secs(300);

/// Hosts' addresses start here: 10.77.0.11.
const FIRST_ADDRESS: u8 = 11;

/// Where a host's packages come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostPackages {
    /// From nowhere, until a test adds a repository.
    #[default]
    Empty,
    /// A real, signed part of Debian's archives, frozen on the host's own disk: lists are fetched, real security
    /// updates are pending and can be installed, all without a network.
    Frozen,
    /// The machine's own mirror, through the lab's package proxy. The lists are not fetched yet.
    Mirror,
}

/// What a new host is like.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostOptions {
    /// Where its packages come from.
    pub packages: HostPackages,
}

/// A host of the lab. Clones are the same host.
#[derive(Debug, Clone)]
pub struct Host(Arc<HostInner>);

#[derive(Debug)]
pub(crate) struct HostInner {
    name: String,
    pub(super) number: u8,
    pub(super) lab: Arc<LabInner>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Host {
    pub(super) fn new(inner: Arc<HostInner>) -> Self {
        Self(inner)
    }

    /// Its name, which is also its hostname.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its address on the switch.
    #[must_use]
    pub fn address(&self) -> String {
        self.0.address()
    }

    /// How often it has been started.
    #[must_use]
    pub fn boots(&self) -> u32 {
        held(&self.0.state).boots
    }

    /// How its past boots ended, oldest first.
    #[must_use]
    pub fn boot_ends(&self) -> Vec<BootEnd> {
        held(&self.0.state).ends.clone()
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        held(&self.0.state).up.is_some()
    }

    /// Its kernel's boot id, new at every boot.
    ///
    /// # Errors
    /// When it is not up.
    pub fn boot_id(&self) -> anyhow::Result<String> {
        let text = self.read_file("/run/testkit/boot_id")?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// Waits until boot number `boot` (the first is 1) is up.
    ///
    /// # Errors
    /// When that takes longer than a minute, or the host failed.
    pub fn wait_boot(&self, boot: u32) -> anyhow::Result<()> {
        self.0.wait_state(&format!("boot {boot}"), |state| state.boots >= boot && state.up.is_some())
    }

    /// Switches it on and waits until it is up; nothing happens to a host that is on.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn power_on(&self) -> anyhow::Result<()> {
        self.0.set_switch(Switch::On);
        self.0.wait_state("power on", |state| state.up.is_some())
    }

    /// Takes the power away: its link goes dead first, so that no peer hears of it, then every process ends at
    /// once. What was written stays written (the memory of the machine is its disk, so no unsynced write is lost).
    ///
    /// # Errors
    /// When it does not end.
    pub fn power_loss(&self) -> anyhow::Result<()> {
        // No cable, no farewell: it is off already or just starting.
        let _ = network::set_link(&self.0.lab, self.0.number, false);
        self.0.set_switch(Switch::Off);
        self.0.kill();
        self.0.wait_state("power loss", |state| !state.alive)
    }

    /// Reboots it from inside, as `systemctl reboot` does, and waits until it is up again.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn reboot(&self) -> anyhow::Result<()> {
        let boots = self.boots();
        // It may itself be ended by the shutdown that it asked for.
        let asked = self.exec(["systemctl", "reboot"])?;
        self.wait_boot(boots + 1).with_context(|| format!("systemctl reboot: {asked:?}"))
    }

    /// Pulls its cable; it stays pulled over boots.
    ///
    /// # Errors
    /// When the cable is not there.
    pub fn cut_link(&self) -> anyhow::Result<()> {
        self.0.set_link_cut(true)
    }

    /// Plugs its cable in again.
    ///
    /// # Errors
    /// When the cable is not there.
    pub fn heal_link(&self) -> anyhow::Result<()> {
        self.0.set_link_cut(false)
    }

    /// Runs a program in it to its end, within five minutes.
    ///
    /// # Errors
    /// When the host is not up or the program takes longer; its failure is no error here, see
    /// [`Finished::expect_success`].
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> anyhow::Result<Finished> {
        self.exec_bounded(command, EXEC_BOUND)
    }

    /// Runs a program in it to its end.
    ///
    /// # Errors
    /// When the host is not up or the program takes longer than `bound`.
    pub fn exec_bounded<S: AsRef<OsStr>>(
        &self,
        command: impl IntoIterator<Item = S>,
        bound: Duration,
    ) -> anyhow::Result<Finished> {
        // timeout(1) ends it inside, where a kill from outside would only end nsenter.
        let seconds = bound.as_secs().max(1).to_string();
        let mut whole = self.command("timeout")?;
        whole.args(["--kill-after=5", &seconds]).args(command);
        run_bounded(&mut whole, bound + Duration::from_secs(10))
    }

    /// Runs a text in its shell and gives its output.
    ///
    /// # Errors
    /// When the host is not up or the shell ends with another code than 0.
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        self.exec(["sh", "-euc", script])?.expect_success(script)
    }

    /// A command that will run in it, to be given arguments and started by the caller.
    ///
    /// # Errors
    /// When the host is not up.
    pub fn command(&self, program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
        let first_process = self.0.first_process()?;
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(first_process.to_string());
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--time", "--root", "--wd", "--"]);
        command.args(["setpriv", "--bounding-set", BOUNDING_SET]).arg(program);
        command.env_clear().envs(ServiceSpec::BASE_ENVIRONMENT);
        Ok(command)
    }

    /// Reads a file, of the running host or, when it is off, of its disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_file(&self, path: impl AsRef<Path>) -> anyhow::Result<Vec<u8>> {
        self.0.root_folder()?.read(path.as_ref())
    }

    /// Reads a file as text.
    ///
    /// # Errors
    /// When it cannot be read or is not text.
    pub fn read_text(&self, path: impl AsRef<Path>) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.read_file(path)?)?)
    }

    /// Writes a file as a whole, with its folders; mode as chmod's number (0o644).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>, mode: u32) -> anyhow::Result<()> {
        self.0.root_folder()?.write(path.as_ref(), bytes.as_ref(), mode)
    }

    /// Copies a file of the machine into it.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn copy_in(&self, from: &Path, to: impl AsRef<Path>, mode: u32) -> anyhow::Result<()> {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        self.write_file(to, bytes, mode)
    }

    /// Copies a repository into it and lists it as a source of packages; again after it has changed. The lists are
    /// not fetched.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn add_repository(&self, repository: &BuiltRepository) -> anyhow::Result<()> {
        let name = repository.name();
        let target = format!("/srv/repositories/{name}");
        self.exec(["mkdir", "-p", "/srv/repositories"])?.expect_success("mkdir")?;
        self.exec(["rm", "-rf", &target])?.expect_success("rm")?;
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(repository.folder()).arg(format!("{}{target}", self.0.root_path().display()));
        run_bounded(&mut copy, EXEC_BOUND)?.expect_success("cp")?;
        let key = repository.key_bytes()?;
        let keyring = format!("/etc/apt/keyrings/{name}.gpg");
        if let Some(key) = &key {
            self.write_file(&keyring, key, 0o644)?;
        }
        let trust = if key.is_some() { format!("signed-by={keyring}") } else { "trusted=yes".to_owned() };
        let line = format!("deb [{trust}] copy:{target} {} main\n", repository.codename());
        self.write_file(format!("/etc/apt/sources.list.d/{name}.list"), line, 0o644)
    }

    /// Makes a program run from now on and from every boot on.
    ///
    /// # Errors
    /// When there is one of that name, it cannot be written, or a running host does not start it.
    pub fn install_service(&self, name: &str, service: &ServiceSpec) -> anyhow::Result<()> {
        let path = format!("{}/{name}.json", ServiceSpec::FOLDER);
        if self.read_file(&path).is_ok() {
            bail!("{} has a service {name} already: remove it first", self.name());
        }
        self.write_file(&path, serde_json::to_string(service)?, 0o644)?;
        if !self.is_up() {
            return Ok(());
        }
        wait_until(&format!("service {name} to start"), BOOT_BOUND, || {
            self.read_file(format!("{}/{name}.started", ServiceSpec::PID_FOLDER)).is_ok()
        })
    }

    /// Ends a service (SIGTERM, after five seconds SIGKILL) for good and waits for that.
    ///
    /// # Errors
    /// When the host is not up or it does not end.
    pub fn remove_service(&self, name: &str) -> anyhow::Result<()> {
        self.exec(["rm", "-f", &format!("{}/{name}.json", ServiceSpec::FOLDER)])?.expect_success("rm")?;
        wait_until(&format!("service {name} to end"), BOOT_BOUND, || {
            self.read_file(format!("{}/{name}.started", ServiceSpec::PID_FOLDER)).is_err()
        })
    }

    /// Ends a service's main process at once (SIGKILL) and waits for that; it is started again if its spec says so.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_service(&self, name: &str) -> anyhow::Result<()> {
        let pid = self.service_process(name).with_context(|| format!("service {name} does not run"))?;
        self.exec(["kill", "-KILL", &pid.to_string()])?.expect_success("kill")?;
        wait_until(&format!("service {name} to die"), BOOT_BOUND, || self.service_process(name) != Some(pid))
    }

    /// The process id, inside the host, of a running service's main process.
    #[must_use]
    pub fn service_process(&self, name: &str) -> Option<u32> {
        self.read_text(format!("{}/{name}.pid", ServiceSpec::PID_FOLDER)).ok()?.trim().parse().ok()
    }

    /// What a service has written since it was installed, over all boots.
    #[must_use]
    pub fn service_log(&self, name: &str) -> String {
        let log = self.read_file(format!("{}/{name}.log", ServiceSpec::LOG_FOLDER)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What its first processes said on their standard error.
    #[must_use]
    pub fn console_text(&self) -> String {
        tail(&self.0.console_path(), usize::MAX)
    }

    /// The machine's process id of its first process, for tools of the machine.
    ///
    /// # Errors
    /// When it is not up.
    pub fn first_process(&self) -> anyhow::Result<u32> {
        self.0.first_process()
    }

    /// Its root as the machine sees it, for tools of the machine. Links in it may lead out of it.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.0.root_path()
    }
}

impl HostInner {
    /// Mounts its root and starts its supervisor; it is still off.
    pub(super) fn create(
        lab: &Arc<LabInner>,
        name: &str,
        number: u8,
        options: HostOptions,
    ) -> anyhow::Result<Arc<Self>> {
        let well_formed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !well_formed || name.is_empty() || name.len() > 32 {
            bail!("not a host's name (a-z, 0-9 and -, at most 32): {name}");
        }
        let state = State {
            switch: Switch::Off,
            boots: 0,
            up: None,
            alive: false,
            ends: Vec::new(),
            link_cut: false,
            failure: None,
        };
        let host = Arc::new(Self {
            name: name.to_owned(),
            number: FIRST_ADDRESS + number,
            lab: Arc::clone(lab),
            state: Mutex::new(state),
            changed: Condvar::new(),
            supervisor: Mutex::default(),
        });
        host.mount_root(options.packages)?;
        host.write_configuration(options.packages)?;
        let supervised = Arc::clone(&host);
        let thread = thread::Builder::new().name(format!("lab-{name}")).spawn(move || supervise(&supervised))?;
        *held(&host.supervisor) = Some(thread);
        Ok(host)
    }

    fn mount_root(&self, packages: HostPackages) -> anyhow::Result<()> {
        let in_lab = self.folder_in_lab();
        let seen = PathBuf::from(format!("/proc/{}/root{}", self.lab.holder, in_lab.display()));
        for folder in ["upper", "work", "root"] {
            fs::create_dir_all(seen.join(folder))?;
        }
        let roots = &self.lab.roots;
        let mut lower = roots.base.display().to_string();
        if packages == HostPackages::Frozen {
            let layer = roots.frozen.as_ref().context(
                "the frozen packages are not prepared: run `cargo xtask test` (arguments after it pick the tests)",
            )?;
            lower = format!("{}:{lower}", layer.display());
        }
        let (upper, work) = (in_lab.join("upper"), in_lab.join("work"));
        let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        let mut mount = self.lab.mount_command("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(in_lab.join("root"));
        run_bounded(&mut mount, BOOT_BOUND)?.expect_success("mount -t overlay")?;
        Ok(())
    }

    fn write_configuration(&self, packages: HostPackages) -> anyhow::Result<()> {
        let root = self.root_folder()?;
        let write = |path: &str, text: &str| root.write(Path::new(path), text.as_bytes(), 0o644);
        write("/etc/hostname", &format!("{}\n", self.name))?;
        write("/etc/hosts", &format!("127.0.0.1 localhost {}\n{SWITCH_ADDRESS} switch\n", self.name))?;
        let machine_id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().replace('-', "");
        write("/etc/machine-id", &format!("{machine_id}\n"))?;
        let settings = &self.lab.settings;
        match packages {
            HostPackages::Empty => write("/etc/apt/sources.list", ""),
            HostPackages::Frozen => Ok(()),
            HostPackages::Mirror => {
                let proxy = format!(
                    "Acquire::http::Proxy \"http://{SWITCH_ADDRESS}:{PROXY_PORT}\";\n\
                     Acquire::https::Proxy \"http://{SWITCH_ADDRESS}:{PROXY_PORT}\";\n\
                     Acquire::http::Pipeline-Depth \"0\";\n"
                );
                write("/etc/apt/apt.conf.d/95testkit-proxy", &proxy)?;
                let (main, security) = (&settings.main_uri, &settings.security_uri);
                let lines = format!(
                    "deb {main} bookworm main\ndeb {main} bookworm-updates main\n\
                     deb {security} bookworm-security main\n"
                );
                write("/etc/apt/sources.list", &lines)
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn address(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    pub(super) fn console_path(&self) -> PathBuf {
        self.lab.folder.join(format!("{}.console", self.name))
    }

    pub(super) fn console_tail(&self) -> String {
        tail(&self.console_path(), 8_000)
    }

    fn folder_in_lab(&self) -> PathBuf {
        self.lab.folder.join("hosts").join(&self.name)
    }

    /// Its root as the processes in the lab's mount namespace see it.
    pub(super) fn root_in_lab(&self) -> PathBuf {
        self.folder_in_lab().join("root")
    }

    fn first_process(&self) -> anyhow::Result<u32> {
        let state = held(&self.state);
        Ok(state.up.as_ref().with_context(|| format!("{} is not up", self.name))?.first_process)
    }

    fn root_path(&self) -> PathBuf {
        match self.first_process() {
            Ok(first_process) => PathBuf::from(format!("/proc/{first_process}/root")),
            Err(_) => PathBuf::from(format!("/proc/{}/root{}", self.lab.holder, self.root_in_lab().display())),
        }
    }

    fn root_folder(&self) -> anyhow::Result<RootFolder> {
        RootFolder::open(&self.root_path())
    }

    fn set_switch(&self, switch: Switch) {
        let mut state = held(&self.state);
        if state.switch != Switch::Gone {
            state.switch = switch;
        }
        self.changed.notify_all();
    }

    fn set_link_cut(&self, cut: bool) -> anyhow::Result<()> {
        let alive = {
            let mut state = held(&self.state);
            state.link_cut = cut;
            state.up.is_some()
        };
        // A host that is off is given its cable, cut or not, when it starts.
        if alive { network::set_link(&self.lab, self.number, !cut) } else { Ok(()) }
    }

    /// Ends its first process, and so all of them, if it is up.
    fn kill(&self) {
        if let Some(up) = &held(&self.state).up {
            // It may have ended by itself in the meantime.
            let _ = pidfd_send_signal(&up.first_process_fd, Signal::KILL);
        }
    }

    /// Ends it for good.
    pub(super) fn shut_down(&self) {
        held(&self.state).switch = Switch::Gone;
        self.changed.notify_all();
        self.kill();
        if let Some(thread) = held(&self.supervisor).take() {
            let _ = thread.join();
        }
    }

    fn wait_state(&self, what: &str, reached: impl Fn(&State) -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + BOOT_BOUND;
        let mut state = held(&self.state);
        loop {
            if reached(&state) {
                return Ok(());
            }
            if let Some(failure) = state.failure.take() {
                bail!("{}: {what}: {failure}", self.name);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} did not reach {what} in {} s\n{}", self.name, BOOT_BOUND.as_secs(), self.console_tail());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
