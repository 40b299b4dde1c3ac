//! Until both sides know whom they talk to. What is wrong with a proof is not said: a stranger learns nothing.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use access::Principal;
use agent_wire::{
    Bytes32, Bytes64, FromServer, FromServerHandshake, Hello, HostFacts, OUTPUT_LIVE, PROTOCOL_MAX, PROTOCOL_MIN,
    Purpose, Refusal, RefusalCode, Terms, challenge_text, connect_text, register_proof_text, registered_text,
    welcome_text,
};
use changes::{Changes, Versioned};
use identifiers::{ActivationId, NodeId, Scope, Timestamp};
use identity::SigningKey;
use nodes::{Activation, NodeFacts, NodePublicKey, NodeState, Ping, PlatformType};
use store::{ApplyError, ConnectionClaim, Write};
use tokio::sync::mpsc;

use crate::{Error, Server, commit::ATTEMPTS_MAX, settings::HEARTBEAT_SECONDS};

/// An agent that has said hello and been shown who the server is.
pub struct Greeting {
    hello: Hello,
    server_nonce: Bytes32,
    epoch: i64,
    terms: Terms,
    /// The identity key that the server has shown in this conversation.
    identity: Arc<SigningKey>,
}

/// An agent that has shown who it is.
pub struct AgentSession {
    pub(crate) node_id: NodeId,
    pub(crate) scope: Scope,
    pub(crate) epoch: i64,
    pub(crate) source_address: String,
    pub(crate) peer: SocketAddr,
    boot_id: String,
    pub(super) sends_live_output: bool,
    /// When it last said something, in microseconds.
    heard_at: AtomicI64,
    outgoing: mpsc::Receiver<FromServer>,
}

impl AgentSession {
    /// Which node speaks.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.node_id
    }

    /// The number of this connection among those of its node.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The next message for the agent; `None` when this connection is to end.
    pub async fn outgoing(&mut self) -> Option<FromServer> {
        self.outgoing.recv().await
    }

    /// It has said something.
    pub(super) fn heard(&self, now: Timestamp) {
        self.heard_at.store(now.as_micros(), Ordering::Relaxed);
    }
}

pub(super) fn refusal(code: RefusalCode, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}

pub(super) fn unavailable(error: &impl std::fmt::Display) -> Refusal {
    tracing::error!("an agent's handshake failed here: {error}");
    refusal(RefusalCode::Unavailable, "the server cannot serve now; try again later")
}

fn activation_refused() -> Refusal {
    let message = "the activation is unknown, expired or used up, or the code does not belong to it; create a new one";
    refusal(RefusalCode::Activation, message)
}

fn node_refused() -> Refusal {
    let message = "this node is not registered here (any more), or its key is another; register it again";
    refusal(RefusalCode::Node, message)
}

fn node_held() -> Refusal {
    let message = "this node is held: two hosts have connected with its key. Register one of them anew (careen-agent register), \
                   then release the node at the server (careen admin node release)";
    refusal(RefusalCode::Held, message)
}

impl Server {
    /// Answers a Hello: shows who the server is, to anyone. `channel` names the TLS channel that the Hello came over, where
    /// it ends in this process.
    ///
    /// # Errors
    /// When there is no protocol version in common, or no randomness.
    pub async fn agent_hello(
        &self,
        hello: Hello,
        channel: Option<Bytes32>,
    ) -> Result<(Greeting, FromServerHandshake), Refusal> {
        let protocol = PROTOCOL_MAX.min(hello.protocol_max);
        if protocol < PROTOCOL_MIN.max(hello.protocol_min) {
            let message = format!("this server speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX}; update the agent");
            return Err(refusal(RefusalCode::Version, &message));
        }
        if self.presence.is_cut_off() {
            return Err(refusal(RefusalCode::Unavailable, "the server has lost its database; try again later"));
        }
        let epoch = match &hello.purpose {
            Purpose::Register { .. } => 0,
            Purpose::Connect { node_id } => self.next_epoch(node_id).await.map_err(|e| unavailable(&e))?,
        };
        let shown = self.identity_for(&hello, protocol).await?;
        let server_nonce = Bytes32(identity::random_bytes::<32>().map_err(|e| unavailable(&e))?);
        // Protocol 1 knows of no channels.
        let terms = Terms { protocol, channel: channel.filter(|_| protocol >= 2) };
        let text = terms.bind(challenge_text(&hello, &server_nonce, epoch));
        let challenge = FromServerHandshake::Challenge {
            protocol,
            identity_key: Bytes32(shown.public_key()),
            nonce: server_nonce,
            epoch,
            channel: terms.channel,
            signature: Bytes64(shown.sign(&text)),
        };
        Ok((Greeting { hello, server_nonce, epoch, terms, identity: shown }, challenge))
    }

