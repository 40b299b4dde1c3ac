//! Live output: what a step has written so far, told while it runs, and how much of it may be on its way.
//!
//! It is a courtesy: the result of the job tells the same again and is what counts. So it is never kept for sending,
//! never acknowledged, and goes only as far as the server has opened a *window*. A window is a position in the stream,
//! not a number of bytes: heard twice or late it changes nothing, and what the server has written down by then bounds
//! what it must hold. Agents that do not know of it are never asked; servers that do not never ask.

use identifiers::JobId;
use serde::{Deserialize, Serialize};

/// The capability of an agent that sends live output, as its `Hello` says it.
pub const OUTPUT_LIVE: &str = "output.live";
/// How much of one stream may be on its way or not yet written down, in bytes of the stream.
pub const OUTPUT_WINDOW_BYTES: u64 = 8 << 10;
/// The same until the first of it is written down: most streams never need more.
const FIRST_WINDOW_BYTES: u64 = 2 << 10;
/// How much of a chunk's text there may be for each byte of the stream: a byte that is no UTF-8 becomes U+FFFD.
const TEXT_PER_BYTE: u64 = 3;

/// Which of a step's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The stream's name, as the agent's files have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// Of which job.
    pub job_id: JobId,
    /// Of which step.
    pub step: String,
    /// Of which stream.
    pub stream: OutputStream,
    /// How many bytes of the stream come before it.
    pub from: u64,
    /// How many bytes of the stream there are up to its end.
    pub until: u64,
    /// The bytes as text, what is no UTF-8 replaced by U+FFFD; chunks one after the other give the text of all the bytes.
    pub text: String,
}

/// How far a stream may be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputWindow {
    /// Of which job.
    pub job_id: JobId,
    /// Of which step.
    pub step: String,
    /// Of which stream.
    pub stream: OutputStream,
    /// Where to begin, in bytes of the stream; absent: go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Up to where, in bytes of the stream.
    pub until: u64,
}

/// The agent's end of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputSender {
    next: u64,
    until: u64,
}

impl OutputSender {
    /// Takes in a window.
    pub fn allow(&mut self, window: &OutputWindow) {
        if let Some(from) = window.from {
            *self = Self { next: from, until: from };
        }
        self.until = self.until.max(window.until);
    }

    /// The position that is sent next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many bytes may be sent now.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.until.saturating_sub(self.next)
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, bytes: u64) {
        self.next = self.next.saturating_add(bytes);
    }
}

/// The server's end of one stream: what has come, what of it is written down, what may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputReceiver {
    began: u64,
    written: u64,
    received: u64,
    until: u64,
    bytes_max: u64,
}

impl OutputReceiver {
    /// One that has everything up to a position, and takes nothing yet; it will take `bytes_max` bytes of the stream.
    #[must_use]
    pub fn new(from: u64, bytes_max: u64) -> Self {
        Self { began: from, written: from, received: from, until: from, bytes_max }
    }

    /// Takes a chunk in if it is the next one and was allowed. One that is not, because it is late, or its sender does not
    /// keep to the rules, is dropped.
    pub fn take(&mut self, from: u64, until: u64, text_bytes: usize) -> bool {
        let fits = from == self.received && until > from && until <= self.until;
        let plausible = until.saturating_sub(from).saturating_mul(TEXT_PER_BYTE) >= text_bytes as u64;
        if fits && plausible {
            self.received = until;
        }
        fits && plausible
    }

    /// Everything up to this position is written down.
    pub fn wrote(&mut self, until: u64) {
        self.written = self.written.max(until.min(self.received));
    }

    /// The position up to which everything has come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How much has been allowed and is not written down: what this stream may cost in memory and on the way.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.until - self.written
    }

    /// How far the window may be opened if there is `room` for so many bytes more, if that is worth a message.
    #[must_use]
    pub fn wider(&self, room: u64) -> Option<u64> {
        let window = if self.written == self.began { FIRST_WINDOW_BYTES } else { OUTPUT_WINDOW_BYTES };
        let wanted = self.written.saturating_add(window).min(self.bytes_max);
        let until = wanted.min(self.until.saturating_add(room));
        let enough = until >= self.until.saturating_add(FIRST_WINDOW_BYTES) || until == self.bytes_max;
        (enough && until > self.until).then_some(until)
    }

    /// The window is open up to this position; the agent is told.
    pub fn open(&mut self, until: u64) {
        self.until = self.until.max(until);
    }
}

