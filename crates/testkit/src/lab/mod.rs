//! Real hosts on one machine: see the crate's own words.

mod files;
mod host;
mod keeper;
mod network;
mod proxy;
mod spec;
mod supervisor;
mod switch_process;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use host::{Host, HostOptions, HostPackages};
pub use proxy::PackageProxy;
pub use spec::{BootSpec, ServiceSpec};
pub use supervisor::BootEnd;
pub use switch_process::SwitchProcess;

use crate::machine::{AptSettings, in_continuous_integration, is_root, lives, own_pid_namespace, start_time};
use crate::prepare::{LabRoots, prepared_roots};
use host::HostInner;
use keeper::Keeper;

/// The switch's own address: servers that hosts shall reach listen here.
pub const SWITCH_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Where the package proxy listens on [`SWITCH_ADDRESS`].
const PROXY_PORT: u16 = 3142;

/// The most that all hosts of one lab may write. Memory is taken only as it is written.
const MEMORY_OPTIONS: &str = "mode=755,size=6g";

/// What a lab's folder is called: the owner's pid and a number follow.
const FOLDER_PREFIX: &str = "careen-lab-";

/// A private switch and the hosts plugged to it.
///
/// Everything hangs on one holder process that dies with the thread which made it; dropping the lab ends its hosts
/// and processes first. Make it on the test's own thread.
#[derive(Debug)]
pub struct Lab {
    inner: Arc<LabInner>,
    hosts: Mutex<Vec<Arc<HostInner>>>,
    processes: AtomicU32,
    proxy: OnceLock<PackageProxy>,
}

/// What hosts need of their lab.
#[derive(Debug)]
pub(crate) struct LabInner {
    folder: PathBuf,
    init_binary: PathBuf,
    machine_pid_namespace: String,
    roots: LabRoots,
    settings: AptSettings,
    holder: u32,
    holder_child: Mutex<Child>,
    keeper: Keeper,
}

/// A lock that a panicking test cannot make useless for the clearing up.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lab {
    /// A lab for a test, or nothing where none can be had (not root): the test then says so, loudly, and ends.
    ///
    /// # Errors
    /// When the lab cannot be made; under `CI=true` also when nothing could be had.
    pub fn for_test() -> anyhow::Result<Option<Self>> {
        if is_root() {
            return Self::new().map(Some);
        }
        let text = "NOT TESTED: the lab's hosts need root's rights (namespaces, mounts); run the tests as root";
        if in_continuous_integration() {
            bail!("{text}");
        }
        eprintln!("{text}");
        Ok(None)
    }

    /// An empty lab: a switch and nothing plugged.
    ///
    /// # Errors
    /// When a tool, a right or the cached Debian root is missing.
    pub fn new() -> anyhow::Result<Self> {
        remove_leftovers()?;
        let roots = prepared_roots()?;
        Self::over(roots)
    }

    /// An empty lab over these roots; for the preparation of the roots themselves.
    pub(crate) fn over(roots: LabRoots) -> anyhow::Result<Self> {
        let init_binary = crate::binary("testkit-init")?;
        let folder = new_folder()?;
        let started = LabInner::start(folder.clone(), init_binary, roots);
        let inner = started.inspect_err(|_| {
            // The first error is the one to tell.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let lab = Self {
            inner: Arc::new(inner),
            hosts: Mutex::default(),
            processes: AtomicU32::new(0),
            proxy: OnceLock::new(),
        };
        network::make_switch(&lab.inner)?;
        Ok(lab)
    }

    /// Makes a host and starts it; it is up when this returns.
    ///
    /// # Errors
    /// When the name is not one (a-z, 0-9 and -, at most 32), or the host does not come up.
    pub fn host(&self, name: &str, options: HostOptions) -> anyhow::Result<Host> {
        let number = {
            let hosts = held(&self.hosts);
            if hosts.iter().any(|host| host.name() == name) {
                bail!("this lab has a host {name} already");
            }
            u8::try_from(hosts.len()).ok().filter(|number| *number < 200).context("a lab has at most 200 hosts")?
        };
        if options.packages == HostPackages::Mirror {
            self.package_proxy()?;
        }
        let inner = HostInner::create(&self.inner, name, number, options)?;
        held(&self.hosts).push(Arc::clone(&inner));
        let host = Host::new(inner);
        host.power_on()?;
        Ok(host)
    }

    /// A command that will run on the machine's own files but with the switch as its network: hosts reach it under
    /// [`SWITCH_ADDRESS`], and it reaches them. It dies with the thread that starts it.
    #[must_use]
    pub fn switch_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter"]).arg(self.inner.network_option()).arg("--").arg(program);
        command
    }

    /// Starts a command made by [`Lab::switch_command`] and keeps it running, its output in a file, until it is
    /// ended or the lab is dropped. It does not hang on the calling thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_in_switch(&self, mut command: Command) -> anyhow::Result<SwitchProcess> {
        let number = self.processes.fetch_add(1, Ordering::SeqCst);
        let log_path = self.inner.folder.join(format!("process-{number}.log"));
        let log = File::create(&log_path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.inner.keeper.spawn(command)?;
        Ok(SwitchProcess::new(child, log_path))
    }

    /// Runs `work` on a thread whose network is the switch. Sockets it opens keep that network when handed back.
    ///
    /// # Errors
    /// When the network cannot be entered, or `work` panicked.
    pub fn in_switch<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let namespace = File::open(self.inner.network_path())?;
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            entered.join().map_err(|_| anyhow::anyhow!("the work inside the switch panicked"))?
        })
    }

    /// A listener of this process that hosts reach under [`SWITCH_ADDRESS`]; port 0 takes any free one.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn listen(&self, port: u16) -> anyhow::Result<TcpListener> {
        self.in_switch(|| TcpListener::bind(SocketAddrV4::new(SWITCH_ADDRESS, port)))?
            .with_context(|| format!("cannot listen on {SWITCH_ADDRESS}:{port}"))
    }

    /// The proxy through which hosts reach the machine's Debian mirror and nothing else; started when first asked for.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn package_proxy(&self) -> anyhow::Result<&PackageProxy> {
        if self.proxy.get().is_none() {
            let proxy = PackageProxy::start(self.listen(PROXY_PORT)?, &self.inner.settings)?;
            let _ = self.proxy.set(proxy);
        }
        self.proxy.get().context("the proxy has just been started")
    }

    /// A folder on the machine for this lab's own files; it goes with the lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// The process whose namespaces this lab is.
    #[must_use]
    pub fn holder_process(&self) -> u32 {
        self.inner.holder
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = thread::panicking();
        let hosts = std::mem::take(&mut *held(&self.hosts));
        for host in &hosts {
            host.shut_down();
            if failed {
                eprintln!("--- console of {} ---\n{}", host.name(), host.console_tail());
            }
        }
        self.inner.end();
    }
}

