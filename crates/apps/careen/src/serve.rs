//! Putting a server together and taking it apart again.

use std::{
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use control::{Clock, Server, ServerNames, Settings, SystemClock};
use identity::{MasterKey, SystemIds};
use store::Store;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    admin,
    certificates::CertificateKeeper,
    configuration::{Configuration, ServerOptions},
    credentials,
    server_log::{self, LogFormat},
    terminal,
};

/// How long requests in flight may take to end after the signal.
const DRAIN_MAX: Duration = Duration::from_secs(10);

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) server: Arc<Server>,
    pub(crate) configuration: Configuration,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

/// `careen server`.
pub(crate) async fn run(options: ServerOptions) -> Result<()> {
    let mut signals = Signals::listen()?;
    let configuration = Configuration::read(&options)?;
    let format = configuration.settings.log_format;
    let person = if terminal::person_reads() { LogFormat::Text } else { LogFormat::Json };
    server_log::start("info", format.unwrap_or(person));
    let running = Running::start(configuration).await?;
    running.say_how_to_trust();
    tracing::info!(
        listen = %running.configuration.settings.listen,
        data = %running.configuration.data.display(),
        "ready"
    );
    signals.arrived().await;
    tracing::info!("stopping");
    running.stop().await
}

/// SIGINT and SIGTERM, listened for from before anything is started, so that none is missed.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Completes when one has come, also one that came before this was asked.
    pub(crate) async fn arrived(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Running {
    /// Opens the database, makes or opens the keys, listens, and starts the reconcilers.
    pub(crate) async fn start(configuration: Configuration) -> Result<Self> {
        raise_open_files();
        make_private_folder(&configuration.data)?;
        // Listen first: a port that is taken is the most likely mistake, and then nothing else should have happened.
        let listeners = listen(&configuration).await?;
        let store = Store::open(&configuration.settings.database).await?;
        let master = MasterKey::open_or_create(&configuration.settings.key_file)?;
        let clock = SystemClock;
        let (keys, first) =
            control::set_up(&store, &master, &configuration.home, configuration.root_key.clone(), clock.now()).await?;
        credentials::write(&configuration.data.join("credentials"), &first, &configuration.home.region)?;
        let replica = identity::sha256_hex(&identity::random_bytes::<16>()?).chars().take(16).collect();
        let retention = configuration.settings.retention();
        let settings = Settings { home: configuration.home.clone(), replica, retention };
        let server = Server::new(store, keys, settings, Arc::new(clock), Box::new(SystemIds));
        server.throttle.limit(configuration.settings.requests_per_second);
        // Where tokens travel in the clear, whoever had this port meanwhile may have seen them. Other servers on the same
        // database keep their people signed in.
        let in_the_clear = configuration.url(|purposes| purposes.console).starts_with("http://");
        if in_the_clear && server.store.is_exclusive() {
            server.sign_everybody_out().await?;
        }
        let (stop, stopped) = watch::channel(false);
        let keeper = CertificateKeeper::open(&server, &configuration)?;
        let certificate = keeper.as_ref().map(CertificateKeeper::shown);
        let names = names(&configuration, certificate.clone());
        let options = api::ListenOptions {
            metrics_token: configuration.metrics_token.clone(),
            console: console::router(Arc::clone(&server), names.clone()),
            certificate,
            names,
        };
        let listening = api::serve(Arc::clone(&server), listeners, options, stopped.clone());
        let admin = admin::listen(Arc::clone(&server), &configuration, when(stopped.clone()))?;
        let reconciling = control::reconcilers::run(Arc::clone(&server), when(stopped.clone()));
        let mut tasks = vec![
            tokio::spawn(async { Ok(listening.await?) }),
            tokio::spawn(admin),
            tokio::spawn(async {
                reconciling.await;
                Ok(())
            }),
        ];
        tasks.extend(keeper.map(|keeper| tokio::spawn(keeper.look_after(stopped))));
        Ok(Self { server, configuration, stop, tasks })
    }

    /// What clients of the API need, in the log of a server with its own authority.
    fn say_how_to_trust(&self) {
        if let Some(line) = self.configuration.trust_line() {
            tracing::info!("clients of the AWS API trust this server's own CA with: {line}");
        }
    }

    /// Ends it: no new requests, those in flight finish, the store is closed.
    pub(crate) async fn stop(self) -> Result<()> {
        let _ = self.stop.send(true);
        self.server.end_sessions();
        let drained = tokio::time::timeout(DRAIN_MAX, async {
            for task in self.tasks {
                task.await??;
            }
            anyhow::Ok(())
        });
        match drained.await {
            Ok(result) => result?,
            Err(_) => tracing::warn!("requests that were still running have been cut off"),
        }
        self.server.leave().await;
        self.server.store.close().await;
        Ok(())
    }
}

async fn listen(configuration: &Configuration) -> Result<Vec<(TcpListener, api::Purposes)>> {
    let mut listeners = Vec::new();
    for (address, purposes) in &configuration.listeners {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}; is another server running there? Choose another with --listen")
        })?;
        listeners.push((listener, *purposes));
    }
    Ok(listeners)
}

/// By which names callers may ask for this server: those it was given, and those of its certificate.
fn names(configuration: &Configuration, certificate: Option<api::ShownCertificate>) -> ServerNames {
    ServerNames::new(configuration.settings.tls_name.clone(), move |name| {
        certificate.as_ref().is_some_and(|certificate| certificate.current().covers(name))
    })
}

async fn when(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as a stop.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Each agent is an open file, and where nobody has said otherwise a process may have 1024.
fn raise_open_files() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: files.maximum, ..files };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, most) {
        tracing::warn!("the number of open files cannot be raised: {error}");
    }
}

/// Makes the data folder, or refuses one that others may write to.
pub(crate) fn make_private_folder(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    // Whoever may write here could give this server other keys, nodes and orders.
    let found = std::fs::metadata(folder)?;
    anyhow::ensure!(
        found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0,
        "{} belongs to somebody else or may be written by others; use a folder of your own, mode 0700",
        folder.display()
    );
    Ok(())
}
