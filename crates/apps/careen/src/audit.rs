//! `careen audit`: the audit log of a running server: printed, exported, verified; and an exported file verified without
//! any server.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use ::audit::{
    Digest, Verifier,
    export::{Line, parse_line},
};
use access::Principal;
use anyhow::{Context, Result, bail, ensure};
use aws_wire::careen::{VerifyAuditLogRequest, VerifyAuditLogResult};
use clap::{Args, Subcommand, ValueEnum};
use control::{AuditLines, AuditSearch, ExportForm, Server};
use identifiers::{AccountId, Region, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{self, Answer, Question},
    configuration::data_folder,
    terminal,
};

/// A longer line is none of an exported file: a record is at most as long as a request, a seal's list 80,000 digits.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// The flags of `careen audit`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditOptions {
    #[command(subcommand)]
    task: Option<AuditTask>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Filters,
}

#[derive(Subcommand)]
enum AuditTask {
    /// Write the records to a file or standard output. That is written down in the audit log itself.
    Export(ExportOptions),
    /// Compute the chain of sealed records anew: is everything as it was sealed? Exit code 1 if not.
    Verify(VerifyOptions),
}

/// Which server, and whose records.
#[derive(Args)]
struct Place {
    /// The server's data folder
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    data: Option<PathBuf>,
    /// Another account than the server's own
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Another region than the server's own
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
}

#[derive(Args)]
struct Filters {
    /// Only records from this instant on, e.g. 2026-11-22T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only records before this instant
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only this action, e.g. ssm:SendCommand
    #[arg(long)]
    action: Option<String>,
    /// Only this principal, e.g. key/AKIA… or console/root
    #[arg(long)]
    principal: Option<String>,
    /// Only this resource
    #[arg(long, value_name = "ARN")]
    resource: Option<String>,
    /// Only what was done, or only what was refused
    #[arg(long)]
    outcome: Option<Outcome>,
    /// Only from this address
    #[arg(long, value_name = "ADDRESS")]
    source_address: Option<String>,
    /// Only this request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Done,
    Refused,
}

#[derive(Args)]
struct ExportOptions {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filters: Filters,
    /// JSON lines, or CSV for spreadsheets
    #[arg(long, default_value = "json")]
    format: Format,
    /// All records with their seals, so that `careen audit verify --file` can check the file anywhere
    #[arg(long, conflicts_with_all = ["format", "since", "until", "action", "principal", "resource", "outcome",
        "source_address", "request_id"])]
    seals: bool,
    /// Write to this new file, mode 0600, instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Csv,
}

#[derive(Args)]
struct VerifyOptions {
    #[command(flatten)]
    place: Place,
    /// A head that was printed earlier and kept elsewhere: it must still be part of the log
    #[arg(long, value_name = "DIGEST")]
    head: Option<String>,
    /// Verify a file of `careen audit export --seals` instead of a running server's log
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "account", "region"])]
    file: Option<PathBuf>,
    /// The public key that the file must be signed with, as `careen audit verify` prints it
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
}

/// What is asked, as it travels.
#[derive(Serialize, Deserialize)]
pub(crate) struct AuditQuestion {
    account: Option<AccountId>,
    region: Option<Region>,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "wanted", rename_all = "snake_case")]
enum Wanted {
    List { search: AuditSearch },
    Export { search: AuditSearch, form: ExportForm },
    Verify { head: Option<String> },
}

impl Place {
    fn question(self, wanted: Wanted) -> Result<(PathBuf, Question)> {
        let question = AuditQuestion {
            account: self.account.map(|text| AccountId::parse(&text)).transpose()?,
            region: self.region.map(|text| Region::parse(&text)).transpose()?,
            wanted,
        };
        Ok((data_folder(self.data.as_deref())?, Question::Audit(Box::new(question))))
    }
}

