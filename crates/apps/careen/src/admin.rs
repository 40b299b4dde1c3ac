//! The way to a running server for whoever may read its data folder: a socket in it, one JSON line asked, lines answered.

use std::{
    future::Future,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use control::Server;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    audit,
    aws_model::{self, AwsModelOptions},
    backup,
    configuration::{self, Configuration, ConfigurationAnswer, ServerOptions, data_folder},
    doctor, keys, logs, people, retention, terminal,
};

/// Longer questions are not read.
const QUESTION_BYTES_MAX: u64 = 64 << 10;

/// `careen admin …`.
#[derive(Subcommand)]
pub(crate) enum AdminTask {
    /// Print a link that signs a user in at the console, once, within 15 minutes.
    SignInLink {
        /// Whom it signs in
        #[arg(long, value_name = "NAME", default_value = "root")]
        user: String,
        #[command(flatten)]
        server: DataFolder,
    },
    /// Set a user's password for the console: typed at the terminal, or read from standard input.
    Password(people::PasswordOptions),
    /// Users: add, list, disable, enable, remove, and what each may do.
    User {
        #[command(subcommand)]
        task: people::UserTask,
    },
    /// Access keys: create, list, disable, enable, rotate, delete.
    AccessKey {
        #[command(subcommand)]
        task: people::KeyTask,
    },
    /// Print the certificate (PEM) of the server's own CA, for AWS_CA_BUNDLE, browsers and other clients.
    Ca {
        /// The server's data folder
        #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
        data: Option<PathBuf>,
    },
    /// Exchange the server's own keys while nodes believe them.
    Key {
        #[command(subcommand)]
        task: keys::KeyTask,
    },
    /// Act on one managed node.
    #[command(subcommand)]
    Node(NodeTask),
    /// Print every setting, its value, and where that comes from. Works without a running server.
    Config(Box<ServerOptions>),
    /// Write a backup of the whole database to a file, while the server works.
    Backup(Box<backup::BackupOptions>),
    /// Put a backup back into an empty place; the server must not run.
    Restore(Box<backup::RestoreOptions>),
    /// Check a backup, or the database: everything is read, nothing is changed.
    Check(Box<backup::CheckOptions>),
    /// Print how long each kind of record is kept, and how many would be removed now; try other times with the flags.
    Retention(Box<ServerOptions>),
    /// Write the model of the service `careen`, so that `aws careen …` and the SDKs can call it. Works without a server.
    AwsModel(AwsModelOptions),
}

/// Which server is meant.
#[derive(Args)]
pub(crate) struct DataFolder {
    /// The server's data folder
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    data: Option<PathBuf>,
}

impl DataFolder {
    /// Asks that server and prints what it answers.
    pub(crate) async fn ask(&self, question: &Question) -> Result<()> {
        ask(&data_folder(self.data.as_deref())?, question).await
    }
}

/// `careen admin node …`.
#[derive(Subcommand)]
pub(crate) enum NodeTask {
    /// Let a node connect again that is held because two hosts have connected with its key.
    ///
    /// Register one of the two hosts anew first, or the node is held again within minutes.
    Release {
        /// The node, e.g. mi-0123456789abcdef0
        node: String,
        /// The server's data folder
        #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
        data: Option<PathBuf>,
    },
}

/// What may be asked.
#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Question {
    Readiness,
    Keys(keys::KeyQuestion),
    Authority,
    People(people::PeopleQuestion),
    ReleaseNode { node: String },
    Configuration,
    Backup,
    Check,
    Retention(retention::RetentionQuestion),
    Audit(Box<audit::AuditQuestion>),
    Logs(logs::LogsQuestion),
}

/// A line of an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// A line to print.
    Line(String),
    /// There is nothing to print; the server asks whether anybody still reads.
    Alive,
    /// It went wrong.
    Error(String),
    /// That was all.
    Done,
}

pub(crate) async fn run(task: AdminTask) -> Result<()> {
    match task {
        AdminTask::Ca { data } => ask(&data_folder(data.as_deref())?, &Question::Authority).await,
        AdminTask::Key { task } => keys::run(task).await,
        AdminTask::SignInLink { user, server } => people::sign_in_link(user, &server).await,
        AdminTask::Password(options) => people::set_password(options).await,
        AdminTask::User { task } => people::user(task).await,
        AdminTask::AccessKey { task } => people::key(task).await,
        AdminTask::Node(NodeTask::Release { node, data }) => {
            ask(&data_folder(data.as_deref())?, &Question::ReleaseNode { node }).await
        }
        AdminTask::Config(options) => configuration::show(&options).await,
        AdminTask::Backup(options) => backup::back_up(&options).await,
        AdminTask::Restore(options) => backup::restore(&options).await,
        AdminTask::Retention(options) => retention::run(&options).await,
        AdminTask::Check(options) => backup::check(&options).await,
        AdminTask::AwsModel(options) => aws_model::run(&options),
    }
}

pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

/// The address of the console with a token that signs in.
pub(crate) fn sign_in_url(configuration: &Configuration, token: &str) -> String {
    format!("{}/console/sign-in?token={token}", configuration.url(|purposes| purposes.console))
}

