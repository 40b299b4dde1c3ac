//! `careen admin backup | restore | check`: the whole database into a file and back, and whether it is in order.
//!
//! Where a server runs on the data folder it does the reading and this program the writing, so that the file belongs to whoever
//! asked for it; without one the database is opened here.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use control::{Clock, Server, SystemClock};
use identity::MasterKey;
use store::{ArchiveReader, BackupSource, Header, Restoring, RowCounts};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use crate::{
    admin::{self, Answer, Question, tell},
    configuration::{ServerOptions, Stored},
    terminal::{complain, say},
};

/// How many pieces wait for whoever writes them.
const PIECES_WAITING: usize = 4;

/// A longer piece is none.
const PIECE_BYTES_MAX: u32 = 128 << 20;

/// How long a server waits for whoever takes the backup: while it waits, SQLite's write-ahead log grows.
const TAKE_MAX: Duration = Duration::from_secs(60);

/// The flags of `careen admin backup`.
#[derive(Args)]
pub(crate) struct BackupOptions {
    /// The file to write; it must not exist. A dash writes to standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    server: ServerOptions,
}

/// The flags of `careen admin restore`.
#[derive(Args)]
pub(crate) struct RestoreOptions {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it where a database is already; that one is kept beside it under another name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// The flags of `careen admin check`.
#[derive(Args)]
pub(crate) struct CheckOptions {
    /// A backup; without it the database itself is checked
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

/// Where the pieces of a backup go.
enum Target {
    Output,
    File { partial: PathBuf, file: File, target: PathBuf },
}

impl Target {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Output);
        }
        ensure!(!path.exists(), "{} exists already; choose another name", path.display());
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // What an interrupted backup left is removed, never written through: it may be anybody's.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be replaced", partial.display()));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.with_context(|| format!("{} cannot be written", partial.display()))?;
        Ok(Self::File { partial, file, target: path.to_owned() })
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        match self {
            Self::Output => std::io::stdout().write_all(piece).context("standard output cannot be written"),
            Self::File { file, partial, .. } => {
                file.write_all(piece).with_context(|| format!("{} cannot be written", partial.display()))
            }
        }
    }

    /// Everything was written: the file gets its name.
    fn keep(self) -> Result<()> {
        match self {
            Self::Output => std::io::stdout().flush().context("standard output cannot be written"),
            Self::File { partial, file, target } => {
                let kept = || {
                    file.sync_all()?;
                    // A link and not a rename: what came under this name meanwhile stays.
                    fs::hard_link(&partial, &target)?;
                    fs::remove_file(&partial)?;
                    let folder = target.parent().filter(|path| !path.as_os_str().is_empty());
                    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
                };
                kept().with_context(|| format!("{} cannot be written", target.display()))
            }
        }
    }

    /// It is no backup.
    fn give_up(self) {
        if let Self::File { partial, .. } = self {
            let _ = fs::remove_file(partial);
        }
    }
}

/// `careen admin backup`.
pub(crate) async fn back_up(options: &BackupOptions) -> Result<()> {
    let stored = Stored::read(&options.server)?;
    let mut target = Target::open(&options.file)?;
    let written = match admin::connect(&stored.data).await {
        Some(socket) => from_server(socket, &mut target).await,
        None => from_database(&stored, &mut target).await,
    };
    match written {
        Ok(summary) => {
            target.keep()?;
            complain(&summary);
            complain(&format!(
                "The key file is NOT in it. Without it the secrets in the backup cannot be read, so keep a copy of it, and \
                 keep it elsewhere: {}",
                stored.settings.key_file.display()
            ));
            Ok(())
        }
        Err(error) => {
            target.give_up();
            Err(error.context("no backup was made"))
        }
    }
}

async fn from_server(socket: tokio::net::UnixStream, target: &mut Target) -> Result<String> {
    let mut reader = admin::put(socket, &Question::Backup).await?;
    // First a line that says whether pieces follow.
    admin::answer_line(&mut reader).await?;
    loop {
        let length = reader.read_u32_le().await.context("the server went away")?;
        if length == 0 {
            return admin::answer_line(&mut reader).await;
        }
        ensure!(length <= PIECE_BYTES_MAX, "the server's answer was not understood");
        let mut piece = vec![0; length as usize];
        reader.read_exact(&mut piece).await.context("the server went away")?;
        target.write(&piece)?;
    }
}

async fn from_database(stored: &Stored, target: &mut Target) -> Result<String> {
    let mut source = BackupSource::open(&stored.settings.database).await?;
    let (give, mut pieces) = mpsc::channel(PIECES_WAITING);
    let reading = async move { source.back_up(env!("CARGO_PKG_VERSION"), SystemClock.now(), &give).await };
    // What is not taken any more (the receiver is gone) ends the reading.
    let writing = async move {
        while let Some(piece) = pieces.recv().await {
            target.write(&piece)?;
        }
        anyhow::Ok(())
    };
    let (read, written) = tokio::join!(reading, writing);
    written?;
    let (header, counts) = read?;
    Ok(summary(&header, &counts))
}

fn summary(header: &Header, counts: &RowCounts) -> String {
    format!(
        "A backup of {} rows in {} tables: schema {}, incarnation {}, as of {}.",
        counts.values().sum::<u64>(),
        counts.len(),
        header.schema,
        header.incarnation,
        header.created_at.to_human(),
    )
}

