//! The messages between server and agent, versions 1 and 2, and the exact byte strings that either side signs.
//!
//! It decides how the conversation is written down: JSON frames on one WebSocket, first a handshake that proves both
//! sides, then messages with ids that are acknowledged after they are durable. It deliberately does not know how keys
//! are kept or signatures are made, what a job does, or when anything is sent.
//!
//! The conversation:
//!
//! ```text
//! agent                                             server
//!   Hello{nonce, Register|Connect}           ->
//!                                            <-  Challenge{identity key, nonce, epoch, signature}
//!   Register{node key, facts, proof}         ->                        (first time)
//!                                            <-  Registered{node id, job key, signature}
//!   Prove{signature, facts}                  ->                        (every other time)
//!                                            <-  Welcome{epoch, heartbeat, clock, signature}
//!   Message{id, ...}                         ->
//!                                            <-  Acknowledged{id} | InventoryWanted | Order{signed} ...
//! ```
//!
//! The activation code is never sent: it is `SECRET.FINGERPRINT`, where the fingerprint names the server's identity
//! key, and the secret makes a proof that binds the node's new key. So nothing is trusted on first use, whoever
//! listens on the port.
//!
//! Protocol 2 binds every signature of the handshake to the TLS channel that it travels on ([`Terms`]), and lets server
//! and nodes exchange their keys while they are in use ([`Trust`], [`ToServerBody::NodeKey`]). Protocol 1 is still spoken
//! as it was, byte for byte.

mod activation_code;
mod bytes;
mod handshake;
mod order;
mod output;
mod report;
mod session;
mod trust;

pub use activation_code::{ActivationCode, ActivationCodeError};
pub use bytes::{Bytes32, Bytes64, BytesError};
pub use handshake::{
    FromServerHandshake, Hello, HostFacts, Purpose, Refusal, RefusalCode, Terms, ToServerHandshake, challenge_text,
    connect_text, register_proof_text, registered_text, welcome_text,
};
pub use order::{Job, Order, OrderBody, PatchStep, SignedOrder, Step, StepAction, order_text};
pub use output::{
    OUTPUT_LIVE, OUTPUT_WINDOW_BYTES, OutputChunk, OutputReceiver, OutputSender, OutputStream, OutputWindow, whole_text,
};
pub use report::{InventoryReport, JobReport, OfferedVersion, PatchRunReport, StepReport, StepStatus};
pub use session::{FromServer, HEARTBEAT_ID_MIN, JobRefusal, ToServer, ToServerBody};
pub use trust::{KeySignature, SignedTrust, TRUSTED_KEYS_MAX, Trust, node_key_text, trust_text};

/// The newest version of this protocol that this code speaks.
pub const PROTOCOL_MAX: u16 = 2;
/// The oldest version of this protocol that this code speaks.
pub const PROTOCOL_MIN: u16 = 1;
/// The largest frame either side accepts, in bytes after decompression.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// The largest frame on the wire, in bytes; larger messages are compressed with zstd into a binary frame.
pub const WIRE_BYTES_MAX: usize = 1 << 20;
/// Text frames from this size on are sent compressed, as binary frames.
pub const COMPRESS_FROM_BYTES: usize = 4 << 10;
/// The label under which both ends of a TLS channel derive its name: 32 bytes, no context (RFC 9266, RFC 8446 section 7.5).
pub const CHANNEL_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// Where the server listens for agents.
pub const AGENT_PATH: &str = "/agent/v1";

/// A frame that is not a message of this protocol.
#[derive(Debug, thiserror::Error)]
#[error("not a message of the agent protocol: {0}")]
pub struct WireError(#[from] serde_json::Error);

/// Writes a message as a JSON text.
///
/// # Errors
/// When a value cannot be written as JSON, which no message of this crate causes.
pub fn write<T: serde::Serialize>(message: &T) -> Result<String, WireError> {
    Ok(serde_json::to_string(message)?)
}

/// Reads a message from a JSON text. Unknown fields are ignored, so that a newer peer may say more.
///
/// # Errors
/// When the text is not such a message.
pub fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, WireError> {
    Ok(serde_json::from_str(text)?)
}
