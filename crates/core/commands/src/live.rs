//! What steps have written so far: pieces that came while they ran, until their result replaces them.

use crate::{Invocation, StepOutput};
use identifiers::{CommandId, NodeId};
use std::fmt::{Display, Formatter};

/// So many bytes of each of a step's streams are taken while it runs; the rest comes with the result, if that has it.
pub const LIVE_BYTES_MAX: u64 = 128 << 10;

/// Which of a step's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Both, as [`OutputPosition`] has them.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The stream's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The stream with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == name)
    }
}

/// A piece of a stream of a step that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOutput {
    /// Of which command.
    pub command_id: CommandId,
    /// On which node.
    pub node_id: NodeId,
    /// Of which step.
    pub step: String,
    /// Of which stream.
    pub stream: OutputStream,
    /// How many bytes of the stream come before it.
    pub from: u64,
    /// How many bytes of the stream there are up to its end.
    pub until: u64,
    /// How many bytes of text come before it; not `from`, for bytes that are no UTF-8 are replaced.
    pub text_from: u64,
    /// The piece.
    pub text: String,
}

impl LiveOutput {
    /// How many bytes of text there are up to its end.
    #[must_use]
    pub fn text_until(&self) -> u64 {
        self.text_from.saturating_add(self.text.len() as u64)
    }
}

/// How much of an invocation's output has been seen: bytes of text of both streams of each step, in order.
///
/// As a text it is `12-0.5-3`; one that cannot be read is the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputPosition(Vec<[u64; 2]>);

impl OutputPosition {
    /// Reads a position. No document has more than 100 steps.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let step = |part: &str| {
            let (stdout, stderr) = part.split_once('-')?;
            Some([stdout.parse().ok()?, stderr.parse().ok()?])
        };
        Self(text.split('.').take(100).map(step).collect::<Option<_>>().unwrap_or_default())
    }

    fn seen(&self, step: usize, stream: OutputStream) -> u64 {
        self.0.get(step).map_or(0, |seen| seen[stream as usize])
    }
}

