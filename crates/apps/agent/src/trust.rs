//! Whom this node believes: the server's keys as they were announced last, and the node's own key, which is exchanged from
//! time to time.

use crate::AgentError;
use crate::identity::Identity;
use crate::keys::{self, NodeKey};
use agent_wire::{Bytes32, SignedTrust, ToServerBody, Trust, node_key_text, trust_text};
use identifiers::Timestamp;

/// An announcement is some hundred bytes.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// More signatures than the server has keys are not looked at.
const SIGNATURES_MAX: usize = 8;
/// How often a node exchanges its own key unless it is told otherwise, in days.
pub(crate) const NODE_KEY_DAYS: u32 = 90;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What an announcement is worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// It replaces what was known.
    News(Trust),
    /// It says what is known.
    Known,
}

/// Reads an announcement and decides whether it is believed.
pub(crate) fn judge(signed: &SignedTrust, identity: &Identity) -> Result<Announced, String> {
    if signed.payload.len() > PAYLOAD_BYTES_MAX || signed.signatures.len() > SIGNATURES_MAX {
        return Err("an announcement of keys is too large".to_owned());
    }
    let text = trust_text(&signed.payload);
    let known = identity.identity_keys();
    let believed =
        |one: &agent_wire::KeySignature| known.contains(&one.key) && keys::holds(&one.key, &text, &one.signature);
    if !signed.signatures.iter().any(believed) {
        return Err("an announcement of keys is not signed by the server".to_owned());
    }
    let trust: Trust = agent_wire::read(&signed.payload).map_err(|e| format!("an announcement cannot be read: {e}"))?;
    if !trust.is_bounded() {
        return Err("an announcement names no keys, or too many".to_owned());
    }
    let order = identity.trust.as_ref().map(Trust::order);
    match order.map(|known| trust.order().cmp(&known)) {
        Some(std::cmp::Ordering::Less) => Err("an announcement of keys is older than the one that is known".to_owned()),
        Some(std::cmp::Ordering::Equal) => Ok(Announced::Known),
        Some(std::cmp::Ordering::Greater) | None => Ok(Announced::News(trust)),
    }
}

impl Identity {
    /// The keys that the server may show itself with.
    pub(crate) fn identity_keys(&self) -> Vec<Bytes32> {
        self.trust.as_ref().map_or_else(|| vec![self.identity_key], |trust| trust.identity_keys.clone())
    }

    /// The keys that orders may be signed with.
    pub(crate) fn job_keys(&self) -> Vec<Bytes32> {
        self.trust.as_ref().map_or_else(|| vec![self.job_key], |trust| trust.job_keys.clone())
    }

    /// Believes an announcement from now on. Versions that know no announcements find the keys in use where they look.
    pub(crate) fn believe(&mut self, trust: Trust) {
        if let (Some(identity), Some(job)) = (trust.identity_keys.first(), trust.job_keys.first()) {
            (self.identity_key, self.job_key) = (*identity, *job);
        }
        self.trust = Some(trust);
    }

    /// What is to be told of the announcement that is written down, unless it was told.
    pub(crate) fn untold_trust(&self) -> Option<ToServerBody> {
        let (incarnation, serial) = self.trust.as_ref()?.order();
        (self.trust_told != Some((incarnation, serial))).then_some(ToServerBody::TrustKept { incarnation, serial })
    }

    /// The key to prove with: the next one, if there is one and it was not refused a moment ago.
    pub(crate) fn proving_key(&self, next_refused: bool) -> &NodeKey {
        self.next_node_key.as_ref().filter(|_| !next_refused).unwrap_or(&self.node_key)
    }

    /// The server has taken a proof with the next key: it is the node's own now. Whether anything has changed.
    pub(crate) fn next_key_was_taken(&mut self, now: Timestamp) -> bool {
        let Some(next) = self.next_node_key.take() else { return false };
        self.node_key = next;
        self.node_key_at = Some(now);
        true
    }

    /// Makes a next key if the present one is older than `days`. Whether anything has changed.
    pub(crate) fn renew_key(&mut self, days: u32, now: Timestamp) -> Result<bool, AgentError> {
        let made_at = self.node_key_at.unwrap_or(self.registered_at);
        let due = now >= made_at.plus_seconds(i64::from(days) * DAY_SECONDS);
        if !due || self.next_node_key.is_some() {
            return Ok(false);
        }
        self.next_node_key = Some(NodeKey::make()?);
        Ok(true)
    }

