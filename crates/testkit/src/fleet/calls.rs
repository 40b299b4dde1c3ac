//! Agents call, speak and lose their connections.

use std::net::SocketAddr;

use agent_wire::{
    ActivationCode, Bytes32, Bytes64, FromServer, FromServerHandshake, Hello, OUTPUT_LIVE, PROTOCOL_MAX, PROTOCOL_MIN,
    Purpose, Terms, ToServer, ToServerBody, challenge_text, connect_text, register_proof_text, registered_text,
    welcome_text,
};
use anyhow::{Context, bail, ensure};
use aws_wire::ssm::{CreateActivationRequest, CreateActivationResult};
use control::agents::Greeting;
use identifiers::{ActivationId, NodeId, Timestamp};
use identity::SigningKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::agent::{NodeIdentity, Obeyed, OnLine};
use super::link::Link;
use super::servers::Replica;
use super::{SimulatedAgent, SimulatedFleet};

/// How far a call gets before it is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CutOff {
    Never,
    /// After the challenge.
    BeforeProof,
    /// The server has taken the proof; its welcome does not arrive.
    BeforeWelcome,
}

/// What a value is after it has travelled.
fn travelled<T: Serialize + DeserializeOwned>(value: &T) -> anyhow::Result<T> {
    Ok(agent_wire::read(&agent_wire::write(value)?)?)
}

/// The servers' time and the inventory that they have, from a welcome that the server signed.
fn welcomed(
    welcome: &FromServerHandshake,
    node_id: &NodeId,
    agent_nonce: &Bytes32,
    server_nonce: &Bytes32,
    server_key: &Bytes32,
    terms: Terms,
) -> anyhow::Result<(Timestamp, Option<String>)> {
    let FromServerHandshake::Welcome { epoch, heartbeat_seconds, now, inventory_digest, signature, .. } = welcome
    else {
        bail!("not a welcome");
    };
    let digest = inventory_digest.as_deref();
    let text = welcome_text(agent_nonce, server_nonce, node_id, *epoch, *heartbeat_seconds, *now, digest);
    let signed = identity::verify_ed25519(&server_key.0, &terms.bind(text), &signature.0);
    ensure!(signed, "the welcome is not signed by the server");
    Ok((*now, inventory_digest.clone()))
}

/// Where an agent calls from.
fn address(agent: usize) -> SocketAddr {
    let host = u8::try_from(agent % 250).unwrap_or(0) + 1;
    SocketAddr::from(([192, 0, 2, host], 40_000))
}

/// What the right server says to a Hello.
struct Challenged {
    greeting: Greeting,
    hello: Hello,
    server_nonce: Bytes32,
    server_key: Bytes32,
    epoch: i64,
    terms: Terms,
}

impl SimulatedFleet {
    pub(super) async fn register_all(&mut self) -> anyhow::Result<()> {
        let request = CreateActivationRequest {
            iam_role: Some("service-role/Fleet".to_owned()),
            registration_limit: Some(1000),
            ..CreateActivationRequest::default()
        };
        // No activation is for more than a thousand hosts.
        for first in (0..self.agents.len()).step_by(1000) {
            let made = control::perform(&self.context()?, request.clone()).await?;
            self.register_with(made, first..self.agents.len().min(first + 1000)).await?;
        }
        Ok(())
    }

    async fn register_with(
        &mut self,
        made: CreateActivationResult,
        agents: std::ops::Range<usize>,
    ) -> anyhow::Result<()> {
        let id = ActivationId::parse(made.activation_id.as_deref().unwrap_or_default())?;
        let code = made.activation_code.map(aws_wire::Sensitive::into_exposed).unwrap_or_default();
        let code = ActivationCode::parse(&code)?;
        for agent in agents {
            self.register(agent, &id, &code).await?;
        }
        Ok(())
    }

