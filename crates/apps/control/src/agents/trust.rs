//! Keys, as nodes speak of them: that they have written the server's down, which one of their own follows, and whom they
//! have met in the server's place.

use std::sync::Arc;

use access::Principal;
use agent_wire::{
    Bytes32, Bytes64, Hello, Purpose, Refusal, RefusalCode, SignedTrust, Terms, ToServerBody, node_key_text,
};
use changes::{Changes, Versioned};
use identifiers::{ActivationId, NodeId, Scope, Timestamp};
use identity::SigningKey;
use nodes::{ManagedNode, NodePublicKey};
use store::{ApplyError, TrustWrite, Write};

use super::{
    AgentSession,
    handshake::{refusal, unavailable},
    inbox::Kept,
};
use crate::{Error, Server, commit::ATTEMPTS_MAX};

/// A proof with a wrong key is recorded for a node no more often than this, in seconds: a stranger must not fill the audit.
const RECORD_AGAIN_SECONDS: i64 = 60;

impl Server {
    /// The identity key to show: one that the other side knows.
    ///
    /// A node says which it believes, or (in protocol 1, and by an activation's code) believes the one that was in use when
    /// it was registered, or the code made.
    pub(super) async fn identity_for(&self, hello: &Hello, protocol: u16) -> Result<Arc<SigningKey>, Refusal> {
        let ring = self.keys.ring();
        if protocol >= 2 && !hello.trusted_keys.is_empty() {
            let believed = ring.identity.all().find(|key| hello.trusted_keys.contains(&Bytes32(key.public_key())));
            let message = "this node believes none of this server's identity keys (any more): it was away while they were \
                exchanged, or belongs to another server; register it again (careen-agent register --force)";
            return believed.cloned().ok_or_else(|| refusal(RefusalCode::Identity, message));
        }
        if ring.identity.previous.is_none() {
            return Ok(Arc::clone(&ring.identity.current));
        }
        let learned = match &hello.purpose {
            Purpose::Register { activation_id } => self.activation_made_at(activation_id).await,
            Purpose::Connect { node_id } => self.node_registered_at(node_id).await,
        };
        let learned = learned.map_err(|e| unavailable(&e))?.unwrap_or_else(|| self.now());
        Ok(Arc::clone(ring.identity.known_at(learned)))
    }

    async fn activation_made_at(&self, id: &ActivationId) -> Result<Option<Timestamp>, store::ReadError> {
        let Some(scope) = self.store.activation_scope_get(id).await? else { return Ok(None) };
        Ok(self.store.activation_get(&scope, id).await?.row.map(|row| row.created_at))
    }

    async fn node_registered_at(&self, id: &NodeId) -> Result<Option<Timestamp>, store::ReadError> {
        let Some(scope) = self.store.node_scope_get(id).await? else { return Ok(None) };
        Ok(self.store.node_get(&scope, id).await?.row.map(|row| row.registered_at))
    }

    /// What a node is told of the server's keys when it arrives; nothing in protocol 1.
    pub(super) fn announcement_for(&self, terms: Terms) -> Option<SignedTrust> {
        let announced = (terms.protocol >= 2).then(|| self.keys.ring().announcement(self.keys.incarnation, self.now()));
        // Plain values are always written.
        announced.and_then(Result::ok)
    }

    /// The key to sign a node's orders with. A node that has not written down the present keys may know only the one before.
    pub(super) async fn job_key_for(&self, scope: &Scope, node_id: &NodeId) -> Result<Arc<SigningKey>, Error> {
        let ring = self.keys.ring();
        let current = Arc::clone(&ring.job.current);
        if ring.job.previous.is_none() {
            return Ok(current);
        }
        let kept = self.store.node_trust_get(scope, node_id).await?;
        if kept.is_some_and(|(_, serial)| u64::try_from(serial) == Ok(ring.serial)) {
            return Ok(current);
        }
        let registered = self.store.node_get(scope, node_id).await?.row.map(|row| row.registered_at);
        Ok(registered.map_or(current, |then| Arc::clone(ring.job.known_at(then))))
    }

    /// What a node says of keys.
    pub(super) async fn keep_word_of_keys(
        self: &Arc<Self>,
        session: &AgentSession,
        body: ToServerBody,
    ) -> Result<Kept, Error> {
        match body {
            ToServerBody::TrustKept { incarnation, serial } => self.keep_trust(session, incarnation, serial).await,
            ToServerBody::NodeKey { public_key, signature } => self.keep_next_key(session, public_key, signature).await,
            ToServerBody::ImpostorMet { at, address, reason, times } => {
                self.keep_impostor(session, at, &address, &reason, times).await
            }
            _ => Ok(Kept::refused("it says nothing that this server knows")),
        }
    }