impl Filters {
    fn search(self) -> Result<AuditSearch> {
        let instant = |name: &str, text: Option<String>| {
            text.map(|text| Timestamp::parse(&text)).transpose().with_context(|| format!("--{name}"))
        };
        Ok(AuditSearch {
            from: instant("since", self.since)?,
            until: instant("until", self.until)?,
            principal: self.principal,
            action: self.action,
            resource: self.resource,
            refused: self.outcome.map(|outcome| outcome == Outcome::Refused),
            source_address: self.source_address,
            request_id: self.request_id,
        })
    }
}

pub(crate) async fn run(options: AuditOptions) -> Result<()> {
    let (data, question) = match options.task {
        None => options.place.question(Wanted::List { search: options.filters.search()? })?,
        Some(AuditTask::Export(options)) => return export(options).await,
        Some(AuditTask::Verify(VerifyOptions { file: Some(file), head, public_key, .. })) => {
            return verify_file(&file, head.as_deref(), public_key.as_deref());
        }
        Some(AuditTask::Verify(VerifyOptions { public_key: Some(_), .. })) => {
            bail!("--public-key goes with --file; a running server knows its own key")
        }
        Some(AuditTask::Verify(options)) => options.place.question(Wanted::Verify { head: options.head })?,
    };
    admin::ask(&data, &question).await
}

async fn export(options: ExportOptions) -> Result<()> {
    let form = match (options.seals, options.format) {
        (true, _) => ExportForm::Sealed,
        (false, Format::Json) => ExportForm::JsonLines,
        (false, Format::Csv) => ExportForm::Csv,
    };
    let (data, question) = options.place.question(Wanted::Export { search: options.filters.search()?, form })?;
    let Some(path) = options.output else { return admin::ask(&data, &question).await };
    let mut file = new_private_file(&path)?;
    let written = async {
        admin::ask_each(&data, &question, |line| Ok(writeln!(file, "{line}")?)).await?;
        file.sync_all()?;
        anyhow::Ok(())
    };
    // Half an export must not be taken for a whole one.
    written.await.inspect_err(|_| drop(std::fs::remove_file(&path))).with_context(|| path.display().to_string())
}

fn new_private_file(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).with_context(|| format!("{} cannot be made", path.display()))
}

/// Answers what is asked, line by line.
pub(crate) async fn answer(
    server: &Arc<Server>,
    home: &Scope,
    question: AuditQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let scope = Scope {
        account: question.account.unwrap_or_else(|| home.account.clone()),
        region: question.region.unwrap_or_else(|| home.region.clone()),
    };
    let context = server.context(scope, Principal::System, String::new());
    let refused = |error: control::Error| anyhow::anyhow!(error.message);
    let mut lines = match question.wanted {
        Wanted::List { search } => AuditLines::list(&context, search).await.map_err(refused)?,
        Wanted::Export { search, form } => AuditLines::export(&context, search, form).await.map_err(refused)?,
        Wanted::Verify { head } => {
            let found = control::perform(&context, VerifyAuditLogRequest { head }).await.map_err(refused)?;
            for line in verification_lines(&found) {
                admin::tell(writer, &Answer::Line(line)).await?;
            }
            ensure!(found.unbroken == Some(true), BROKEN);
            return Ok(());
        }
    };
    while let Some(text) = lines.next().await.map_err(refused)? {
        for line in text.lines() {
            admin::tell(writer, &Answer::Line(line.to_owned())).await?;
        }
    }
    Ok(())
}

const BROKEN: &str = "the audit log is not as it was sealed";

