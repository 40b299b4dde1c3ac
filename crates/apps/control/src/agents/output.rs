//! What steps write while they run: let in within bounds, written down a few times a second, forgotten with the result.
//!
//! It is a courtesy: nothing waits for it, and what is lost here the node tells again, for it has it on its disk. What it
//! may cost is decided when a window is opened: nothing comes that was not allowed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use agent_wire::{FromServer, OutputChunk, OutputReceiver, OutputWindow};
use changes::Changes;
use commands::{Invocation, LIVE_BYTES_MAX, LiveOutput, OutputStream, StepStatus};
use identifiers::{CommandId, JobId, NodeId, Scope};
use store::Write;

use super::AgentSession;
use crate::{Error, Server};

/// So many streams are written down at each look; the others wait their turn.
const STREAMS_PER_LOOK: usize = 512;

/// How much all streams of this process may have on the way or in memory, in bytes of the streams.
const BYTES_MAX: u64 = 64 << 20;

/// How much the streams of one node may have, likewise: what may stand before a heartbeat on a slow line.
const NODE_BYTES_MAX: u64 = 128 << 10;

/// So many streams of one node are listened to: both of each step of a few jobs.
const NODE_STREAMS_MAX: usize = 32;

/// What is coming in.
#[derive(Default)]
pub(crate) struct LiveOutputs(Mutex<Listening>);

#[derive(Default)]
struct Listening {
    nodes: BTreeMap<NodeId, Vec<LiveStream>>,
    /// How much all of them have been allowed and is not written down, as of the last look and what was opened since.
    outstanding: u64,
    /// The node at which the next look begins.
    turn: Option<NodeId>,
}

struct LiveStream {
    scope: Scope,
    epoch: i64,
    command_id: CommandId,
    job_id: JobId,
    step: String,
    stream: OutputStream,
    receiver: OutputReceiver,
    /// What has come and is not written down: where it begins in the stream and in its text, and the text.
    from: u64,
    text_from: u64,
    text: String,
}

impl LiveStream {
    fn window(&self, from: Option<u64>, until: u64) -> FromServer {
        let (job_id, step, stream) = (self.job_id.clone(), self.step.clone(), on_the_wire(self.stream));
        FromServer::OutputWindow(OutputWindow { job_id, step, stream, from, until })
    }

    fn piece(&self, node_id: &NodeId) -> LiveOutput {
        LiveOutput {
            command_id: self.command_id.clone(),
            node_id: node_id.clone(),
            step: self.step.clone(),
            stream: self.stream,
            from: self.from,
            until: self.receiver.received(),
            text_from: self.text_from,
            text: self.text.clone(),
        }
    }

    /// A piece is written down.
    fn wrote(&mut self, piece: &LiveOutput) {
        let same = (&piece.command_id, &piece.step, piece.stream, piece.from)
            == (&self.command_id, &self.step, self.stream, self.from);
        if same && self.text.starts_with(&piece.text) {
            self.text.drain(..piece.text.len());
            (self.from, self.text_from) = (piece.until, piece.text_until());
            self.receiver.wrote(piece.until);
        }
    }
}

fn on_the_wire(stream: OutputStream) -> agent_wire::OutputStream {
    match stream {
        OutputStream::Stdout => agent_wire::OutputStream::Stdout,
        OutputStream::Stderr => agent_wire::OutputStream::Stderr,
    }
}

fn outstanding(streams: &[LiveStream]) -> u64 {
    streams.iter().map(|stream| stream.receiver.outstanding()).sum()
}

impl LiveOutputs {
    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a step of a job from where `known` ends, and gives the windows to be opened.
    fn listen(
        &self,
        session: &AgentSession,
        invocation: &Invocation,
        step: &str,
        known: &[LiveOutput],
    ) -> Vec<FromServer> {
        let mut listening = self.lock();
        let Listening { nodes, outstanding: all, .. } = &mut *listening;
        let streams = nodes.entry(session.node_id.clone()).or_default();
        streams.retain(|stream| stream.epoch == session.epoch);
        let mut opened = Vec::new();
        for stream in OutputStream::ALL {
            let is_same = |s: &LiveStream| s.job_id == invocation.job_id && s.step == step && s.stream == stream;
            if streams.iter().any(is_same) || streams.len() >= NODE_STREAMS_MAX {
                continue;
            }
            let of_stream = || known.iter().filter(|piece| piece.step == step && piece.stream == stream);
            let from = of_stream().map(|piece| piece.until).max().unwrap_or(0);
            let room = BYTES_MAX.saturating_sub(*all).min(NODE_BYTES_MAX.saturating_sub(outstanding(streams)));
            let mut receiver = OutputReceiver::new(from, LIVE_BYTES_MAX);
            let until = receiver.wider(room).unwrap_or(from);
            receiver.open(until);
            *all += receiver.outstanding();
            let stream = LiveStream {
                scope: session.scope.clone(),
                epoch: session.epoch,
                command_id: invocation.command_id.clone(),
                job_id: invocation.job_id.clone(),
                step: step.to_owned(),
                stream,
                receiver,
                from,
                text_from: of_stream().map(LiveOutput::text_until).max().unwrap_or(0),
                text: String::new(),
            };
            opened.push(stream.window(Some(from), until));
            streams.push(stream);
        }
        opened
    }

    /// Takes a chunk in, if it was allowed.
    fn take(&self, session: &AgentSession, chunk: &OutputChunk) -> bool {
        let mut listening = self.lock();
        let streams = listening.nodes.get_mut(&session.node_id).map(Vec::as_mut_slice).unwrap_or_default();
        let stream = streams.iter_mut().find(|s| {
            s.epoch == session.epoch
                && s.job_id == chunk.job_id
                && s.step == chunk.step
                && on_the_wire(s.stream) == chunk.stream
        });
        let Some(stream) = stream else { return false };
        let taken = stream.receiver.take(chunk.from, chunk.until, chunk.text.len());
        if taken {
            stream.text.push_str(&chunk.text);
        }
        taken
    }

