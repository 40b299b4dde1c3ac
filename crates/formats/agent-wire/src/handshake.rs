//! The handshake: frames until both sides know whom they talk to.
//!
//! Every text that is signed starts with its own label, so that no signature can be used for another purpose, and
//! names the values that it binds, one a line.

use crate::{Bytes32, Bytes64, SignedTrust};
use identifiers::{ActivationId, NodeId, Timestamp};
use packages::Distribution;
use serde::{Deserialize, Serialize};

/// Why the agent calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub enum Purpose {
    /// To become a managed node.
    Register {
        /// The activation it was given.
        activation_id: ActivationId,
    },
    /// As a node that is registered.
    Connect {
        /// Which one.
        node_id: NodeId,
    },
}

/// The first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest protocol version the agent speaks.
    pub protocol_min: u16,
    /// The newest protocol version the agent speaks.
    pub protocol_max: u16,
    /// The agent's own version, e.g. `0.1.0`.
    pub agent_version: String,
    /// What the agent can do beyond the protocol's base, e.g. `patch.apt`.
    pub capabilities: Vec<String>,
    /// Fresh randomness of the agent.
    pub nonce: Bytes32,
    /// The identity keys that a registered node believes, so that the server shows one of them; from protocol 2 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_keys: Vec<Bytes32>,
    /// Why it calls.
    #[serde(flatten)]
    pub purpose: Purpose,
}

/// What an agent says of its host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostFacts {
    /// The host name.
    pub computer_name: String,
    /// The address it calls from, as it sees it; empty if unknown.
    pub ip_address: String,
    /// The distribution.
    pub distribution: Distribution,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// The machine's architecture (`uname -m`).
    pub architecture: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The agent's version.
    pub agent_version: String,
    /// Whether the agent runs as root: if not, it can scan but not install.
    pub privileged: bool,
    /// What the node's own policy restricts, in one line; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Random, made anew whenever the agent starts: tells two hosts with one key apart. Empty from agents that do not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_instance: String,
}

/// Frames of the agent until it is welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToServerHandshake {
    /// Opens the conversation.
    Hello(Hello),
    /// Asks to become a node.
    Register {
        /// The key the agent has just made: Ed25519, public half.
        node_key: Bytes32,
        /// The host.
        facts: HostFacts,
        /// HMAC-SHA256 of [`register_proof_text`], bound by [`Terms::bind`], keyed with the SHA-256 of the activation code's secret.
        proof: Bytes32,
    },
    /// Shows that the agent has the node's key.
    Prove {
        /// The node's signature of [`connect_text`], bound by [`Terms::bind`].
        signature: Bytes64,
        /// The host.
        facts: HostFacts,
    },
}

/// Why the server ends the conversation, in a word that a program can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No protocol version in common.
    Version,
    /// The activation is unknown, expired, used up, or the proof does not fit: not said which.
    Activation,
    /// The node is unknown, deregistered, or its signature does not fit: not said which.
    Node,
    /// The node believes none of the identity keys that this server has: it was away while they were exchanged.
    Identity,
    /// The server cannot serve now; try again later.
    Unavailable,
    /// Two hosts have connected as this node; somebody must look.
    Held,
    /// The frame was not expected here, or not understood.
    Protocol,
    /// A newer code of a newer server.
    #[serde(other)]
    Other,
}

/// The last frame of a conversation that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For the program.
    pub code: RefusalCode,
    /// For the person who reads the agent's log.
    pub message: String,
}

