//! Periods that hold everywhere, and what a server was started with.

use identifiers::Scope;

use crate::reconcilers::Retention;

/// How often an agent says that it is there, in seconds. A node counts as lost after two and a half of these.
pub const HEARTBEAT_SECONDS: u32 = 30;

/// How long a one-time sign-in link is good for, in seconds.
pub const SIGN_IN_LINK_SECONDS: i64 = 15 * 60;

/// How long a session of the console lasts, in seconds.
pub const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// How long a session of the console lasts without its holder being seen, in seconds.
pub const SESSION_IDLE_SECONDS: i64 = 2 * 60 * 60;

/// What the server was started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The account of the first administrator, and the region that the console shows.
    pub home: Scope,
    /// A name for this process among the replicas; random.
    pub replica: String,
    /// How long records are kept.
    pub retention: Retention,
}