    /// A node has the announced keys on its disk.
    async fn keep_trust(
        self: &Arc<Self>,
        session: &AgentSession,
        incarnation: u64,
        serial: u64,
    ) -> Result<Kept, Error> {
        if (incarnation, serial) > (self.keys.incarnation, self.keys.ring().serial) {
            // Another replica has announced it, and this one has not looked yet.
            self.look_at_keys().await?;
        }
        if (incarnation, serial) > (self.keys.incarnation, self.keys.ring().serial) {
            return Ok(Kept::refused("keys that were never announced"));
        }
        let [incarnation, serial] = [incarnation, serial].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let node_id = session.node_id.clone();
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(TrustWrite::NodeTrustPut { node_id, incarnation, serial, at: self.now() }));
        self.store.apply(&session.scope, changes).await?;
        Ok(Kept::done())
    }

    /// A node names the key that it will show next; it proves with the one it has that it is the node's word.
    async fn keep_next_key(
        self: &Arc<Self>,
        session: &AgentSession,
        public_key: Bytes32,
        signature: Bytes64,
    ) -> Result<Kept, Error> {
        let found = self.store.node_get(&session.scope, &session.node_id).await?;
        let Some(node) = found.row else { return Ok(Kept::refused("the key of a node that is gone")) };
        if node.public_key.0 == public_key.0 {
            // Said again after it was shown.
            return Ok(Kept::done());
        }
        let text = node_key_text(&session.node_id, &public_key);
        if !identity::verify_ed25519(&node.public_key.0, &text, &signature.0) {
            return Ok(Kept::refused("a next key that is not signed with the present one"));
        }
        let mut changes: Changes<Write> = Changes::new();
        changes.writes.push(Write::from(TrustWrite::NodeNextKeyPut {
            node_id: session.node_id.clone(),
            public_key: public_key.0,
            at: self.now(),
        }));
        self.store.apply(&session.scope, changes).await?;
        Ok(Kept::done())
    }

    /// A node has met somebody in this server's place.
    async fn keep_impostor(
        self: &Arc<Self>,
        session: &AgentSession,
        at: Timestamp,
        address: &str,
        reason: &str,
        times: u32,
    ) -> Result<Kept, Error> {
        if !self.throttle.node_record(&session.node_id, self.now()) {
            return Ok(Kept::done());
        }
        let principal = Principal::Node { scope: session.scope.clone(), node_id: session.node_id.clone() };
        let context = self.context(session.scope.clone(), principal, session.source_address.clone());
        let resource = session.scope.ssm_arn(&format!("managed-instance/{}", session.node_id));
        let mut record = context.audit_refused("careen:ConnectToServer", resource, reason);
        record.after = serde_json::json!({"address": address, "last_at": at.to_rfc3339_millis(), "times": times});
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(record);
        self.store.apply(&session.scope, changes).await?;
        tracing::warn!(node = %session.node_id, address, times, "a node has met an impostor: {reason}");
        Ok(Kept::done())
    }

    /// The key that a signature fits: the node's own, or the next one it named, which is the node's own from then on.
    pub(super) async fn key_that_signed(
        self: &Arc<Self>,
        scope: &Scope,
        node: &Versioned<ManagedNode>,
        text: &str,
        signature: &Bytes64,
        from: &str,
    ) -> Result<bool, Error> {
        if identity::verify_ed25519(&node.row.public_key.0, text, &signature.0) {
            return Ok(true);
        }
        let next = self.store.node_next_key_get(scope, &node.row.node_id).await?;
        let Some(next) = next.filter(|key| identity::verify_ed25519(key, text, &signature.0)) else { return Ok(false) };
        self.exchange_node_key(scope, &node.row.node_id, NodePublicKey(next), from).await?;
        Ok(true)
    }

    async fn exchange_node_key(
        self: &Arc<Self>,
        scope: &Scope,
        node_id: &NodeId,
        key: NodePublicKey,
        from: &str,
    ) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.node_get(scope, node_id).await?;
            let Some(row) = found.row else { return Ok(()) };
            let principal = Principal::Node { scope: scope.clone(), node_id: node_id.clone() };
            let context = self.context(scope.clone(), principal, from.to_owned());
            let before = serde_json::json!({"fingerprint": identity::sha256_hex(&row.public_key.0)});
            let after = serde_json::json!({"fingerprint": identity::sha256_hex(&key.0)});
            let exchanged = nodes::exchange_key(&Versioned::new(found.revision, row), key, context.now);
            let mut changes: Changes<Write> = exchanged.map(Write::from);
            changes.writes.push(Write::from(TrustWrite::NodeNextKeyDelete { node_id: node_id.clone() }));
            let arn = scope.ssm_arn(&format!("managed-instance/{node_id}"));
            changes.audit.push(context.audit("careen:ExchangeNodeKey", arn, &before, &after));
            match self.store.apply(scope, changes).await {
                Ok(_) => return Ok(()),
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }

    /// Records that somebody spoke for a node without its key; a node whose key is old, or a stranger.
    pub(super) async fn record_false_proof(self: &Arc<Self>, scope: &Scope, node_id: &NodeId, from: &str) {
        let now = self.now();
        {
            let mut recorded = self.false_proofs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            recorded.retain(|_, at| now < at.plus_seconds(RECORD_AGAIN_SECONDS));
            if recorded.contains_key(node_id) {
                return;
            }
            recorded.insert(node_id.clone(), now);
        }
        let principal = Principal::Node { scope: scope.clone(), node_id: node_id.clone() };
        let context = self.context(scope.clone(), principal, from.to_owned());
        let arn = scope.ssm_arn(&format!("managed-instance/{node_id}"));
        let reason = "the proof does not fit the node's key";
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(context.audit_refused("careen:ConnectNode", arn, reason));
        if let Err(error) = self.store.apply(scope, changes).await {
            tracing::warn!(node = %node_id, "a false proof was not recorded: {error}");
        }
    }
}