/// Frames of the server until the agent is welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromServerHandshake {
    /// Shows who the server is.
    Challenge {
        /// The chosen protocol version.
        protocol: u16,
        /// The server's Ed25519 identity key.
        identity_key: Bytes32,
        /// Fresh randomness of the server.
        nonce: Bytes32,
        /// The number of this connection; each of a node's connections has a higher one.
        epoch: i64,
        /// The TLS channel that ends at the server (RFC 9266); absent where it ends before the server, or there is none,
        /// and in protocol 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<Bytes32>,
        /// The server's signature of [`challenge_text`], bound by [`Terms::bind`].
        signature: Bytes64,
    },
    /// The agent is now a managed node.
    Registered {
        /// Its id.
        node_id: NodeId,
        /// The public half of the key that signs orders.
        job_key: Bytes32,
        /// The incarnation of the server's database; orders of an older one are refused.
        incarnation: u64,
        /// The region the node belongs to.
        region: String,
        /// Whom the node is to believe from now on; absent in protocol 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust: Option<SignedTrust>,
        /// The server's signature of [`registered_text`], bound by [`Terms::bind`].
        signature: Bytes64,
    },
    /// The session begins.
    Welcome {
        /// The number of this connection.
        epoch: i64,
        /// How often the agent says that it is there, in seconds.
        heartbeat_seconds: u32,
        /// The server's clock.
        now: Timestamp,
        /// The digest of the inventory the server has of this node, if any.
        inventory_digest: Option<String>,
        /// Whom the node is to believe from now on; absent in protocol 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust: Option<SignedTrust>,
        /// The server's signature of [`welcome_text`], bound by [`Terms::bind`].
        signature: Bytes64,
    },
    /// The conversation ends.
    Refused(Refusal),
}

/// What a conversation is held under. From protocol 2 on it is part of every text of the handshake that is signed, so
/// that a signature says nothing on another channel, nor in another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The chosen protocol version.
    pub protocol: u16,
    /// The TLS channel as the server sees it; see [`FromServerHandshake::Challenge`].
    pub channel: Option<Bytes32>,
}

impl Terms {
    /// Binds a text of the handshake to these terms. In protocol 1 texts stay as they are.
    #[must_use]
    pub fn bind(&self, text: String) -> String {
        if self.protocol < 2 {
            return text;
        }
        let channel = self.channel.map_or("none".to_owned(), |channel| channel.to_string());
        format!("careen terms 2\n{}\n{channel}\n{text}", self.protocol)
    }
}

/// What the server signs in its challenge.
#[must_use]
pub fn challenge_text(hello: &Hello, server_nonce: &Bytes32, epoch: i64) -> String {
    let whom = match &hello.purpose {
        Purpose::Register { activation_id } => format!("activation {activation_id}"),
        Purpose::Connect { node_id } => format!("node {node_id}"),
    };
    format!("careen challenge 1\n{whom}\n{}\n{server_nonce}\n{epoch}\n", hello.nonce)
}

/// What the proof of a registration covers: both nonces, the server's identity and the node's new key.
#[must_use]
pub fn register_proof_text(
    activation_id: &ActivationId,
    agent_nonce: &Bytes32,
    server_nonce: &Bytes32,
    identity_key: &Bytes32,
    node_key: &Bytes32,
) -> String {
    format!("careen register 1\n{activation_id}\n{agent_nonce}\n{server_nonce}\n{identity_key}\n{node_key}\n")
}

/// What the server signs in its answer to a registration.
#[must_use]
pub fn registered_text(
    agent_nonce: &Bytes32,
    server_nonce: &Bytes32,
    node_key: &Bytes32,
    node_id: &NodeId,
    job_key: &Bytes32,
    incarnation: u64,
    region: &str,
) -> String {
    format!(
        "careen registered 1\n{agent_nonce}\n{server_nonce}\n{node_key}\n{node_id}\n{job_key}\n{incarnation}\n{region}\n"
    )
}

/// What the node signs when it connects.
#[must_use]
pub fn connect_text(
    node_id: &NodeId,
    agent_nonce: &Bytes32,
    server_nonce: &Bytes32,
    epoch: i64,
    identity_key: &Bytes32,
) -> String {
    format!("careen connect 1\n{node_id}\n{agent_nonce}\n{server_nonce}\n{epoch}\n{identity_key}\n")
}

/// What the server signs when a node is welcome, so that nobody on the way can set the agent's clock or its heartbeat.
///
/// Without an inventory the last line is missing, so that none differs from an empty digest.
#[must_use]
pub fn welcome_text(
    agent_nonce: &Bytes32,
    server_nonce: &Bytes32,
    node_id: &NodeId,
    epoch: i64,
    heartbeat_seconds: u32,
    now: Timestamp,
    inventory_digest: Option<&str>,
) -> String {
    // In microseconds, as it travels.
    let now = now.as_micros();
    let digest = inventory_digest.map(|digest| format!("{digest}\n")).unwrap_or_default();
    format!("careen welcome 1\n{agent_nonce}\n{server_nonce}\n{node_id}\n{epoch}\n{heartbeat_seconds}\n{now}\n{digest}")
}