    /// Makes a node of a host, as `careen-agent register` does.
    ///
    /// # Errors
    /// When the server refuses, or is not the one that the code names.
    pub async fn register(&mut self, agent: usize, id: &ActivationId, code: &ActivationCode) -> anyhow::Result<NodeId> {
        let challenged = self.challenge(0, Purpose::Register { activation_id: id.clone() }).await?;
        let fingerprint = Bytes32(identity::sha256(&challenged.server_key.0));
        ensure!(fingerprint == code.identity_fingerprint, "the server is not the one that the code names");
        let node_key = SigningKey::from_seed(self.chance.bytes())?;
        let public = Bytes32(node_key.public_key());
        let (ours, theirs) = (challenged.hello.nonce, challenged.server_nonce);
        let text = register_proof_text(id, &ours, &theirs, &challenged.server_key, &public);
        let text = challenged.terms.bind(text);
        let proof = Bytes32(identity::hmac_sha256(&identity::sha256(code.secret()), text.as_bytes()));
        let facts = self.agent(agent)?.host.facts();
        let answer = self.server().agent_register(&challenged.greeting, public, facts, proof, address(agent)).await;
        let answer = travelled(&answer.map_err(|refusal| anyhow::anyhow!("refused: {}", refusal.message))?)?;
        let FromServerHandshake::Registered { node_id, job_key, incarnation, region, signature, .. } = answer else {
            bail!("not an answer to a registration");
        };
        let text = registered_text(&ours, &theirs, &public, &node_id, &job_key, incarnation, &region);
        let signed = identity::verify_ed25519(&challenged.server_key.0, &challenged.terms.bind(text), &signature.0);
        ensure!(signed, "the answer to the registration is not signed by the server");
        let name = self.agent_name(agent);
        self.note(format!("{name} is registered"));
        let agent = self.agent_mut(agent)?;
        agent.incarnation = incarnation;
        agent.identity =
            Some(NodeIdentity { node_id: node_id.clone(), node_key, server_key: challenged.server_key, job_key });
        Ok(node_id)
    }

