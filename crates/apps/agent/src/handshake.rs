//! The handshake: first it is certain who the server is, then the server learns what it may.

use crate::connection::{Connection, words};
use crate::identity::Identity;
use crate::{AgentError, keys};
use agent_wire::{
    Bytes32, FromServerHandshake, Hello, HostFacts, OUTPUT_LIVE, PROTOCOL_MAX, PROTOCOL_MIN, Purpose, ToServerHandshake,
};
use identifiers::Timestamp;

/// What the challenge of the right server gives.
pub(crate) struct Challenge {
    pub(crate) agent_nonce: Bytes32,
    pub(crate) server_nonce: Bytes32,
    pub(crate) identity_key: Bytes32,
    pub(crate) epoch: i64,
}

/// How the server welcomes a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) heartbeat_seconds: u32,
    pub(crate) now: Timestamp,
    pub(crate) inventory_digest: Option<String>,
}

/// Opens the conversation and makes sure that the other side has a key that `trusted` accepts. Whoever has not learns a
/// nonce, the agent's version and a public id, and no more.
pub(crate) async fn challenge(
    connection: &mut Connection,
    purpose: Purpose,
    trusted: impl Fn(&Bytes32) -> bool,
) -> Result<Challenge, AgentError> {
    let hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: ["patch.apt", "run_shell_script", OUTPUT_LIVE].map(str::to_owned).to_vec(),
        nonce: keys::nonce()?,
        purpose,
    };
    connection.send(&ToServerHandshake::Hello(hello.clone())).await?;
    let server = connection.server().to_owned();
    let impostor = |reason| AgentError::Impostor { reason, server };
    match connection.answer().await? {
        FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, signature } => {
            if !trusted(&identity_key) {
                return Err(impostor("its identity key is another one"));
            }
            if !keys::holds(&identity_key, &agent_wire::challenge_text(&hello, &nonce, epoch), &signature) {
                return Err(impostor("it does not have the identity key it shows"));
            }
            if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&protocol) {
                return Err(AgentError::Protocol(format!(
                    "the server chose version {protocol}, which was not offered"
                )));
            }
            Ok(Challenge { agent_nonce: hello.nonce, server_nonce: nonce, identity_key, epoch })
        }
        other => Err(unexpected(other)),
    }
}

/// Connects as a registered node.
pub(crate) async fn connect(
    connection: &mut Connection,
    identity: &Identity,
    facts: HostFacts,
) -> Result<Welcome, AgentError> {
    let purpose = Purpose::Connect { node_id: identity.node_id.clone() };
    let challenge = challenge(connection, purpose, |key| *key == identity.identity_key).await?;
    let text = agent_wire::connect_text(
        &identity.node_id,
        &challenge.agent_nonce,
        &challenge.server_nonce,
        challenge.epoch,
        &challenge.identity_key,
    );
    let signature = identity.node_key.sign(&text)?;
    connection.send(&ToServerHandshake::Prove { signature, facts }).await?;
    match connection.answer().await? {
        FromServerHandshake::Welcome { epoch, heartbeat_seconds, now, inventory_digest, signature }
            if epoch == challenge.epoch =>
        {
            let text = agent_wire::welcome_text(
                &challenge.agent_nonce,
                &challenge.server_nonce,
                &identity.node_id,
                epoch,
                heartbeat_seconds,
                now,
                inventory_digest.as_deref(),
            );
            if !keys::holds(&identity.identity_key, &text, &signature) {
                let reason = "its welcome is not signed by the server";
                return Err(AgentError::Impostor { reason, server: connection.server().to_owned() });
            }
            Ok(Welcome { heartbeat_seconds, now, inventory_digest })
        }
        other => Err(unexpected(other)),
    }
}

pub(crate) fn unexpected(answer: FromServerHandshake) -> AgentError {
    let kind = match answer {
        FromServerHandshake::Refused(refusal) => {
            return AgentError::Refused { code: refusal.code, message: words(&refusal.message) };
        }
        FromServerHandshake::Challenge { .. } => "challenge",
        FromServerHandshake::Registered { .. } => "registered",
        FromServerHandshake::Welcome { .. } => "welcome",
    };
    AgentError::Protocol(format!("'{kind}' was not expected here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_wire::{Refusal, RefusalCode};

    #[test]
    fn what_a_server_says_in_refusing_is_cut_and_cannot_command_a_terminal() {
        let message = format!("no\u{1b}[2J\r\n\u{9b}{}", "ä".repeat(1000));
        let error = unexpected(FromServerHandshake::Refused(Refusal { code: RefusalCode::Node, message }));
        let AgentError::Refused { message, .. } = error else { panic!("{error}") };
        assert!(message.starts_with("no[2Jää"), "{message}");
        assert_eq!(message.chars().count(), 300);
    }
}
