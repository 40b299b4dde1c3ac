//! The server's process: started, killed, and watched as the kernel counts it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_wire::ActivationCode;
use anyhow::{Context, bail, ensure};
use identifiers::ActivationId;
use tempfile::TempDir;
use testkit::sockets::{Credentials, Endpoint, RequestConnection, SocketFleet};
use tokio::net::TcpStream;

use crate::Options;

/// How long a server may take to start.
const START_BOUND: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Server<'a> {
    options: &'a Options,
    data: TempDir,
    pub(crate) address: SocketAddr,
    tls: bool,
    child: Child,
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.data.path().with_extension("log"));
    }
}

fn spawn(options: &Options, data: &Path, address: SocketAddr, tls: bool) -> anyhow::Result<Child> {
    let mut command = Command::new(&options.careen);
    command.args(["server", "--listen", &address.to_string(), "--requests-per-second", "0", "--data"]).arg(data);
    if tls {
        command.arg("--tls");
    }
    if let Some(database) = &options.database {
        command.args(["--database", database]);
    }
    let log = std::fs::File::create(data.with_extension("log"))?;
    command.env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().context("starting the server")
}

async fn until_up(data: &Path, address: SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + START_BOUND;
    while Instant::now() < until {
        // It listens early, and answers when it is ready; the first time it makes the credentials before that.
        if Credentials::of_server(data).is_ok() && TcpStream::connect(address).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the server on {address} did not come up within {START_BOUND:?}")
}

impl<'a> Server<'a> {
    /// A server on an empty folder.
    pub(crate) async fn start(options: &'a Options, tls: bool) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let data = tempfile::Builder::new().prefix("careen-bench-").tempdir()?;
        let child = spawn(options, data.path(), address, tls)?;
        let server = Self { options, data, address, tls, child };
        until_up(server.data.path(), server.address).await?;
        Ok(server)
    }

    /// Kills it and starts it again on the same folder and port. Gives when it was started.
    pub(crate) async fn kill_and_start(&mut self) -> anyhow::Result<Instant> {
        self.child.kill()?;
        self.child.wait()?;
        let begun = Instant::now();
        self.child = spawn(self.options, self.data.path(), self.address, self.tls)?;
        until_up(self.data.path(), self.address).await?;
        Ok(begun)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.address, tls: self.tls }
    }

    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        Credentials::of_server(self.data.path())
    }

    pub(crate) async fn requests(&self) -> anyhow::Result<RequestConnection> {
        RequestConnection::open(self.endpoint(), &self.credentials()?).await
    }

    /// A fleet of registered agents; activations are for a thousand each.
    pub(crate) async fn fleet(&self, agents: usize) -> anyhow::Result<SocketFleet> {
        let mut fleet = SocketFleet::new(self.endpoint());
        let mut requests = self.requests().await?;
        for first in (0..agents).step_by(1000) {
            let made = requests.ask("CreateActivation", r#"{"IamRole":"bench","RegistrationLimit":1000}"#).await?;
            ensure!(made.status == 200, "CreateActivation: {}", String::from_utf8_lossy(&made.body));
            let made: serde_json::Value = serde_json::from_slice(&made.body)?;
            let text = |name: &str| made.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            let (id, code) =
                (ActivationId::parse(text("ActivationId"))?, ActivationCode::parse(text("ActivationCode"))?);
            fleet.register((agents - first).min(1000), &id, code).await?;
        }
        Ok(fleet)
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }

    /// CPU seconds so far.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.child.id().to_string())
    }
}

/// CPU seconds of a process (`self`: this one), user and system; the kernel counts hundredths.
pub(crate) fn cpu_seconds(process: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<f64> { Ok(fields.get(at).context("no ticks")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// What the kernel holds for sockets and their files, in KiB: slabs, and the pages of TCP's buffers.
pub(crate) fn kernel_kib() -> anyhow::Result<f64> {
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let slab = memory.lines().find_map(|line| line.strip_prefix("Slab:")).context("no Slab")?;
    let slab: f64 = slab.trim().trim_end_matches(" kB").trim().parse()?;
    let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
    let pages = sockets.lines().find(|line| line.starts_with("TCP:")).and_then(|line| line.rsplit(' ').next());
    Ok(slab + 4.0 * pages.context("no TCP line")?.parse::<f64>()?)
}
