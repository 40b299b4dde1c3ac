//! The agents' conversation: who they are, what they report. Frames and sockets are `api`'s.

mod bounds;
mod departure;
mod handshake;
mod holding;
mod inbox;
pub(crate) mod orders;
pub(crate) mod output;
mod report;
mod trust;

pub use handshake::{AgentSession, Greeting};
