//! `careen logs`: what a command's nodes have written, also while they write.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use clap::Args;
use commands::{Invocation, InvocationState, OutputPiece, OutputPosition, OutputStream};
use control::{Context, Server, live_output};
use identifiers::{NodeId, Scope};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::{
    admin::{self, Answer, Question},
    configuration::data_folder,
};

/// Between two looks at what is new.
const PAUSE: Duration = Duration::from_millis(500);
/// After so many looks without news the reader is asked whether it is still there.
const ALIVE_LOOKS: u32 = 10;
/// A line is not held back for its end for ever, in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// The flags of `careen logs`.
#[derive(Args)]
pub(crate) struct LogsOptions {
    /// The command's id
    #[arg(value_name = "COMMAND-ID")]
    command: String,
    /// Only this node
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// Go on until the command is over, printing what is written as it comes
    #[arg(long, short)]
    follow: bool,
    /// The server's data folder
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    data: Option<PathBuf>,
}

/// The options as they travel.
#[derive(Serialize, Deserialize)]
pub(crate) struct LogsQuestion {
    command: String,
    node: Option<String>,
    follow: bool,
}

pub(crate) async fn run(options: LogsOptions) -> Result<()> {
    let LogsOptions { command, node, follow, data } = options;
    admin::ask(&data_folder(data.as_deref())?, &Question::Logs(LogsQuestion { command, node, follow })).await
}

/// Answers with the output of each of the command's nodes; with `follow` until all are done.
pub(crate) async fn answer(
    server: &Arc<Server>,
    home: &Scope,
    question: LogsQuestion,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> Result<()> {
    let mut nodes: BTreeMap<NodeId, Reading> = BTreeMap::new();
    let mut looks_without_news = 0;
    loop {
        let context = server.context(home.clone(), access::Principal::System, String::new());
        let found = live_output::invocations(&context, &question.command, question.node.as_deref()).await;
        let mut news = Vec::new();
        let mut over = true;
        for invocation in found.map_err(refused)? {
            over &= invocation.state.is_ended();
            let reading = nodes.entry(invocation.node_id.clone()).or_default();
            news.extend(reading.look(&context, invocation, &question).await?);
        }
        looks_without_news = if news.is_empty() { looks_without_news + 1 } else { 0 };
        for line in news {
            admin::tell(writer, &Answer::Line(line)).await?;
        }
        if over || !question.follow {
            return Ok(());
        }
        if looks_without_news >= ALIVE_LOOKS {
            looks_without_news = 0;
            admin::tell(writer, &Answer::Alive).await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn refused(error: control::Error) -> anyhow::Error {
    anyhow::anyhow!(error.message)
}

/// How far one node's output has been printed.
#[derive(Default)]
struct Reading {
    position: OutputPosition,
    /// Lines whose end has not come, by step and stream.
    begun: BTreeMap<(usize, OutputStream), String>,
    over: bool,
    said: Option<InvocationState>,
}

impl Reading {
    /// The lines that are new.
    async fn look(
        &mut self,
        context: &Context,
        invocation: Invocation,
        question: &LogsQuestion,
    ) -> Result<Vec<String>> {
        if self.over || invocation.started_at.is_none() && !invocation.state.is_ended() {
            return Ok(Vec::new());
        }
        let node = invocation.node_id.clone();
        let found = live_output::new_output(context, &question.command, node.as_str(), &self.position).await;
        let found = found.map_err(refused)?;
        self.position = found.next;
        let mut lines = Vec::new();
        for piece in found.pieces {
            self.lines(&node, piece, &mut lines);
        }
        let state = found.invocation.state;
        if state.is_ended() || !question.follow {
            for ((_, stream), text) in std::mem::take(&mut self.begun) {
                lines.extend((!text.is_empty()).then(|| line(&node, stream, &text)));
            }
        }
        self.over = state.is_ended();
        if self.said != Some(state) && (self.over || !question.follow) {
            self.said = Some(state);
            let trace = shown(&found.invocation.trace);
            let why = if trace.is_empty() { String::new() } else { format!(": {trace}") };
            lines.push(format!("{node} = {}{why}", state.status_details()));
        }
        Ok(lines)
    }

    fn lines(&mut self, node: &NodeId, piece: OutputPiece, lines: &mut Vec<String>) {
        let begun = self.begun.entry((piece.step, piece.stream)).or_default();
        begun.push_str(&piece.text);
        while let Some(end) = begun.find('\n') {
            let text: String = begun.drain(..=end).collect();
            lines.push(line(node, piece.stream, &text));
        }
        if begun.len() > LINE_BYTES_MAX {
            lines.push(line(node, piece.stream, &std::mem::take(begun)));
        }
    }
}

/// A line with its node in front: `|` for standard output, `!` for standard error.
fn line(node: &NodeId, stream: OutputStream, text: &str) -> String {
    let mark = if stream == OutputStream::Stdout { '|' } else { '!' };
    format!("{node} {mark} {}", shown(text.trim_end_matches(['\n', '\r'])))
}

/// Without what would command the terminal: control characters become their pictures, as in the console.
fn shown(text: &str) -> String {
    let picture = |c: char| match c {
        '\t' => '\t',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> OutputPiece {
        OutputPiece { step: 0, stream: OutputStream::Stdout, text: text.to_owned() }
    }

    #[test]
    fn lines_are_printed_whole_and_cannot_command_the_terminal() {
        let node = NodeId::parse("mi-0123456789abcdef0").unwrap();
        let (mut reading, mut lines) = (Reading::default(), Vec::new());
        reading.lines(&node, piece("one\ntw"), &mut lines);
        reading.lines(&node, piece("o\r\n\x1b[2Jthree\u{202e}\n"), &mut lines);
        let expected = ["| one", "| two", "| ␛[2Jthree\u{fffd}"].map(|text| format!("mi-0123456789abcdef0 {text}"));
        assert_eq!(lines, expected);
        lines.clear();
        reading.lines(&node, piece(&"x".repeat(LINE_BYTES_MAX + 1)), &mut lines);
        assert_eq!(lines.len(), 1, "a line without end is printed in parts");
    }
}