    async fn challenge(&mut self, server: usize, purpose: Purpose) -> anyhow::Result<Challenged> {
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            agent_version: "0.1.0".to_owned(),
            capabilities: vec!["patch.apt".to_owned(), OUTPUT_LIVE.to_owned()],
            nonce: Bytes32(self.chance.bytes()),
            trusted_keys: Vec::new(),
            purpose,
        };
        let (greeting, challenge) = self
            .replica(server)?
            .server
            .agent_hello(travelled(&hello)?, None)
            .await
            .map_err(|refusal| anyhow::anyhow!("refused: {}", refusal.message))?;
        let FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, channel, signature } =
            travelled(&challenge)?
        else {
            bail!("not a challenge");
        };
        let terms = Terms { protocol, channel };
        let text = terms.bind(challenge_text(&hello, &nonce, epoch));
        let signed = identity::verify_ed25519(&identity_key.0, &text, &signature.0);
        ensure!(signed && protocol == PROTOCOL_MAX, "the challenge is not signed by the key it shows");
        Ok(Challenged { greeting, hello, server_nonce: nonce, server_key: identity_key, epoch, terms })
    }

    /// An agent calls the server. `false`: the server refused, for now.
    ///
    /// # Errors
    /// When the agent is not registered, or the server is another one.
    pub async fn connect(&mut self, agent: usize) -> anyhow::Result<bool> {
        self.connect_until(agent, CutOff::Never).await
    }

    pub(super) async fn connect_until(&mut self, agent: usize, cut_off: CutOff) -> anyhow::Result<bool> {
        self.hang_up(agent).await?;
        self.start_agent(agent)?;
        let Some(server) = self.chance.pick(&self.listening()).copied() else { return Ok(false) };
        let called = self.call(agent, server, cut_off).await;
        let what = format!("the call of {}", self.agent_name(agent));
        Ok(self.excuse(server, &what, called).await?.unwrap_or(false))
    }

    /// `false`: there is no connection, as far as the agent knows.
    async fn call(&mut self, agent: usize, server: usize, cut_off: CutOff) -> anyhow::Result<bool> {
        let name = self.agent_name(agent);
        let (node_id, facts) = {
            let agent = self.agent(agent)?;
            (agent.node_id().context("not registered")?.clone(), agent.host.facts())
        };
        let challenged = self.challenge(server, Purpose::Connect { node_id: node_id.clone() }).await?;
        if cut_off == CutOff::BeforeProof {
            self.note(format!("{name} is cut off while it connects"));
            return Ok(false);
        }
        let Challenged { greeting, hello, server_nonce, server_key, epoch, terms } = challenged;
        let signature = {
            let known = self.agent(agent)?.identity.as_ref().context("not registered")?;
            ensure!(known.server_key == server_key, "the server is another one");
            let text = connect_text(&node_id, &hello.nonce, &server_nonce, epoch, &server_key);
            Bytes64(known.node_key.sign(&terms.bind(text)))
        };
        let answering = self.replica(server)?.server.clone();
        // A proof is a sign of life, also where what follows fails.
        self.world.heard_at.insert(agent, self.steady);
        let (session, welcome) =
            match answering.agent_prove(&greeting, signature, travelled(&facts)?, address(agent)).await {
                Ok(proved) => proved,
                Err(refusal) => {
                    self.note(format!("{name} is refused: {}", refusal.message));
                    return Ok(false);
                }
            };
        if answering.store.has_ended() {
            return Ok(false);
        }
        let (now, digest) = welcomed(&travelled(&welcome)?, &node_id, &hello.nonce, &server_nonce, &server_key, terms)?;
        let number = self.next_link;
        self.next_link += 1;
        let arrives = cut_off == CutOff::Never;
        answering.agent_arrived(&session).await;
        self.links.insert(number, Link::new(agent, server, session, arrives, self.steady));
        let at = if self.replicas.len() == 1 { String::new() } else { format!(" to {}", self.replica(server)?.name) };
        match arrives {
            true => self.note(format!("{name} connects{at} (epoch {epoch})")),
            false => self.note(format!("{name} connects{at} (epoch {epoch}), but the welcome is lost")),
        }
        if arrives {
            let (steady, line) = (self.steady, OnLine::new(number, self.steady));
            let wall = self.wall(agent)?;
            let agent_itself = self.agent_mut(agent)?;
            agent_itself.clock.learn(now, steady);
            agent_itself.greet(line, digest.as_deref(), wall);
            self.flush(agent)?;
        }
        self.sweep_links().await?;
        Ok(self.agent(agent)?.is_on_line())
    }

    pub(super) fn agent(&self, agent: usize) -> anyhow::Result<&SimulatedAgent> {
        self.agents.get(agent).context("there is no such agent")
    }

    pub(super) fn agent_mut(&mut self, agent: usize) -> anyhow::Result<&mut SimulatedAgent> {
        self.agents.get_mut(agent).context("there is no such agent")
    }

    /// The link that an agent holds.
    pub(super) fn link_of(&mut self, agent: usize) -> Option<&mut Link> {
        let number = self.agents.get(agent)?.line.as_ref()?.link;
        self.links.get_mut(&number)
    }

    /// The agent sends what its spool has, as far as the window allows.
    pub(super) fn flush(&mut self, agent: usize) -> anyhow::Result<()> {
        let steady = self.steady;
        while let Some(message) = self.agent_mut(agent)?.next_message(steady) {
            let frame = agent_wire::write(&message)?;
            if let Some(link) = self.link_of(agent) {
                link.send_to_server(frame);
            }
        }
        Ok(())
    }

    /// The agent lets go of its connection; what it has sent may still arrive.
    pub(super) async fn hang_up(&mut self, agent: usize) -> anyhow::Result<()> {
        if let Some(link) = self.link_of(agent) {
            link.held = false;
            link.to_agent.clear();
        }
        self.agent_mut(agent)?.line = None;
        self.sweep_links().await
    }

    /// Takes what the servers have queued, closes what either end has closed, and forgets what is over.
    pub(super) async fn sweep_links(&mut self) -> anyhow::Result<()> {
        self.bury_the_dead().await?;
        let numbers: Vec<u64> = self.links.keys().copied().collect();
        for number in numbers {
            let Some(link) = self.links.get_mut(&number) else { continue };
            if self.replicas.get(link.server).is_none_or(Replica::is_paused) {
                continue;
            }
            let (said, ended) = link.drain();
            for message in &said {
                link.send_to_agent(agent_wire::write(message)?);
            }
            let (server, mut left) = (link.server, None);
            if ended || link.is_closed_for_server() {
                left = link.session.take();
                link.to_server.clear();
            }
            for message in &said {
                self.look_at_order(message).await?;
            }
            if let Some(session) = left {
                self.replica(server)?.server.agent_left(&session).await;
            }
        }
        self.links.retain(|_, link| !link.is_over());
        Ok(())
    }

    /// The oldest frame on its way to the server arrives.
    pub(super) async fn arrive_at_server(&mut self, number: u64) -> anyhow::Result<()> {
        let steady = self.steady;
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let listening = self.replicas.get(link.server).filter(|replica| replica.listens());
        let Some(server) = listening.map(|replica| replica.server.clone()) else { return Ok(()) };
        let (agent, Some(frame)) = (link.agent, link.to_server.pop_front()) else { return Ok(()) };
        link.server_heard_at = steady;
        let message = agent_wire::read::<ToServer>(&frame)?;
        self.note_to_server(agent, message.id, &message.body);
        let Some(session) = self.links.get(&number).and_then(|link| link.session.as_ref()) else { return Ok(()) };
        self.world.heard_at.insert(agent, steady);
        let answers = server.agent_message(session, message).await;
        // What a process that has died would have answered was never said.
        if let Some(link) = self.links.get_mut(&number).filter(|_| !server.store.has_ended()) {
            for answer in &answers {
                link.send_to_agent(agent_wire::write(answer)?);
            }
        }
        self.sweep_links().await
    }

    /// The oldest frame on its way to the agent arrives, or the news that the server has closed.
    pub(super) async fn arrive_at_agent(&mut self, number: u64) -> anyhow::Result<()> {
        let steady = self.steady;
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let agent = link.agent;
        if link.is_closed_for_agent() {
            let name = self.agent_name(agent);
            self.note(format!("{name} sees that its connection is over"));
            self.agent_mut(agent)?.calls_at = steady + 5;
            return self.hang_up(agent).await;
        }
        let Some(frame) = link.to_agent.pop_front() else { return Ok(()) };
        link.agent_heard_at = steady;
        let message = agent_wire::read::<FromServer>(&frame)?;
        self.note_to_agent(agent, &message);
        let wall = self.wall(agent)?;
        if let Obeyed::Accepted(command, job_id) = self.agent_mut(agent)?.obey(message, wall, steady) {
            let (at_work, most) = self.world.at_work.entry(command).or_default();
            *at_work += 1;
            *most = (*most).max(*at_work);
            // Written down, and not yet told.
            if self.chance.happens(self.faults.agent_dies_permille) {
                return self.agent_dies(agent).await;
            }
            self.agent_mut(agent)?.tell(ToServerBody::JobAccepted { job_id });
        }
        self.flush(agent)
    }

    /// Everything that is on its way between an agent and the server arrives, also what that leads to.
    ///
    /// # Errors
    /// When a frame cannot be read.
    pub async fn exchange(&mut self, agent: usize) -> anyhow::Result<()> {
        loop {
            let Some(number) = self.agent(agent)?.line.as_ref().map(|line| line.link) else { return Ok(()) };
            self.sweep_links().await?;
            let Some(link) = self.links.get(&number) else { return Ok(()) };
            if link.severed {
                return Ok(());
            }
            if !link.to_server.is_empty() && self.replica(link.server)?.listens() {
                self.arrive_at_server(number).await?;
            } else if !link.to_agent.is_empty() || link.is_closed_for_agent() {
                self.arrive_at_agent(number).await?;
            } else {
                return Ok(());
            }
        }
    }

    /// An agent says something that is not from its spool, and the server's answers come back to the caller. `id` 0: it is
    /// not to be acknowledged.
    ///
    /// # Errors
    /// When the agent has no connection.
    pub async fn say(&mut self, agent: usize, id: u64, body: ToServerBody) -> anyhow::Result<Vec<FromServer>> {
        let message = travelled(&ToServer { id, body })?;
        self.note_to_server(agent, id, &message.body);
        let number = self.agent(agent)?.line.as_ref().context("no connection")?.link;
        let link = self.links.get(&number).context("no connection")?;
        let session = link.session.as_ref().context("the server has closed the connection")?;
        let server = self.replica(link.server)?.server.clone();
        let answers = server.agent_message(session, message).await;
        for answer in &answers {
            self.note_to_agent(agent, answer);
        }
        self.sweep_links().await?;
        Ok(answers)
    }

    /// The network between an agent and the server is gone. What was on its way is lost, and neither end knows.
    ///
    /// # Errors
    /// When there is no such agent.
    pub fn sever(&mut self, agent: usize) -> anyhow::Result<()> {
        let name = self.agent_name(agent);
        let Some(link) = self.link_of(agent) else { return Ok(()) };
        link.severed = true;
        link.to_server.clear();
        link.to_agent.clear();
        self.note(format!("the link of {name} is cut"));
        Ok(())
    }
}