impl Display for OutputPosition {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (place, [stdout, stderr]) in self.0.iter().enumerate() {
            write!(f, "{}{stdout}-{stderr}", if place == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

/// What a stream has that was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPiece {
    /// The step's place in the document.
    pub step: usize,
    /// Which stream.
    pub stream: OutputStream,
    /// The new text; what follows is said by a later piece.
    pub text: String,
}

/// What an invocation has written since a position: of steps that are over from their results, of the others from what came
/// while they run. `live` is sorted by `from` within each stream.
#[must_use]
pub fn output_since(
    invocation: &Invocation,
    outputs: &[StepOutput],
    live: &[LiveOutput],
    position: &OutputPosition,
) -> (Vec<OutputPiece>, OutputPosition) {
    let (mut pieces, mut next) = (Vec::new(), OutputPosition::default());
    for (index, step) in invocation.steps.iter().enumerate() {
        let result = outputs.iter().find(|output| output.step == step.name).filter(|_| step.status.is_ended());
        let mut positions = [0; 2];
        for stream in OutputStream::ALL {
            let seen = position.seen(index, stream);
            let (text, until) = match result {
                Some(result) => {
                    let whole = if stream == OutputStream::Stdout { &result.stdout } else { &result.stderr };
                    (after(whole, seen).to_owned(), seen.max(whole.len() as u64))
                }
                None => {
                    let of_stream = live.iter().filter(|piece| piece.step == step.name && piece.stream == stream);
                    live_since(of_stream, seen)
                }
            };
            positions[stream as usize] = until;
            if !text.is_empty() {
                pieces.push(OutputPiece { step: index, stream, text });
            }
        }
        next.0.push(positions);
    }
    (pieces, next)
}

fn live_since<'a>(pieces: impl Iterator<Item = &'a LiveOutput>, seen: u64) -> (String, u64) {
    let (mut text, mut at) = (String::new(), seen);
    for piece in pieces.filter(|piece| piece.text_until() > seen) {
        // Two servers may have kept the same bytes in other pieces.
        text.push_str(after(&piece.text, at.saturating_sub(piece.text_from)));
        at = at.max(piece.text_until());
    }
    (text, at)
}

/// What of a text comes after so many bytes.
fn after(text: &str, bytes: u64) -> &str {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(text.len());
    let whole = (bytes..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(whole..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InvocationState, OpenState, RESPONSE_CODE_UNKNOWN, StepOutcome, StepStatus};
    use identifiers::{JobId, Timestamp};
    use proptest::prelude::*;

    const UUID: &str = "6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab";

    fn invocation(statuses: &[StepStatus]) -> Invocation {
        let step = |(index, status): (usize, &StepStatus)| StepOutcome {
            name: format!("s{index}"),
            plugin: "aws:runShellScript".into(),
            status: *status,
            response_code: RESPONSE_CODE_UNKNOWN,
            started_at: None,
            finished_at: None,
        };
        Invocation {
            command_id: CommandId::parse(UUID).unwrap(),
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            instance_name: String::new(),
            job_id: JobId::parse(UUID).unwrap(),
            state: InvocationState::Open(OpenState::Running),
            trace: String::new(),
            requested_at: Timestamp::EPOCH,
            sent_at: None,
            started_at: None,
            finished_at: None,
            delivery_until: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH,
            steps: statuses.iter().enumerate().map(step).collect(),
        }
    }

    fn piece(step: &str, stream: OutputStream, text_from: u64, text: &str) -> LiveOutput {
        LiveOutput {
            command_id: CommandId::parse(UUID).unwrap(),
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            step: step.into(),
            stream,
            from: text_from,
            until: text_from + text.len() as u64,
            text_from,
            text: text.into(),
        }
    }

    fn result(step: &str, stdout: &str) -> StepOutput {
        StepOutput {
            command_id: CommandId::parse(UUID).unwrap(),
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            step: step.into(),
            stdout: stdout.into(),
            stderr: String::new(),
            stdout_truncated: false,
            stderr_truncated: false,
        }
    }

    #[test]
    fn what_was_seen_is_not_told_again_and_the_result_goes_on_where_the_pieces_ended() {
        let running = invocation(&[StepStatus::InProgress]);
        let live = [
            piece("s0", OutputStream::Stdout, 0, "one\n"),
            piece("s0", OutputStream::Stdout, 2, "e\ntwo"),
            piece("s0", OutputStream::Stderr, 0, "oh\n"),
            piece("other", OutputStream::Stdout, 0, "no"),
        ];
        let (pieces, next) = output_since(&running, &[], &live, &OutputPosition::default());
        let texts: Vec<(OutputStream, &str)> = pieces.iter().map(|p| (p.stream, p.text.as_str())).collect();
        assert_eq!(texts, [(OutputStream::Stdout, "one\ntwo"), (OutputStream::Stderr, "oh\n")]);
        assert_eq!(next.to_string(), "7-3");
        assert_eq!(output_since(&running, &[], &live, &next), (Vec::new(), next.clone()));

        let over = invocation(&[StepStatus::Success, StepStatus::Pending]);
        let (pieces, next) = output_since(&over, &[result("s0", "one\ntwo\nthree")], &live, &next);
        assert_eq!(pieces, [OutputPiece { step: 0, stream: OutputStream::Stdout, text: "\nthree".into() }]);
        assert_eq!(next.to_string(), "13-3.0-0");
        assert_eq!(OutputPosition::parse("13-3.0-0"), next);
    }

    #[test]
    fn a_position_that_cannot_be_read_is_the_beginning() {
        for text in ["", "1", "1-", "a-b", "1-2.x", "-1-2", "1-99999999999999999999999"] {
            assert_eq!(OutputPosition::parse(text), OutputPosition::default(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn in_whatever_steps_it_is_read_it_is_read_once(texts in proptest::collection::vec("[aé€\\n]{0,9}", 0..8), stops in proptest::collection::vec(0usize..9, 0..8)) {
            let running = invocation(&[StepStatus::InProgress]);
            let mut live = Vec::new();
            let mut at = 0;
            for text in &texts {
                live.push(piece("s0", OutputStream::Stdout, at, text));
                at += text.len() as u64;
            }
            let (mut read, mut position) = (String::new(), OutputPosition::default());
            for stop in stops.into_iter().map(|stop| stop.min(live.len())).chain([live.len()]) {
                let (pieces, next) = output_since(&running, &[], &live[..stop], &position);
                read.extend(pieces.into_iter().map(|piece| piece.text));
                position = next;
            }
            prop_assert_eq!(read, texts.concat());
        }

        #[test]
        fn no_position_makes_it_panic(text in "[0-9.-]{0,60}", output in "[aé€]{0,9}") {
            let over = invocation(&[StepStatus::Success, StepStatus::InProgress]);
            let live = [piece("s1", OutputStream::Stderr, 3, &output)];
            let _ = output_since(&over, &[result("s0", &output)], &live, &OutputPosition::parse(&text));
        }
    }
}