impl LabInner {
    fn start(folder: PathBuf, init_binary: PathBuf, roots: LabRoots) -> anyhow::Result<Self> {
        let settings = AptSettings::of_this_machine()?;
        let machine_pid_namespace = own_pid_namespace()?;
        let hosts_folder = folder.join("hosts");
        fs::create_dir(&hosts_folder)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--net", "--"]);
        command.arg(&init_binary).arg("hold").arg(&hosts_folder).arg(MEMORY_OPTIONS);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(folder.join("holder.log"))?);
        let keeper = Keeper::start()?;
        let mut child = keeper.spawn(command).context("setpriv and unshare (util-linux) are needed")?;
        let first_line = child.stdout.take().and_then(keeper::first_line);
        if first_line.as_deref() != Some("held") {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(folder.join("holder.log")).unwrap_or_default();
            bail!("the lab's namespaces could not be made: {}", log.trim());
        }
        let holder = child.id();
        let holder_child = Mutex::new(child);
        Ok(Self { folder, init_binary, machine_pid_namespace, roots, settings, holder, holder_child, keeper })
    }

    fn network_path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder)
    }

    fn network_option(&self) -> String {
        format!("--net={}", self.network_path())
    }

    /// A command in the lab's mount namespace, where the hosts' roots are mounted.
    fn mount_command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder)).args(["--", program]);
        command
    }

    /// Ends the holder, and with it the switch and all mounts, and every process started in the switch.
    fn end(&self) {
        {
            let mut child = held(&self.holder_child);
            let _ = child.kill();
            let _ = child.wait();
        }
        self.keeper.end();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder that says whose it is.
fn new_folder() -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let folder = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{pid}-{number}"));
    fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    let started = start_time(pid).context("/proc is not mounted")?;
    fs::write(folder.join("owner"), format!("{pid} {started}"))?;
    Ok(folder)
}

/// Removes the folders of labs whose test process is gone. Their namespaces and mounts went with it.
fn remove_leftovers() -> anyhow::Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)) else { continue };
        let Some(pid) = rest.split('-').next().and_then(|pid| pid.parse().ok()) else { continue };
        let owner = fs::read_to_string(entry.path().join("owner")).unwrap_or_default();
        let alive = match owner.split_once(' ') {
            Some((_, started)) => lives(pid, started),
            // Being made at this moment, unless nobody of that number lives.
            None => start_time(pid).is_some(),
        };
        if !alive {
            // Another lab may be removing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