/// The beginning of `bytes` as text, and how many bytes that is: a character that is not complete yet is left for later,
/// so that pieces one after the other give what the whole would give.
#[must_use]
pub fn whole_text(bytes: &[u8]) -> (String, usize) {
    let mut text = String::with_capacity(bytes.len());
    let mut taken = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        taken += chunk.valid().len();
        let invalid = chunk.invalid();
        let at_the_end = taken + invalid.len() == bytes.len();
        if at_the_end && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none()) {
            break;
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
    }
    (text, taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const BYTES_MAX: u64 = 100_000;

    fn window(from: Option<u64>, until: u64) -> OutputWindow {
        let job_id = JobId::parse("11111111-2222-4333-8444-555555555555").unwrap();
        OutputWindow { job_id, step: "a".to_owned(), stream: OutputStream::Stdout, from, until }
    }

    /// Both ends of a stream, and what is on the way between them.
    struct Line {
        file: Vec<u8>,
        sender: OutputSender,
        receiver: OutputReceiver,
        chunks: VecDeque<(u64, u64, String)>,
        windows: VecDeque<OutputWindow>,
        text: String,
        kept: usize,
    }

    impl Line {
        fn new() -> Self {
            let mut line = Self {
                file: Vec::new(),
                sender: OutputSender::default(),
                receiver: OutputReceiver::new(0, BYTES_MAX),
                chunks: VecDeque::new(),
                windows: VecDeque::new(),
                text: String::new(),
                kept: 0,
            };
            line.connect();
            line
        }

        /// What was on its way is lost; what was received and not written down is, too.
        fn connect(&mut self) {
            self.chunks.clear();
            self.windows.clear();
            self.sender = OutputSender::default();
            let from = self.receiver.written;
            self.text.truncate(self.kept);
            self.receiver = OutputReceiver::new(from, BYTES_MAX);
            let until = self.receiver.wider(u64::MAX).unwrap_or(from);
            self.receiver.open(until);
            self.windows.push_back(window(Some(from), until));
        }

        fn send(&mut self, bytes: usize) {
            let from = usize::try_from(self.sender.next()).unwrap();
            let room = usize::try_from(self.sender.room()).unwrap();
            let end = self.file.len().min(from + bytes.min(room));
            let Some(part) = self.file.get(from..end) else { return };
            let (text, taken) = whole_text(part);
            if taken > 0 {
                self.chunks.push_back((from as u64, (from + taken) as u64, text));
                self.sender.sent(taken as u64);
            }
        }

        fn receive(&mut self) {
            let Some((from, until, text)) = self.chunks.pop_front() else { return };
            if self.receiver.take(from, until, text.len()) {
                self.text.push_str(&text);
            }
        }

        fn write(&mut self, room: u64) {
            self.receiver.wrote(self.receiver.received());
            self.kept = self.text.len();
            if let Some(until) = self.receiver.wider(room) {
                self.receiver.open(until);
                self.windows.push_back(window(None, until));
            }
        }

        fn hear(&mut self) {
            if let Some(window) = self.windows.pop_front() {
                self.sender.allow(&window);
            }
        }

        /// What the sender has sent and the receiver has not written down.
        fn on_the_way(&self) -> u64 {
            self.sender.next().saturating_sub(self.receiver.written)
        }
    }

    #[derive(Debug, Clone)]
    enum Move {
        Script(Vec<u8>),
        Send(usize),
        Receive,
        Write(u64),
        Hear,
        HearTwice,
        Duplicate,
        Connect,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            4 => proptest::collection::vec(any::<u8>(), 0..20_000).prop_map(Move::Script),
            2 => "[aé€𝄞]{0,50}".prop_map(|text| Move::Script(text.into_bytes())),
            8 => (1usize..20_000).prop_map(Move::Send),
            8 => Just(Move::Receive),
            4 => (0u64..40_000).prop_map(Move::Write),
            6 => Just(Move::Hear),
            1 => Just(Move::HearTwice),
            1 => Just(Move::Duplicate),
            1 => Just(Move::Connect),
        ];
        proptest::collection::vec(one, 0..80)
    }

    proptest! {
        #[test]
        fn no_more_than_the_window_is_on_its_way_and_all_of_it_arrives(moves in moves()) {
            let mut line = Line::new();
            for one in moves {
                match one {
                    Move::Script(bytes) => line.file.extend(bytes),
                    Move::Send(bytes) => line.send(bytes),
                    Move::Receive => line.receive(),
                    Move::Write(room) => line.write(room),
                    Move::Hear => line.hear(),
                    Move::HearTwice => {
                        if let Some(window) = line.windows.front().cloned().filter(|w| w.from.is_none()) {
                            line.windows.push_front(window);
                        }
                    }
                    Move::Duplicate => line.chunks.extend(line.chunks.front().cloned()),
                    Move::Connect => line.connect(),
                }
                prop_assert!(line.receiver.outstanding() <= OUTPUT_WINDOW_BYTES);
                prop_assert!(line.on_the_way() <= OUTPUT_WINDOW_BYTES);
                prop_assert!(line.receiver.received() <= BYTES_MAX);
            }
            // Left to itself, it comes to its end; a copy of a chunk on the way is only ever dropped.
            let mut rounds = 0;
            loop {
                let before = line.receiver;
                line.hear();
                line.send(8192);
                prop_assert!(line.on_the_way() <= OUTPUT_WINDOW_BYTES);
                while !line.chunks.is_empty() { line.receive(); }
                line.write(u64::MAX);
                rounds += 1;
                if line.receiver == before && line.windows.is_empty() { break; }
                prop_assert!(rounds < 1000);
            }
            let end = line.file.len().min(usize::try_from(BYTES_MAX).unwrap());
            let (whole, taken) = whole_text(&line.file[..end]);
            prop_assert_eq!(line.receiver.received(), taken as u64);
            prop_assert_eq!(line.text, whole);
        }

        #[test]
        fn pieces_give_what_the_whole_gives(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(1usize..9, 0..80)) {
            let (mut text, mut at) = (String::new(), 0);
            for cut in cuts.into_iter().chain([bytes.len()]) {
                let end = bytes.len().min(at + cut);
                let (piece, taken) = whole_text(&bytes[at..end]);
                text.push_str(&piece);
                at += taken;
            }
            let rest = String::from_utf8_lossy(&bytes[at..]);
            prop_assert!(bytes.len() - at < 4);
            prop_assert_eq!(text + &rest, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn whatever_a_node_sends_only_what_was_allowed_is_taken(chunks in proptest::collection::vec((any::<u64>(), any::<u64>(), 0usize..100_000), 0..50)) {
            let mut receiver = OutputReceiver::new(5, BYTES_MAX);
            receiver.open(receiver.wider(u64::MAX).unwrap());
            for (from, until, text) in chunks {
                receiver.take(from, until, text);
                let from = receiver.received();
                receiver.take(from, from.saturating_add(until % 5000), text);
                prop_assert!(receiver.received() <= 5 + OUTPUT_WINDOW_BYTES);
            }
        }
    }

    #[test]
    fn a_text_longer_than_its_bytes_can_be_is_dropped() {
        let mut receiver = OutputReceiver::new(0, BYTES_MAX);
        receiver.open(receiver.wider(u64::MAX).unwrap());
        assert!(!receiver.take(0, 10, 31));
        assert!(receiver.take(0, 10, 30));
        assert!(!receiver.take(0, 10, 1), "it was here before");
        assert!(!receiver.take(11, 12, 1), "something is missing before it");
        assert!(!receiver.take(10, 10, 0), "it is empty");
        assert!(!receiver.take(10, OUTPUT_WINDOW_BYTES + 1, 1), "it was not allowed");
    }
}
