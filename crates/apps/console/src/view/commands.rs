use askama::Template;
use commands::{OutputPiece, OutputStream};
use control::views::{CommandView, CommandsView, InvocationView};
use identifiers::Timestamp;
use serde::Serialize;

use super::{
    Frame, Person,
    node::{ChangeLine, change_line, host_name},
    status_tone,
    text::{NAME_CHARS, SENTENCE_CHARS, When, clean, output, sentence, took},
};

/// How soon the page of a running command reads itself anew, in seconds; that of an invocation only without its script.
const RELOAD_SECONDS: u32 = 3;

/// All commands, or those of one node.
#[derive(Template)]
#[template(path = "commands.html")]
pub(crate) struct Commands {
    frame: Frame,
    now: String,
    /// Id and name of the node that the list is about.
    node: Option<(String, String)>,
    commands: Vec<CommandLine>,
    next: Option<String>,
}

/// A command in a list, or as the head of its own page.
struct CommandLine {
    id: String,
    document: String,
    detail: String,
    status: &'static str,
    tone: &'static str,
    requested_at: When,
    by: String,
    targets: u32,
    completed: u32,
    errors: u32,
}

impl Commands {
    pub(crate) fn new(person: &Person, view: &CommandsView, now: Timestamp) -> Self {
        let node = view.node.as_ref().map(|node| (node.node_id.to_string(), host_name(node)));
        let next = view.next.as_ref().map(|token| match &node {
            Some((id, _)) => format!("/console/commands?node={id}&after={token}"),
            None => format!("/console/commands?after={token}"),
        });
        Self {
            frame: Frame::of(person, "commands", None),
            now: now.to_human(),
            node,
            commands: view.commands.iter().map(|command| command_line(command, now)).collect(),
            next,
        }
    }
}

fn command_line(command: &commands::Command, now: Timestamp) -> CommandLine {
    let status = command.state.status_details();
    CommandLine {
        id: command.command_id.to_string(),
        document: command.document_name.to_string(),
        detail: detail(command),
        status,
        tone: status_tone(status),
        requested_at: When::new(command.requested_at, now),
        by: clean(&command.requested_by, NAME_CHARS),
        targets: command.target_count,
        completed: command.completed_count,
        errors: command.error_count + command.delivery_timed_out_count,
    }
}

/// What a command does, in a few words: for patching its operation and what may follow, else its comment.
pub(super) fn detail(command: &commands::Command) -> String {
    let first = |name: &str| command.parameters.get(name).and_then(|values| values.first());
    match (command.document_name.as_str(), first("Operation"), first("RebootOption")) {
        ("AWS-RunPatchBaseline", Some(operation), Some(reboot)) if operation != "Scan" => {
            clean(&format!("{operation}, {reboot}"), NAME_CHARS)
        }
        ("AWS-RunPatchBaseline", Some(operation), _) => clean(operation, NAME_CHARS),
        _ => clean(&command.comment, NAME_CHARS),
    }
}

/// One command.
#[derive(Template)]
#[template(path = "command.html")]
pub(crate) struct Command {
    frame: Frame,
    command: CommandLine,
    comment: String,
    /// Names and values.
    parameters: Vec<(String, String)>,
    targets: Vec<String>,
    max_concurrency: String,
    max_errors: String,
    finished_at: Option<When>,
    expires_at: When,
    cancel_requested_at: Option<When>,
    invocations: Vec<InvocationLine>,
    next: Option<String>,
}

/// A command on one node, in a list.
struct InvocationLine {
    node_id: String,
    host: String,
    status: &'static str,
    tone: &'static str,
    trace: String,
    started_at: Option<When>,
    took: String,
}

impl Command {
    pub(crate) fn new(person: &Person, view: &CommandView, now: Timestamp) -> Self {
        let command = &view.command;
        let busy = !command.state.is_ended();
        let when = |at: Timestamp| When::new(at, now);
        let parameter =
            |(name, values): (&String, &Vec<String>)| (clean(name, NAME_CHARS), output(&values.join("\n")).0);
        let mut targets: Vec<String> = command.instance_ids.iter().map(ToString::to_string).collect();
        targets.extend(
            command
                .targets
                .iter()
                .map(|target| clean(&format!("{}={}", target.key, target.values.join(", ")), SENTENCE_CHARS)),
        );
        let lines = view.invocations.iter().map(|row| InvocationLine {
            node_id: row.node_id.to_string(),
            host: view.hosts.get(&row.node_id).map_or_else(String::new, |host| clean(host, NAME_CHARS)),
            status: row.state.status_details(),
            tone: status_tone(row.state.status_details()),
            trace: sentence(&row.trace),
            started_at: row.started_at.map(when),
            took: lasted(row.started_at, row.finished_at),
        });
        let token = view.next.as_ref();
        Self {
            frame: Frame::of(person, "commands", busy.then_some(RELOAD_SECONDS)),
            comment: clean(&command.comment, SENTENCE_CHARS),
            parameters: command.parameters.iter().map(parameter).collect(),
            targets,
            max_concurrency: String::from(command.max_concurrency),
            max_errors: String::from(command.max_errors),
            finished_at: command.finished_at.map(when),
            expires_at: when(command.expires_at),
            cancel_requested_at: command.cancel_requested_at.map(when),
            invocations: lines.collect(),
            next: token.map(|token| format!("/console/commands/{}?after={token}", command.command_id)),
            command: command_line(command, now),
        }
    }
}

