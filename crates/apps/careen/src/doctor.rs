//! `careen doctor`: looks at every prerequisite of a server, in the order in which they build on each other, and says what
//! to do. It works while the server is down, and changes nothing. What each finding means is decided in `diagnosis`.

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use control::{Clock, SystemClock, readiness::Finding};
use diagnosis::{Database, Judgement, Port};
use host::machine;
use store::StoreUrl;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use crate::{
    admin::{self, Answer, Question},
    certificates,
    configuration::{Configuration, ServerOptions, data_folder},
    terminal,
};

/// How long a running server may take to say how it is.
const SERVER_MAX: Duration = Duration::from_secs(15);

/// The memory that a server of a small fleet wants, in bytes.
const MEMORY_WANTED_BYTES: u64 = 256 << 20;

/// A clock before this instant is wrong: 2026-11-01, in seconds since 1970.
const BUILT_AT_SECONDS: i64 = 1_793_491_200;

/// The flags of `careen doctor`.
#[derive(Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    server: ServerOptions,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Looks, prints, and gives the exit code: 0 all is well, 1 somebody should look, 2 something keeps it from working.
pub(crate) async fn run(options: DoctorOptions) -> Result<ExitCode> {
    let judgements = judgements(&options.server).await?;
    for judgement in &judgements {
        terminal::say(&if options.json { serde_json::to_string(judgement)? } else { judgement.line() });
    }
    Ok(ExitCode::from(diagnosis::worst(&judgements).exit_code()))
}

async fn judgements(options: &ServerOptions) -> Result<Vec<Judgement>> {
    let read = Configuration::read(options);
    let mut all = vec![diagnosis::configuration(
        read.as_ref().map(|_| ()).map_err(|e| format!("{e:#}")).as_ref().map_err(String::as_str).copied(),
    )];
    let data = data_folder(options.data.as_deref())?;
    let user = rustix::process::geteuid().as_raw();
    all.push(diagnosis::folder(&data.display().to_string(), &machine::folder(&data), user));
    all.push(diagnosis::capacity(machine::capacity(&data).as_ref().copied().map_err(String::as_str)));
    all.push(diagnosis::durability(
        machine::durability(&data).as_ref().map(|tried| tried.as_ref().copied().map_err(String::as_str)),
    ));
    let said = ask_server(&data).await;
    let now = SystemClock.now().as_seconds();
    match &read {
        Ok(configuration) => all.extend(of_configuration(configuration, said.is_some(), now).await),
        Err(_) => all.push(diagnosis::clock(now, BUILT_AT_SECONDS, "", None)),
    }
    all.push(diagnosis::files_max(machine::files_max()));
    all.extend(diagnosis::machine(&machine::machine(), MEMORY_WANTED_BYTES));
    all.extend(diagnosis::running(said.as_deref()));
    Ok(all)
}

/// What hangs on the settings.
async fn of_configuration(configuration: &Configuration, running: bool, now: i64) -> Vec<Judgement> {
    let url = &configuration.settings.database;
    let seen = store::peek(url).await;
    let (database, fresh) = match &seen {
        Ok(store::Peek { schema: None, .. }) => (Database::Absent, true),
        Ok(store::Peek { schema: Some(0), .. }) => (Database::Empty, true),
        Ok(store::Peek { schema: Some(found), known, .. }) => {
            (Database::Schema { found: *found, known: *known }, false)
        }
        Err(error) => (Database::Unusable(error.to_string()), true),
    };
    let key = &configuration.settings.key_file;
    let mut all = vec![
        diagnosis::private_file("key file", &key.display().to_string(), &machine::file(key), fresh),
        diagnosis::database(&url.to_string(), &database),
    ];
    let theirs = seen.ok().and_then(|seen| seen.clock_seconds);
    let whose = if matches!(url, StoreUrl::Postgres(_)) { "the database's clock" } else { "" };
    all.push(diagnosis::clock(now, BUILT_AT_SECONDS, whose, theirs.map(|theirs| theirs - now)));
    for (address, _) in &configuration.listeners {
        all.push(diagnosis::port(&address.to_string(), &port(*address), running));
    }
    all.push(diagnosis::certificate(&certificates::found(configuration)));
    all
}

fn port(address: SocketAddr) -> Port {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Port::Taken,
        Err(error) => Port::Refused(error.to_string()),
    }
}

/// What the server of a data folder says of itself; `None`: none runs.
async fn ask_server(data: &Path) -> Option<Vec<(String, bool)>> {
    let mut socket = UnixStream::connect(admin::socket_path(data)).await.ok()?;
    let asking = async {
        let mut question = serde_json::to_string(&Question::Readiness)?;
        question.push('\n');
        socket.write_all(question.as_bytes()).await?;
        let mut lines = BufReader::new(socket).lines();
        let mut findings = Vec::new();
        while let Some(line) = lines.next_line().await? {
            match serde_json::from_str(&line)? {
                Answer::Line(line) => findings.push(serde_json::from_str(&line)?),
                Answer::Error(message) => findings.push((message, false)),
                Answer::Alive => {}
                Answer::Done => return Ok(findings),
            }
        }
        anyhow::bail!("its answer broke off")
    };
    let unanswered = |why: String| vec![(format!("it does not say how it is: {why}"), false)];
    Some(match tokio::time::timeout(SERVER_MAX, asking).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(error)) => unanswered(error.to_string()),
        Err(_) => unanswered(format!("no answer within {} s", SERVER_MAX.as_secs())),
    })
}

/// What the server answers to that: each finding as a sentence, and whether it is no reason to worry.
pub(crate) async fn answer(
    server: &std::sync::Arc<control::Server>,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    for (name, finding) in server.readiness().await {
        let said = match finding {
            Finding::Good(text) => (format!("{name}: {text}"), true),
            Finding::Warning(text) | Finding::Bad(text) => (format!("{name}: {text}"), false),
        };
        admin::tell(writer, &Answer::Line(serde_json::to_string(&said)?)).await?;
    }
    Ok(())
}