    /// One more than the node's newest connection; 1 for a node that is not known. Nothing is written before it has proved itself.
    async fn next_epoch(&self, node: &NodeId) -> Result<i64, store::ReadError> {
        let known = match self.store.node_scope_get(node).await? {
            Some(scope) => self.store.ping_get(&scope, node).await?.map_or(0, |ping| ping.epoch),
            None => 0,
        };
        Ok(known.saturating_add(1))
    }

    /// Makes a node of an agent that has proved that it holds an activation's code.
    ///
    /// # Errors
    /// One refusal for every reason that would tell a stranger something.
    pub async fn agent_register(
        self: &Arc<Self>,
        greeting: &Greeting,
        node_key: Bytes32,
        facts: HostFacts,
        proof: Bytes32,
        peer: SocketAddr,
    ) -> Result<FromServerHandshake, Refusal> {
        let Purpose::Register { activation_id } = &greeting.hello.purpose else {
            return Err(refusal(RefusalCode::Protocol, "this conversation was not begun to register"));
        };
        let identity_key = Bytes32(greeting.identity.public_key());
        let text =
            register_proof_text(activation_id, &greeting.hello.nonce, &greeting.server_nonce, &identity_key, &node_key);
        let text = greeting.terms.bind(text);
        let scope = self.store.activation_scope_get(activation_id).await.map_err(|e| unavailable(&e))?;
        let scope = scope.ok_or_else(activation_refused)?;
        let facts = node_facts(&facts, &greeting.hello.agent_version, peer);
        let mut node_id = None;
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.activation_get(&scope, activation_id).await.map_err(|e| unavailable(&e))?;
            let row = found.row.ok_or_else(activation_refused)?;
            let secret = self.keys.activations.open(row.code_secret_hash.as_bytes(), scope.account.as_str());
            let secret = secret.map_err(|e| unavailable(&e))?;
            if !identity::verify_hmac_sha256(&secret, text.as_bytes(), &proof.0) {
                return Err(activation_refused());
            }
            let found = Versioned { revision: found.revision, row };
            match self.register_once(&scope, activation_id, &found, facts.clone(), node_key, peer).await {
                Ok(id) => {
                    node_id = Some(id);
                    break;
                }
                Err(RegisterError::Refused(reason)) => return Err(reason),
                Err(RegisterError::Again) => {}
            }
        }
        let node_id =
            node_id.ok_or_else(|| refusal(RefusalCode::Unavailable, "too many hosts register at once; try again"))?;
        let job_key = Bytes32(self.keys.ring().job.current.public_key());
        let (incarnation, region) = (self.keys.incarnation, scope.region.to_string());
        let text = registered_text(
            &greeting.hello.nonce,
            &greeting.server_nonce,
            &node_key,
            &node_id,
            &job_key,
            incarnation,
            &region,
        );
        let signature = Bytes64(greeting.identity.sign(&greeting.terms.bind(text)));
        let trust = self.announcement_for(greeting.terms);
        Ok(FromServerHandshake::Registered { node_id, job_key, incarnation, region, trust, signature })
    }

    async fn register_once(
        self: &Arc<Self>,
        scope: &Scope,
        activation_id: &ActivationId,
        found: &Versioned<Activation>,
        facts: NodeFacts,
        node_key: Bytes32,
        peer: SocketAddr,
    ) -> Result<NodeId, RegisterError> {
        let context = self.context(scope.clone(), Principal::System, peer.ip().to_string());
        let key = NodePublicKey(node_key.0);
        let made = self.with_ids(|ids| nodes::register_node(Some(found), facts, key, context.now, ids));
        let (node_id, changes) =
            made.map_err(|reason| RegisterError::Refused(refusal(RefusalCode::Activation, &reason.to_string())))?;
        let mut changes: Changes<Write> = changes.map(Write::from);
        let after = serde_json::json!({"node_id": node_id, "activation_id": activation_id});
        let arn = scope.ssm_arn(&format!("managed-instance/{node_id}"));
        changes.audit.push(context.audit("careen:RegisterNode", arn, &serde_json::Value::Null, &after));
        match self.store.apply(scope, changes).await {
            Ok(_) => Ok(node_id),
            Err(ApplyError::Conflict { .. }) => Err(RegisterError::Again),
            Err(error) => Err(RegisterError::Refused(unavailable(&error))),
        }
    }

    /// Begins a session with an agent that has proved that it holds a node's key.
    ///
    /// # Errors
    /// One refusal for every reason that would tell a stranger something.
    pub async fn agent_prove(
        self: &Arc<Self>,
        greeting: &Greeting,
        signature: Bytes64,
        facts: HostFacts,
        peer: SocketAddr,
    ) -> Result<(AgentSession, FromServerHandshake), Refusal> {
        let Purpose::Connect { node_id } = &greeting.hello.purpose else {
            return Err(refusal(RefusalCode::Protocol, "this conversation was not begun to connect"));
        };
        let scope = self.store.node_scope_get(node_id).await.map_err(|e| unavailable(&e))?.ok_or_else(node_refused)?;
        let node = self.store.node_get(&scope, node_id).await.map_err(|e| unavailable(&e))?;
        let row = node.row.filter(|row| row.state == NodeState::Registered).ok_or_else(node_refused)?;
        let identity_key = Bytes32(greeting.identity.public_key());
        let text = connect_text(node_id, &greeting.hello.nonce, &greeting.server_nonce, greeting.epoch, &identity_key);
        let (node, from) = (Versioned::new(node.revision, row), peer.ip().to_string());
        let fits = self.key_that_signed(&scope, &node, &greeting.terms.bind(text), &signature, &from).await;
        let row = node.row;
        if !fits.map_err(|e| unavailable(&e.detail.unwrap_or(e.message)))? {
            self.record_false_proof(&scope, node_id, &from).await;
            return Err(node_refused());
        }
        if row.held.is_some() {
            return Err(node_held());
        }
        let inventory_digest = row.inventory_digest.clone();
        let outgoing = self.claim_connection(&scope, node_id, greeting.epoch, &facts, peer).await?;
        let session = AgentSession {
            node_id: node_id.clone(),
            scope,
            epoch: greeting.epoch,
            source_address: peer.ip().to_string(),
            peer,
            boot_id: facts.boot_id.clone(),
            sends_live_output: greeting.hello.capabilities.iter().any(|known| known == OUTPUT_LIVE),
            heard_at: AtomicI64::new(self.now().as_micros()),
            outgoing,
        };
        let facts = node_facts(&facts, &greeting.hello.agent_version, peer);
        if let Err(error) = self.note_facts(&session, facts).await {
            tracing::warn!(node = %node_id, "the host's facts were not kept: {error}");
        }
        let now = self.now();
        let text = welcome_text(
            &greeting.hello.nonce,
            &greeting.server_nonce,
            node_id,
            greeting.epoch,
            HEARTBEAT_SECONDS,
            now,
            inventory_digest.as_deref(),
        );
        let welcome = FromServerHandshake::Welcome {
            epoch: greeting.epoch,
            heartbeat_seconds: HEARTBEAT_SECONDS,
            now,
            inventory_digest,
            trust: self.announcement_for(greeting.terms),
            signature: Bytes64(greeting.identity.sign(&greeting.terms.bind(text))),
        };
        Ok((session, welcome))
    }

    /// Makes this the node's newest connection, on whichever replica the one before is, unless two hosts share its key.
    async fn claim_connection(
        self: &Arc<Self>,
        scope: &Scope,
        node_id: &NodeId,
        epoch: i64,
        facts: &HostFacts,
        peer: SocketAddr,
    ) -> Result<mpsc::Receiver<FromServer>, Refusal> {
        let quicker = || refusal(RefusalCode::Unavailable, "another connection of this node was quicker; try again");
        let (newest, claims) = self.store.claims_get(scope, node_id).await.map_err(|e| unavailable(&e))?;
        if newest.saturating_add(1) != epoch {
            return Err(quicker());
        }
        let instance = match facts.agent_instance.is_empty() {
            true => &facts.boot_id,
            false => &facts.agent_instance,
        };
        let claim = nodes::Claim::new(instance, &peer.ip().to_string(), self.now());
        let claims = nodes::remember_claim(&claims, claim);
        let clone = nodes::find_clone(&claims);
        let ping = self.ping(node_id, epoch, &facts.boot_id, true);
        match self.store.connection_claim(ConnectionClaim { scope: scope.clone(), ping, claims }).await {
            Ok(()) => {}
            Err(ApplyError::Superseded { .. }) => return Err(quicker()),
            Err(error) => return Err(unavailable(&error)),
        }
        if let Some(reason) = clone {
            self.hold_node(scope, node_id, &reason).await.map_err(|e| unavailable(&e))?;
            return Err(node_held());
        }
        self.sessions.begin(node_id, epoch).ok_or_else(quicker)
    }

    /// Takes in what a node says of its host. The node says it once: a conflict must not lose it.
    pub(super) async fn note_facts(&self, session: &AgentSession, facts: NodeFacts) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.node_get(&session.scope, &session.node_id).await?;
            let Some(row) = found.row else { return Ok(()) };
            let changes = nodes::record_facts(&Versioned::new(found.revision, row), facts.clone(), self.now());
            if changes.is_empty() {
                return Ok(());
            }
            let mut changes: Changes<Write> = changes.map(Write::from);
            changes.writes.push(self.hold_of(session));
            match self.store.apply(&session.scope, changes).await {
                Ok(_) => return Ok(()),
                Err(ApplyError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::contended())
    }

    /// What makes changes count only if they come over the node's newest connection.
    pub(super) fn hold_of(&self, session: &AgentSession) -> Write {
        let (node_id, epoch) = (session.node_id.clone(), session.epoch);
        nodes::Write::ConnectionHold { node_id, epoch, replica: self.settings.replica.clone() }.into()
    }

    /// The agent is connected: look whether something waits for it.
    pub async fn agent_arrived(self: &Arc<Self>, session: &AgentSession) {
        tracing::info!(node = %session.node_id, epoch = session.epoch, from = session.source_address, "agent connected");
        self.redeliver_to(session).await;
        self.wake();
    }

    /// The agent's connection is over.
    pub async fn agent_left(&self, session: &AgentSession) {
        tracing::info!(node = %session.node_id, epoch = session.epoch, "agent disconnected");
        self.sessions.gone(&session.node_id, session.epoch);
        self.live_outputs.connection_over(&session.node_id, session.epoch);
        // That it is over is no sign of life: whether the node counts as lost follows from when it last said something. But no
        // replica gives it work any more.
        let mut over = self.ping(&session.node_id, session.epoch, &session.boot_id, false);
        over.last_ping_at = Timestamp::from_micros(session.heard_at.load(Ordering::Relaxed));
        self.pings.note(&session.scope, over, None);
    }

    pub(super) fn ping(&self, node_id: &NodeId, epoch: i64, boot_id: &str, connected: bool) -> Ping {
        Ping {
            node_id: node_id.clone(),
            last_ping_at: self.now(),
            connected,
            epoch,
            replica: self.settings.replica.clone(),
            boot_id: boot_id.chars().take(64).collect(),
            last_boot_at: None,
        }
    }

    /// How long an agent may be silent before its connection is given up.
    #[must_use]
    pub fn agent_silence_max(&self) -> Duration {
        Duration::from_millis(u64::from(HEARTBEAT_SECONDS) * 2500)
    }
}

enum RegisterError {
    Again,
    Refused(Refusal),
}

/// What an agent says of its host, as the domain keeps it. An address that it does not know is the one it calls from.
pub(super) fn node_facts(facts: &HostFacts, agent_version: &str, peer: SocketAddr) -> NodeFacts {
    let ip_address = match facts.ip_address.is_empty() {
        true => peer.ip().to_string(),
        false => facts.ip_address.clone(),
    };
    NodeFacts {
        platform_type: PlatformType::Linux,
        platform_name: facts.distribution.name.clone(),
        platform_version: facts.distribution.version_id.clone(),
        computer_name: facts.computer_name.clone(),
        ip_address,
        agent_version: agent_version.to_owned(),
        architecture: facts.architecture.clone(),
        distribution_id: facts.distribution.id.clone(),
        distribution_version_id: facts.distribution.version_id.clone(),
        distribution_codename: facts.distribution.codename.clone(),
        policy: facts.policy.clone(),
    }
}
