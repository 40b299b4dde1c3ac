use identifiers::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// A node's newest connection, and the newest sign of life over it. Written often, so it is kept apart from the node and has no
/// revision. Each connection is claimed with an epoch of its own, one more than that of the one before; what is said over an
/// older one does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Whose.
    pub node_id: NodeId,
    /// When the server last heard from it.
    pub last_ping_at: Timestamp,
    /// Whether the connection is still open, as far as its replica knew when it last wrote.
    pub connected: bool,
    /// Grows with every connection of the node; only the newest one is given work.
    pub epoch: i64,
    /// The server replica that holds the connection.
    pub replica: String,
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`); empty where unknown.
    pub boot_id: String,
    /// When the host was last booted, by its own clock.
    pub last_boot_at: Option<Timestamp>,
}

/// Whether a node answers, with the names of the SSM model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PingStatus {
    /// Heard of within two and a half heartbeats.
    Online,
    /// Silent for longer than that, or never heard of.
    ConnectionLost,
}

impl PingStatus {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "Online",
            Self::ConnectionLost => "ConnectionLost",
        }
    }
}

/// Online while the last ping is at most 2.5 heartbeat intervals old. AWS does not document its own threshold.
///
/// An open connection alone does not count: a cut link stays open for minutes, and its replica may have died.
/// A ping from a near future counts as fresh (clocks of replicas differ); one from further ahead was written before the clock
/// was set back, and says nothing of the present.
#[must_use]
pub fn ping_status(ping: Option<&Ping>, now: Timestamp, heartbeat_seconds: u32) -> PingStatus {
    let patience_micros = i64::from(heartbeat_seconds).saturating_mul(2_500_000);
    match ping {
        Some(ping) if now.micros_since(ping.last_ping_at).saturating_abs() <= patience_micros => PingStatus::Online,
        _ => PingStatus::ConnectionLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_lost_after_two_and_a_half_heartbeats() {
        let ping = |connected| Ping {
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            last_ping_at: Timestamp::from_seconds(1000),
            connected,
            epoch: 1,
            replica: "one".into(),
            boot_id: String::new(),
            last_boot_at: None,
        };
        for (now_micros, connected, expected) in [
            (1_000_000_000, true, PingStatus::Online),
            (1_750_000_000, true, PingStatus::Online),
            (1_750_000_001, true, PingStatus::ConnectionLost),
            (1_750_000_000, false, PingStatus::Online),
            (900_000_000, true, PingStatus::Online),
            (249_999_999, true, PingStatus::ConnectionLost),
        ] {
            let now = Timestamp::from_micros(now_micros);
            assert_eq!(ping_status(Some(&ping(connected)), now, 300), expected, "at {now_micros}");
        }
        assert_eq!(ping_status(None, Timestamp::from_seconds(0), 300), PingStatus::ConnectionLost);
    }
}
