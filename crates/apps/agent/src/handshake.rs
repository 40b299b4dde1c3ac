//! The handshake: first it is certain who the server is, then the server learns what it may.

use crate::connection::{Connection, words};
use crate::identity::Identity;
use crate::keys::NodeKey;
use crate::reach::Reach;
use crate::{AgentError, keys};
use agent_wire::{
    Bytes32, FromServerHandshake, Hello, HostFacts, OUTPUT_LIVE, PROTOCOL_MAX, PROTOCOL_MIN, Purpose, SignedTrust,
    Terms, ToServerHandshake,
};
use identifiers::Timestamp;

/// What the challenge of the right server gives.
pub(crate) struct Challenge {
    pub(crate) agent_nonce: Bytes32,
    pub(crate) server_nonce: Bytes32,
    pub(crate) identity_key: Bytes32,
    pub(crate) epoch: i64,
    pub(crate) terms: Terms,
}

/// How the server is reached, and what may be the time while it has not said it.
pub(crate) struct Ground<'a> {
    pub(crate) reach: &'a Reach,
    pub(crate) times: &'a [Timestamp],
}

/// How the server welcomes a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) heartbeat_seconds: u32,
    pub(crate) now: Timestamp,
    pub(crate) inventory_digest: Option<String>,
    pub(crate) trust: Option<SignedTrust>,
}

/// Opens the conversation and makes sure that the other side has a key that `trusted` accepts, and that the connection
/// ends there. Whoever has not learns a nonce, the agent's version and public ids and keys, and no more.
pub(crate) async fn challenge(
    connection: &mut Connection,
    ground: &Ground<'_>,
    purpose: Purpose,
    trusted_keys: Vec<Bytes32>,
    trusted: impl Fn(&Bytes32) -> bool,
) -> Result<Challenge, AgentError> {
    let hello = Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: ["patch.apt", "run_shell_script", OUTPUT_LIVE].map(str::to_owned).to_vec(),
        nonce: keys::nonce()?,
        trusted_keys,
        purpose,
    };
    connection.send(&ToServerHandshake::Hello(hello.clone())).await?;
    let server = connection.server().to_owned();
    let impostor = |reason: &str| AgentError::Impostor { reason: reason.to_owned(), server: server.clone() };
    match connection.answer().await? {
        FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, channel, signature } => {
            let terms = Terms { protocol, channel };
            if !trusted(&identity_key) {
                return Err(impostor("its identity key is another one"));
            }
            let text = terms.bind(agent_wire::challenge_text(&hello, &nonce, epoch));
            if !keys::holds(&identity_key, &text, &signature) {
                return Err(impostor("it does not have the identity key it shows"));
            }
            if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&protocol) {
                return Err(AgentError::Protocol(format!(
                    "the server chose version {protocol}, which was not offered"
                )));
            }
            // What protocol 1 says of the channel is not signed.
            let signed = Terms { channel: channel.filter(|_| protocol >= 2), ..terms };
            connection.ends_at_the_server(&signed, ground.reach, ground.times).map_err(|reason| impostor(&reason))?;
            Ok(Challenge { agent_nonce: hello.nonce, server_nonce: nonce, identity_key, epoch, terms: signed })
        }
        other => Err(unexpected(other)),
    }
}

/// Connects as a registered node.
pub(crate) async fn connect(
    connection: &mut Connection,
    ground: &Ground<'_>,
    identity: &Identity,
    key: &NodeKey,
    facts: HostFacts,
) -> Result<Welcome, AgentError> {
    let purpose = Purpose::Connect { node_id: identity.node_id.clone() };
    let trusted = identity.identity_keys();
    let challenge = challenge(connection, ground, purpose, trusted.clone(), |key| trusted.contains(key)).await?;
    let text = agent_wire::connect_text(
        &identity.node_id,
        &challenge.agent_nonce,
        &challenge.server_nonce,
        challenge.epoch,
        &challenge.identity_key,
    );
    let signature = key.sign(&challenge.terms.bind(text))?;
    connection.send(&ToServerHandshake::Prove { signature, facts }).await?;
    match connection.answer().await? {
        FromServerHandshake::Welcome { epoch, heartbeat_seconds, now, inventory_digest, trust, signature }
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
            if !keys::holds(&challenge.identity_key, &challenge.terms.bind(text), &signature) {
                let reason = "its welcome is not signed by the server".to_owned();
                return Err(AgentError::Impostor { reason, server: connection.server().to_owned() });
            }
            Ok(Welcome { heartbeat_seconds, now, inventory_digest, trust })
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