fn lasted(from: Option<Timestamp>, to: Option<Timestamp>) -> String {
    from.zip(to).map_or_else(String::new, |(from, to)| took(from, to))
}

/// One command on one node.
#[derive(Template)]
#[template(path = "invocation.html")]
pub(crate) struct Invocation {
    frame: Frame,
    command: CommandLine,
    node_id: String,
    host: String,
    status: &'static str,
    tone: &'static str,
    trace: String,
    sent_at: Option<When>,
    started_at: Option<When>,
    finished_at: Option<When>,
    took: String,
    steps: Vec<StepLine>,
    changes: Vec<ChangeLine>,
    ended: bool,
    live: Option<Live>,
}

/// Where the page's script goes on.
struct Live {
    /// The script.
    script: String,
    /// Which output.
    address: String,
    after: String,
}

/// What is new of an invocation's output, for the page's script.
#[derive(Serialize)]
pub(crate) struct NewOutput {
    ended: bool,
    status: &'static str,
    next: String,
    pieces: Vec<Piece>,
}

#[derive(Serialize)]
struct Piece {
    step: usize,
    stream: &'static str,
    text: String,
}

impl NewOutput {
    pub(crate) fn new(found: &control::live_output::NewOutput) -> Self {
        let piece = |piece: &OutputPiece| Piece {
            step: piece.step,
            stream: piece.stream.as_str(),
            text: output(&piece.text).0,
        };
        Self {
            ended: found.invocation.state.is_ended(),
            status: found.invocation.state.status_details(),
            next: found.next.to_string(),
            pieces: found.pieces.iter().map(piece).collect(),
        }
    }
}

/// A step's result and output.
struct StepLine {
    name: String,
    plugin: String,
    status: &'static str,
    tone: &'static str,
    /// Empty before there is one.
    exit_code: String,
    took: String,
    stdout: String,
    stderr: String,
    stdout_cut: bool,
    stderr_cut: bool,
}

impl Invocation {
    pub(crate) fn new(person: &Person, view: &InvocationView, now: Timestamp) -> Self {
        let row = &view.invocation;
        let ended = row.state.is_ended();
        let when = |at: Timestamp| When::new(at, now);
        let status = row.state.status_details();
        let host = [view.host.as_str(), row.instance_name.as_str(), row.node_id.as_str()];
        Self {
            // Not the frame's: a page whose script runs need not be read anew.
            frame: Frame::of(person, "commands", None),
            live: view.live.as_ref().map(|live| Live {
                script: format!("/console/assets/live.js?v={:x}", crate::assets::LIVE_VERSION),
                address: format!("/console/commands/{}/{}/output", row.command_id, row.node_id),
                after: live.next.to_string(),
            }),
            command: command_line(&view.command, now),
            node_id: row.node_id.to_string(),
            host: clean(host.into_iter().find(|name| !name.is_empty()).unwrap_or_default(), NAME_CHARS),
            status,
            tone: status_tone(status),
            trace: sentence(&row.trace),
            sent_at: row.sent_at.map(when),
            started_at: row.started_at.map(when),
            finished_at: row.finished_at.map(when),
            took: lasted(row.started_at, row.finished_at),
            steps: row.steps.iter().enumerate().map(|(index, step)| step_line(index, step, view)).collect(),
            changes: view.changes.iter().map(|change| change_line(change, now)).collect(),
            ended,
        }
    }
}

fn step_line(index: usize, step: &commands::StepOutcome, view: &InvocationView) -> StepLine {
    let written = view.outputs.iter().find(|output| output.step == step.name);
    let stream = |which: OutputStream| {
        let come = view.live.iter().flat_map(|live| &live.pieces);
        let come: String = come.filter(|p| p.step == index && p.stream == which).map(|p| p.text.as_str()).collect();
        let (text, truncated) = match (written, which) {
            (None, _) => (come.as_str(), false),
            (Some(written), OutputStream::Stdout) => (written.stdout.as_str(), written.stdout_truncated),
            (Some(written), OutputStream::Stderr) => (written.stderr.as_str(), written.stderr_truncated),
        };
        let (text, cut) = output(text);
        (text, cut || truncated)
    };
    let (stdout, stdout_cut) = stream(OutputStream::Stdout);
    let (stderr, stderr_cut) = stream(OutputStream::Stderr);
    // Here Skipped is told apart from Success, which the API cannot.
    let status = step.status.as_str();
    StepLine {
        name: clean(&step.name, NAME_CHARS),
        plugin: clean(&step.plugin, NAME_CHARS),
        status,
        tone: status_tone(status),
        exit_code: match step.response_code {
            commands::RESPONSE_CODE_UNKNOWN => String::new(),
            code => code.to_string(),
        },
        took: lasted(step.started_at, step.finished_at),
        stdout,
        stderr,
        stdout_cut,
        stderr_cut,
    }
}
