use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_wire::FromServer;
use control::agents::AgentSession;
use tokio::task::unconstrained;

/// One connection of an agent: two lines of frames, each as the text that would travel, and what either end knows of it.
pub(super) struct Link {
    /// Whose.
    pub(super) agent: usize,
    /// With which server.
    pub(super) server: usize,
    /// The server's end; `None` once it has closed.
    pub(super) session: Option<AgentSession>,
    /// Whether the agent holds its end.
    pub(super) held: bool,
    /// Whether the network between the ends is gone: nothing comes through, and neither end knows.
    pub(super) severed: bool,
    pub(super) to_server: VecDeque<String>,
    pub(super) to_agent: VecDeque<String>,
    /// When the server last heard something, in seconds of the steady clock.
    pub(super) server_heard_at: i64,
    /// When the agent last heard something, likewise.
    pub(super) agent_heard_at: i64,
}

impl Link {
    pub(super) fn new(agent: usize, server: usize, session: AgentSession, held: bool, now: i64) -> Self {
        Self {
            agent,
            server,
            session: Some(session),
            held,
            severed: false,
            to_server: VecDeque::new(),
            to_agent: VecDeque::new(),
            server_heard_at: now,
            agent_heard_at: now,
        }
    }

    /// The agent says something.
    pub(super) fn send_to_server(&mut self, frame: String) {
        if !self.severed {
            self.to_server.push_back(frame);
        }
    }

    /// The server says something.
    pub(super) fn send_to_agent(&mut self, frame: String) {
        if self.held && !self.severed {
            self.to_agent.push_back(frame);
        }
    }

    /// Whether both ends are closed, so that there is no such connection any more.
    pub(super) fn is_over(&self) -> bool {
        self.session.is_none() && !self.held
    }

    /// Whether the agent can see that the server has closed.
    pub(super) fn is_closed_for_agent(&self) -> bool {
        self.held && self.session.is_none() && !self.severed && self.to_agent.is_empty()
    }

    /// Whether the server can see that the agent has closed.
    pub(super) fn is_closed_for_server(&self) -> bool {
        !self.held && self.session.is_some() && !self.severed && self.to_server.is_empty()
    }

    /// Takes what the server has queued for this connection, without waiting, and says whether the server ends it.
    pub(super) fn drain(&mut self) -> (Vec<FromServer>, bool) {
        let mut taken = Vec::new();
        loop {
            let Some(session) = &mut self.session else { return (taken, false) };
            match queued(session) {
                Poll::Ready(Some(message)) => taken.push(message),
                Poll::Ready(None) => return (taken, true),
                Poll::Pending => return (taken, false),
            }
        }
    }
}

fn queued(session: &mut AgentSession) -> Poll<Option<FromServer>> {
    // Tokio's budget for cooperative tasks would make this depend on what was awaited before.
    let next = pin!(unconstrained(session.outgoing()));
    next.poll(&mut Context::from_waker(Waker::noop()))
}