    /// A job is over: its result says all that came, and more.
    pub(super) fn job_over(&self, node: &NodeId, job_id: &JobId) {
        self.keep(node, |stream| stream.job_id != *job_id);
    }

    /// A connection is over: what came and is not written down is told again over the next one.
    pub(super) fn connection_over(&self, node: &NodeId, epoch: i64) {
        self.keep(node, |stream| stream.epoch != epoch);
    }

    fn keep(&self, node: &NodeId, which: impl Fn(&LiveStream) -> bool) {
        let mut listening = self.lock();
        let Some(streams) = listening.nodes.get_mut(node) else { return };
        streams.retain(which);
        if streams.is_empty() {
            listening.nodes.remove(node);
        }
    }

    /// What has come, by scope; the nodes take turns.
    fn come(&self) -> BTreeMap<Scope, Vec<LiveOutput>> {
        let mut listening = self.lock();
        let begin = listening.turn.take();
        let is_later = |node: &NodeId| begin.as_ref().is_none_or(|begin| node >= begin);
        let (later, earlier): (Vec<_>, Vec<_>) = listening.nodes.iter().partition(|(node, _)| is_later(node));
        let (mut come, mut count, mut turn) = (BTreeMap::<Scope, Vec<LiveOutput>>::new(), 0, None);
        for (node, streams) in later.into_iter().chain(earlier) {
            if count >= STREAMS_PER_LOOK {
                turn = Some(node.clone());
                break;
            }
            for stream in streams.iter().filter(|stream| !stream.text.is_empty()) {
                count += 1;
                come.entry(stream.scope.clone()).or_default().push(stream.piece(node));
            }
        }
        listening.turn = turn;
        come
    }

    /// These pieces are written down.
    fn wrote(&self, pieces: &[LiveOutput]) {
        let mut listening = self.lock();
        for piece in pieces {
            let streams = listening.nodes.get_mut(&piece.node_id).map(Vec::as_mut_slice).unwrap_or_default();
            streams.iter_mut().for_each(|stream| stream.wrote(piece));
        }
    }

    /// Opens windows further; `say` tells an agent, or says that it cannot now.
    fn widen(&self, say: impl Fn(&NodeId, i64, FromServer) -> bool) {
        let mut listening = self.lock();
        let mut all = listening.nodes.values().map(|streams| outstanding(streams)).sum();
        for (node, streams) in &mut listening.nodes {
            let mut of_node = outstanding(streams);
            for stream in streams {
                let room = BYTES_MAX.saturating_sub(all).min(NODE_BYTES_MAX.saturating_sub(of_node));
                let before = stream.receiver.outstanding();
                let Some(until) = stream.receiver.wider(room) else { continue };
                if say(node, stream.epoch, stream.window(None, until)) {
                    stream.receiver.open(until);
                    all += stream.receiver.outstanding() - before;
                    of_node += stream.receiver.outstanding() - before;
                }
            }
        }
        listening.outstanding = all;
    }
}

impl Server {
    /// A step of a job began: its output may come.
    pub(super) fn listen_to_step(
        &self,
        session: &AgentSession,
        invocation: &Invocation,
        step: &str,
    ) -> Vec<FromServer> {
        let known = invocation.steps.iter().any(|known| known.name == step && !known.status.is_ended());
        if !session.sends_live_output || !known || invocation.state.is_ended() {
            return Vec::new();
        }
        self.live_outputs.listen(session, invocation, step, &[])
    }

    /// A node that works on a job has connected: its output goes on where what is written down ends.
    pub(super) async fn listen_again(&self, session: &AgentSession, invocation: &Invocation) {
        let running = invocation.steps.iter().find(|step| step.status == StepStatus::InProgress);
        let Some(step) = running.filter(|_| session.sends_live_output) else { return };
        let known = self.store.live_output_list(&session.scope, &invocation.command_id, &invocation.node_id).await;
        match known {
            Ok(known) => {
                let windows = self.live_outputs.listen(session, invocation, &step.name, &known);
                if !windows.into_iter().all(|window| self.sessions.offer(&session.node_id, session.epoch, window)) {
                    self.live_outputs.job_over(&session.node_id, &invocation.job_id);
                }
            }
            Err(error) => tracing::warn!(node = %session.node_id, "its live output is not listened to: {error}"),
        }
    }

    /// Takes in a piece of output, and says as what it is counted. One that was not asked for is dropped without a word:
    /// nothing else follows from it.
    pub(super) fn take_output(&self, session: &AgentSession, chunk: &OutputChunk) -> &'static str {
        if self.live_outputs.take(session, chunk) { "output" } else { "output_dropped" }
    }

    /// Writes down what has come, asks for more, and says how many pieces there were. What cannot be written now waits, and its windows stay as they are.
    ///
    /// # Errors
    /// When the store fails; the next look tries again.
    pub(crate) async fn write_live_output(&self) -> Result<usize, Error> {
        let mut count = 0;
        for (scope, pieces) in self.live_outputs.come() {
            let mut changes: Changes<Write> = Changes::new();
            changes.writes.push(Write::from(commands::Write::LiveOutputAdd(pieces.clone())));
            self.store.apply(&scope, changes).await?;
            self.live_outputs.wrote(&pieces);
            count += pieces.len();
        }
        self.live_outputs.widen(|node, epoch, window| self.sessions.offer(node, epoch, window));
        Ok(count)
    }
}