    /// What names the next key to the server; said again until the server has taken it.
    pub(crate) fn next_key_named(&self) -> Result<Option<ToServerBody>, AgentError> {
        let Some(next) = &self.next_node_key else { return Ok(None) };
        let public_key = next.public()?;
        let signature = self.node_key.sign(&node_key_text(&self.node_id, &public_key))?;
        Ok(Some(ToServerBody::NodeKey { public_key, signature }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_wire::KeySignature;
    use identifiers::NodeId;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn identity(server: &NodeKey, job: &NodeKey) -> Identity {
        Identity {
            server: "https://careen.example".to_owned(),
            other_servers: Vec::new(),
            reach: crate::Reach::default(),
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            region: "us-east-1".to_owned(),
            identity_key: server.public().unwrap(),
            job_key: job.public().unwrap(),
            incarnation: 1,
            registered_at: at(0),
            trust: None,
            trust_told: None,
            node_key: NodeKey::make().unwrap(),
            node_key_at: None,
            next_node_key: None,
        }
    }

    fn trust(serial: u64, identity_keys: &[&NodeKey], job: &NodeKey) -> Trust {
        let identity_keys = identity_keys.iter().map(|key| key.public().unwrap()).collect();
        Trust { incarnation: 1, serial, issued_at: at(1), identity_keys, job_keys: vec![job.public().unwrap()] }
    }

    fn signed(trust: &Trust, signers: &[&NodeKey]) -> SignedTrust {
        let payload = agent_wire::write(trust).unwrap();
        let text = trust_text(&payload);
        let signature =
            |key: &&NodeKey| KeySignature { key: key.public().unwrap(), signature: key.sign(&text).unwrap() };
        SignedTrust { signatures: signers.iter().map(signature).collect(), payload }
    }

    #[test]
    fn an_announcement_counts_if_a_known_key_signed_it_and_it_is_no_older() {
        let [old, new, job, stranger] = std::array::from_fn(|_| NodeKey::make().unwrap());
        let mut identity = identity(&old, &job);
        let next = trust(1, &[&old, &new], &job);
        assert_eq!(judge(&signed(&next, &[&new, &old]), &identity), Ok(Announced::News(next.clone())));
        assert!(judge(&signed(&next, &[&new, &stranger]), &identity).unwrap_err().contains("not signed"));
        let mut tampered = signed(&next, &[&old]);
        tampered.payload.push(' ');
        assert!(judge(&tampered, &identity).unwrap_err().contains("not signed"));
        assert!(judge(&signed(&trust(1, &[], &job), &[&old]), &identity).unwrap_err().contains("no keys"));

        identity.believe(next.clone());
        assert_eq!(identity.untold_trust(), Some(ToServerBody::TrustKept { incarnation: 1, serial: 1 }));
        assert_eq!(judge(&signed(&next, &[&new]), &identity), Ok(Announced::Known));
        // What was in use is retired: whoever has it still cannot bring it back.
        let after = trust(2, &[&new], &job);
        assert_eq!(judge(&signed(&after, &[&new]), &identity), Ok(Announced::News(after.clone())));
        identity.believe(after);
        assert_eq!(identity.identity_key, new.public().unwrap());
        assert!(judge(&signed(&trust(3, &[&old], &job), &[&old]), &identity).unwrap_err().contains("not signed"));
        assert!(judge(&signed(&next, &[&old, &new]), &identity).unwrap_err().contains("older"));
    }

    #[test]
    fn a_key_of_the_nodes_own_is_exchanged_when_it_is_old_and_both_are_kept_until_the_server_has_taken_it() {
        let [server, job] = std::array::from_fn(|_| NodeKey::make().unwrap());
        let mut identity = identity(&server, &job);
        let first = identity.node_key.clone();
        assert!(!identity.renew_key(90, at(90 * DAY_SECONDS - 1)).unwrap());
        assert_eq!(identity.next_key_named().unwrap(), None);
        assert!(identity.renew_key(90, at(90 * DAY_SECONDS)).unwrap());
        assert!(!identity.renew_key(90, at(91 * DAY_SECONDS)).unwrap(), "one at a time");
        let Some(ToServerBody::NodeKey { public_key, signature }) = identity.next_key_named().unwrap() else {
            panic!()
        };
        let text = node_key_text(&identity.node_id, &public_key);
        assert!(keys::holds(&first.public().unwrap(), &text, &signature));
        assert_eq!(identity.proving_key(false).public().unwrap(), public_key);
        assert_eq!(identity.proving_key(true), &first);
        assert!(identity.next_key_was_taken(at(91 * DAY_SECONDS)));
        assert_eq!(identity.proving_key(true).public().unwrap(), public_key);
        assert!(!identity.renew_key(90, at(180 * DAY_SECONDS)).unwrap(), "its age counts from then");
    }

    #[test]
    fn an_identity_of_the_version_before_is_read() {
        let [server, job] = std::array::from_fn(|_| NodeKey::make().unwrap());
        let mut old = serde_json::to_value(identity(&server, &job)).unwrap();
        for new in ["other_servers", "reach", "trust", "trust_told", "node_key_at", "next_node_key"] {
            old.as_object_mut().unwrap().remove(new).unwrap();
        }
        let read: Identity = serde_json::from_value(old).unwrap();
        assert_eq!((read.identity_keys(), read.job_keys()), (vec![read.identity_key], vec![read.job_key]));
    }

    proptest! {
        #[test]
        fn no_announcement_makes_it_panic(payload in "\\PC{0,200}") {
            let [server, job] = std::array::from_fn(|_| NodeKey::make().unwrap());
            let text = trust_text(&payload);
            let signature = KeySignature { key: server.public().unwrap(), signature: server.sign(&text).unwrap() };
            let _ = judge(&SignedTrust { payload, signatures: vec![signature] }, &identity(&server, &job));
        }
    }
}