/// What was found, for people.
fn verification_lines(found: &VerifyAuditLogResult) -> Vec<String> {
    let count = |count: Option<i64>, what: &str| match count.unwrap_or_default() {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let mut first = format!("{}, {}", count(found.record_count, "record"), count(found.seal_count, "seal"));
    let instant = |at: aws_wire::WireTime| Timestamp::from(at).to_rfc3339_millis();
    match (found.unbroken, found.first_record_at, found.last_record_at) {
        (Some(true), Some(from), Some(to)) => {
            first.push_str(&format!(", unbroken from {} to {}", instant(from), instant(to)));
        }
        (Some(true), ..) => first.push_str(", unbroken"),
        _ => first.push_str(", BROKEN"),
    }
    match found.unsealed_count.unwrap_or_default() {
        0 => {}
        1 => first.push_str("; the newest record is not sealed yet"),
        count => first.push_str(&format!("; the {count} newest records are not sealed yet")),
    }
    let mut lines = vec![first];
    let faults = found.faults.iter().flatten();
    lines.extend(faults.map(|fault| format!("wrong: {fault}")));
    if let Some(more @ 1..) = found.more_fault_count {
        lines.push(format!("wrong: and {more} more"));
    }
    if let Some(pruned @ 1..) = found.pruned_count {
        lines.push(format!("{pruned} older records were removed by retention; their seals still stand"));
    }
    let late: Vec<String> = found.late_seal_numbers.iter().flatten().take(20).map(ToString::to_string).collect();
    if !late.is_empty() {
        let numbers = late.join(", ");
        lines.push(format!(
            "made more than an hour after its oldest record (no server was running, or an upgrade): seal {numbers}"
        ));
    }
    if let (Some(number), Some(head)) = (found.head_seal_number, &found.head) {
        lines
            .push(format!("head: {head} (seal {number}); kept elsewhere, `careen audit verify --head` finds it again"));
    }
    if let Some(key) = &found.public_key {
        lines.push(format!("signed with: {key}"));
    }
    lines
}

/// Verifies an exported file. Without a key to compare with, the file's own is believed, and that is said.
fn verify_file(path: &Path, head: Option<&str>, public_key: Option<&str>) -> Result<()> {
    let named = |text: &str| {
        ::audit::public_key_of(text).context("--public-key is 64 hexadecimal digits, as careen audit verify prints it")
    };
    let trusted = public_key.map(named).transpose()?;
    let head = head.map(Digest::parse).transpose().context("--head")?;
    let mut file = BufReader::new(File::open(path).with_context(|| format!("{} cannot be read", path.display()))?);
    let read = next_line(&mut file)?.map(|line| parse_line(&line));
    let Some(Ok(Line::Header { scope, last_seq })) = read else {
        bail!("{} has no header; make it with: careen audit export --seals --output FILE", path.display());
    };
    let mut verifier = Verifier::new(scope.clone(), trusted.into_iter().collect(), identity::verify_ed25519);
    if let Some(head) = head {
        verifier.expect_head(head);
    }
    let mut number = 1_u64;
    while let Some(line) = next_line(&mut file)? {
        number += 1;
        match parse_line(&line) {
            Ok(Line::Seal(seal)) => verifier.seal(*seal),
            Ok(Line::Record(record)) => verifier.record(&record.digest(&scope)),
            Ok(Line::Header { .. }) => verifier.unreadable(format!("line {number} is a second header")),
            Err(error) => verifier.unreadable(format!("line {number}: {error}")),
        }
    }
    let found = verifier.finish(Some(last_seq));
    let one = found.public_keys.as_slice();
    let key = trusted.or(one.first().copied()).unwrap_or_default();
    let mut shown = control::shown_verification(&found, &key);
    if one.is_empty() && trusted.is_none() {
        shown.public_key = None;
    }
    verification_lines(&shown).iter().for_each(|line| terminal::say(line));
    if trusted.is_none() && !one.is_empty() {
        terminal::say(
            "the file itself names that key: compare it with what `careen audit verify` prints on the server,",
        );
        terminal::say("or give it with --public-key");
    }
    ensure!(found.is_unbroken(), BROKEN);
    ensure!(one.len() < 2 || trusted.is_some(), "the seals are signed with {} different keys", one.len());
    Ok(())
}

/// The next line of a file that may be anything.
fn next_line(file: &mut BufReader<File>) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    ensure!(bytes.last() == Some(&b'\n') || (bytes.len() as u64) < LINE_BYTES_MAX, "a line is too long");
    let text = String::from_utf8(bytes).context("the file is not UTF-8")?;
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}