/// Asks the server of a data folder and prints what it answers.
pub(crate) async fn ask(data: &Path, question: &Question) -> Result<()> {
    ask_each(data, question, |line| {
        terminal::say(line);
        Ok(())
    })
    .await
}

/// Asks the server of a data folder and gives each line that it answers to `take`.
pub(crate) async fn ask_each(data: &Path, question: &Question, mut take: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let socket = UnixStream::connect(&socket_path(data)).await.with_context(|| {
        format!("no server is running on {}; start one with: careen server --data {}", data.display(), data.display())
    })?;
    let mut lines = put(socket, question).await?.lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Answer::Line(line) => take(&line)?,
            Answer::Alive => {}
            Answer::Error(message) => bail!(message),
            Answer::Done => return Ok(()),
        }
    }
    bail!("the server ended before its answer was complete")
}

/// The first line that the server of a data folder answers; none if no server is running there.
pub(crate) async fn ask_if_running(data: &Path, question: &Question) -> Result<Option<String>> {
    let Some(socket) = connect(data).await else { return Ok(None) };
    answer_line(&mut put(socket, question).await?).await.map(Some)
}

/// The way to the server of a data folder; none if no server is running there.
pub(crate) async fn connect(data: &Path) -> Option<UnixStream> {
    UnixStream::connect(&socket_path(data)).await.ok()
}

/// Asks; what is answered can be read.
pub(crate) async fn put(mut socket: UnixStream, question: &Question) -> Result<BufReader<UnixStream>> {
    let mut text = serde_json::to_string(question)?;
    text.push('\n');
    socket.write_all(text.as_bytes()).await?;
    Ok(BufReader::new(socket))
}

/// One line of an answer.
pub(crate) async fn answer_line(reader: &mut BufReader<UnixStream>) -> Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        bail!("the server gave no answer");
    }
    match serde_json::from_str(&line)? {
        Answer::Line(line) => Ok(line),
        Answer::Alive => bail!("the server gave no answer"),
        Answer::Error(message) => bail!(message),
        Answer::Done => bail!("the server gave no answer"),
    }
}

/// Listens in the data folder until `stopped`.
pub(crate) fn listen(
    server: Arc<Server>,
    configuration: &Configuration,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    let path = socket_path(&configuration.data);
    // Of an embedded database the lock is held by now; of another one, several servers must not share a folder.
    anyhow::ensure!(
        std::os::unix::net::UnixStream::connect(&path).is_err(),
        "another server runs on {}; give each server a folder of its own with --data",
        configuration.data.display()
    );
    // A socket that lies here nevertheless belongs to a server that is gone.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be replaced", path.display()));
        }
        _ => {}
    }
    // Made for its owner alone from the first moment: whoever may connect is the system itself.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(&path);
    rustix::process::umask(before);
    let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let configuration = configuration.clone();
    Ok(async move {
        tokio::pin!(stopped);
        loop {
            let socket = tokio::select! {
                () = &mut stopped => break,
                accepted = listener.accept() => accepted?.0,
            };
            tokio::spawn(answer(Arc::clone(&server), configuration.clone(), socket));
        }
        let _ = std::fs::remove_file(&path);
        Ok(())
    })
}

async fn answer(server: Arc<Server>, configuration: Configuration, mut socket: UnixStream) {
    let (reader, mut writer) = socket.split();
    let mut line = String::new();
    let read = BufReader::new(reader.take(QUESTION_BYTES_MAX)).read_line(&mut line).await;
    let result = match read.ok().and_then(|_| serde_json::from_str(&line).ok()) {
        None => Err(anyhow::anyhow!("the question was not understood; use the careen binary of the server's version")),
        Some(Question::Readiness) => doctor::answer(&server, &mut writer).await,
        Some(Question::Keys(question)) => keys::answer(&server, question, &mut writer).await,
        Some(Question::Authority) => {
            let pem = server.keys.authority_pem();
            tell(&mut writer, &Answer::Line(pem.trim_end().to_owned())).await
        }
        Some(Question::People(question)) => people::answer(&server, &configuration, question, &mut writer).await,
        Some(Question::ReleaseNode { node }) => match server.release_node(&node).await {
            Ok(()) => tell(&mut writer, &Answer::Line(format!("{node} may connect again."))).await,
            Err(error) => Err(anyhow::anyhow!(error.message)),
        },
        Some(Question::Configuration) => match serde_json::to_string(&ConfigurationAnswer::from(&configuration)) {
            Ok(text) => tell(&mut writer, &Answer::Line(text)).await,
            Err(error) => Err(error.into()),
        },
        Some(Question::Backup) => backup::answer_backup(&server, &mut writer).await,
        Some(Question::Retention(question)) => retention::answer(&server, question, &mut writer).await,
        Some(Question::Check) => backup::answer_check(&server, &mut writer).await,
        Some(Question::Audit(question)) => audit::answer(&server, &configuration.home, *question, &mut writer).await,
        Some(Question::Logs(question)) => logs::answer(&server, &configuration.home, question, &mut writer).await,
    };
    let end = match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Error(format!("{error:#}")),
    };
    let _ = tell(&mut writer, &end).await;
}

/// Writes one line of an answer.
pub(crate) async fn tell(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> Result<()> {
    let mut text = serde_json::to_string(answer)?;
    text.push('\n');
    Ok(writer.write_all(text.as_bytes()).await?)
}