/// The server's half of a backup: a line, then pieces with their lengths, 0, and a line that says how it went.
pub(crate) async fn answer_backup(server: &Arc<Server>, writer: &mut (impl AsyncWriteExt + Unpin)) -> Result<()> {
    server.audit_backup().await;
    let mut source = server.store.backup_source().await?;
    tell(writer, &Answer::Line(String::new())).await?;
    let (give, mut pieces) = mpsc::channel::<Vec<u8>>(PIECES_WAITING);
    let now = server.now();
    let reading = tokio::spawn(async move { source.back_up(env!("CARGO_PKG_VERSION"), now, &give).await });
    while let Some(piece) = pieces.recv().await {
        let length = u32::try_from(piece.len()).context("a piece is too long")?;
        let sent = timeout(TAKE_MAX, async {
            writer.write_all(&length.to_le_bytes()).await?;
            writer.write_all(&piece).await
        });
        sent.await.context("the backup was not taken for too long")??;
    }
    writer.write_all(&0_u32.to_le_bytes()).await?;
    let (header, counts) = reading.await.context("the reading ended")??;
    tell(writer, &Answer::Line(summary(&header, &counts))).await
}

/// `careen admin restore`.
pub(crate) async fn restore(options: &RestoreOptions) -> Result<()> {
    let stored = Stored::read(&options.server)?;
    let archive = open(&options.file)?;
    let header = archive.header().clone();
    let key = &stored.settings.key_file;
    let known = key.exists();
    if known && !header.key_fingerprint.is_empty() {
        ensure!(
            MasterKey::open(key)?.fingerprint() == header.key_fingerprint,
            "{} is not the key file that belongs to this backup: its secrets could not be read. Put the right one there, or \
             name it with --key-file",
            key.display()
        );
    }
    crate::serve::make_private_folder(&stored.data)?;
    let restoring = Restoring::begin(&stored.settings.database, archive, options.replace).await?;
    let of = format!("as of {}", header.created_at.to_human());
    let restored = control::finish_restore(restoring.store(), &stored.home(), &of, SystemClock.now()).await;
    let restored = match restored {
        Ok(restored) => restored,
        Err(error) => bail!("{}; start the restore again", error.detail.unwrap_or(error.message)),
    };
    let replaced = restoring.finish().await?;
    say(&format!("Restored {of} into {}.", stored.settings.database));
    say(&format!(
        "{} commands were unfinished in the backup; they are Cancelled, and nothing of them is sent again. The incarnation is {}.",
        restored.commands_ended, restored.incarnation
    ));
    if let Some(place) = replaced {
        say(&format!("The database that was there is kept: {place}"));
    }
    if !known {
        say(&format!(
            "{} is missing. Put the backup's key file there before you start the server; another one cannot read the secrets.",
            key.display()
        ));
    }
    Ok(())
}

fn open(path: &Path) -> Result<ArchiveReader<BufReader<File>>> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    ArchiveReader::open(BufReader::new(file)).with_context(|| path.display().to_string())
}

/// `careen admin check`.
pub(crate) async fn check(options: &CheckOptions) -> Result<()> {
    if let Some(path) = &options.file {
        let (header, counts) = open(path)?.read_whole().with_context(|| path.display().to_string())?;
        say(&format!("{} Made by careen {}. It is whole.", summary(&header, &counts), header.careen));
        for (table, rows) in counts {
            say(&format!("  {rows:>10}  {table}"));
        }
        return Ok(());
    }
    let stored = Stored::read(&options.server)?;
    let findings = match admin::connect(&stored.data).await {
        Some(socket) => {
            let mut reader = admin::put(socket, &Question::Check).await?;
            serde_json::from_str(&admin::answer_line(&mut reader).await?)?
        }
        None => {
            let mut source = BackupSource::open(&stored.settings.database).await?;
            let key = &stored.settings.key_file;
            let master = key.exists().then(|| MasterKey::open(key)).transpose()?;
            if master.is_none() {
                say(&format!("There is no {}: whether the secrets can be opened was not checked.", key.display()));
            }
            findings(&mut source, master.as_ref()).await?
        }
    };
    for finding in &findings {
        say(finding);
    }
    match findings.len() {
        0 => say(&format!("{} is in order.", stored.settings.database)),
        count => bail!(
            "{count} findings in {}; restore a backup, or ask for help with these lines",
            stored.settings.database
        ),
    }
    Ok(())
}

/// What is not in order, in words.
async fn findings(source: &mut BackupSource, master: Option<&MasterKey>) -> Result<Vec<String>> {
    let found = source.check().await?;
    let mut lines: Vec<String> =
        found.into_iter().map(|finding| format!("{}: {}", finding.what, finding.count)).collect();
    if let Some(master) = master {
        lines.extend(control::unopened_secrets(source, master).await?);
    }
    Ok(lines)
}

/// The server's half of a check.
pub(crate) async fn answer_check(server: &Arc<Server>, writer: &mut (impl AsyncWriteExt + Unpin)) -> Result<()> {
    // The server could not have started if its key did not open its secrets.
    let mut source = server.store.backup_source().await?;
    let lines = findings(&mut source, None).await?;
    tell(writer, &Answer::Line(serde_json::to_string(&lines)?)).await
}
