//! Who may become a node, and who may speak for one. Whoever may not learns nothing but that.

use std::net::SocketAddr;

use agent_wire::{
    ActivationCode, Bytes32, Bytes64, FromServerHandshake, Hello, HostFacts, PROTOCOL_MAX, PROTOCOL_MIN, Purpose,
    Refusal, RefusalCode, Terms, ToServer, ToServerBody, connect_text, register_proof_text,
};
use aws_wire::ssm::Operation;
use control::agents::{AgentSession, Greeting};
use identifiers::{ActivationId, NodeId};
use identity::SigningKey;
use serde_json::{Value, json};
use testkit::fleet::SimulatedFleet;

use crate::support::{ask, call, context_in, home, node, on_both, scope};

pub(crate) fn peer() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 5], 50_000))
}

pub(crate) fn hello(purpose: Purpose) -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: 1,
        agent_version: "0.1.0".to_owned(),
        capabilities: Vec::new(),
        nonce: Bytes32(identity::random_bytes().unwrap()),
        trusted_keys: Vec::new(),
        purpose,
    }
}

/// A conversation up to the challenge.
pub(crate) struct Call {
    greeting: Greeting,
    hello: Hello,
    nonce: Bytes32,
    pub(crate) server_key: Bytes32,
    epoch: i64,
    terms: Terms,
}

pub(crate) async fn greet(fleet: &SimulatedFleet, purpose: Purpose) -> Call {
    greet_with(fleet, hello(purpose)).await.unwrap()
}

pub(crate) async fn greet_with(fleet: &SimulatedFleet, hello: Hello) -> Result<Call, Refusal> {
    let (greeting, challenge) = fleet.server().agent_hello(hello.clone(), None).await?;
    let FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, channel, .. } = challenge else {
        panic!("{challenge:?}")
    };
    Ok(Call { greeting, hello, nonce, server_key: identity_key, epoch, terms: Terms { protocol, channel } })
}

impl Call {
    pub(crate) fn proof(&self, id: &ActivationId, code: &ActivationCode, node_key: &Bytes32) -> Bytes32 {
        let text = register_proof_text(id, &self.hello.nonce, &self.nonce, &self.server_key, node_key);
        let text = self.terms.bind(text);
        Bytes32(identity::hmac_sha256(&identity::sha256(code.secret()), text.as_bytes()))
    }

    pub(crate) fn signature(&self, node: &NodeId, key: &SigningKey) -> Bytes64 {
        let text = connect_text(node, &self.hello.nonce, &self.nonce, self.epoch, &self.server_key);
        Bytes64(key.sign(&self.terms.bind(text)))
    }

    pub(crate) async fn register(
        &self,
        fleet: &SimulatedFleet,
        node_key: Bytes32,
        proof: Bytes32,
    ) -> Result<NodeId, Refusal> {
        let answer =
            fleet.server().agent_register(&self.greeting, node_key, HostFacts::default(), proof, peer()).await?;
        match answer {
            FromServerHandshake::Registered { node_id, .. } => Ok(node_id),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn prove(&self, fleet: &SimulatedFleet, signature: Bytes64) -> Result<AgentSession, Refusal> {
        self.prove_as(fleet, signature, HostFacts::default()).await
    }

    async fn prove_as(
        &self,
        fleet: &SimulatedFleet,
        signature: Bytes64,
        facts: HostFacts,
    ) -> Result<AgentSession, Refusal> {
        let proved = fleet.server().agent_prove(&self.greeting, signature, facts, peer()).await;
        proved.map(|(session, _)| session)
    }

    pub(crate) async fn welcome(
        &self,
        fleet: &SimulatedFleet,
        signature: Bytes64,
    ) -> Result<(AgentSession, FromServerHandshake), Refusal> {
        fleet.server().agent_prove(&self.greeting, signature, HostFacts::default(), peer()).await
    }
}

/// An activation as the administrator gets it.
pub(crate) struct Door {
    pub(crate) id: ActivationId,
    pub(crate) code: ActivationCode,
}

impl Door {
    pub(crate) async fn open(fleet: &SimulatedFleet, request: Value) -> Self {
        Self::of(&call(fleet, Operation::CreateActivation, request).await)
    }

    fn of(answer: &Value) -> Self {
        Self {
            id: ActivationId::parse(answer["ActivationId"].as_str().unwrap()).unwrap(),
            code: ActivationCode::parse(answer["ActivationCode"].as_str().unwrap()).unwrap(),
        }
    }

    pub(crate) async fn knock(&self, fleet: &SimulatedFleet) -> Result<(NodeId, SigningKey), Refusal> {
        let call = greet(fleet, Purpose::Register { activation_id: self.id.clone() }).await;
        let key = SigningKey::generate().unwrap();
        let public = Bytes32(key.public_key());
        let node = call.register(fleet, public, call.proof(&self.id, &self.code, &public)).await?;
        Ok((node, key))
    }
}

pub(crate) fn role() -> Value {
    json!({"IamRole": "service-role/Fleet"})
}

async fn nodes(fleet: &SimulatedFleet) -> usize {
    let answer = call(fleet, Operation::DescribeInstanceInformation, json!({})).await;
    answer["InstanceInformationList"].as_array().unwrap().len()
}

on_both! {
    a_stranger_does_not_learn_what_was_wrong: 0;
    a_door_is_closed_when_it_is_used_up_or_expired: 0;
    hosts_that_register_at_once_do_not_pass_the_limit: 0;
    only_the_holder_of_the_nodes_key_speaks_for_it: 1;
    of_two_connections_with_one_number_the_first_counts: 1;
}

async fn a_stranger_does_not_learn_what_was_wrong(fleet: &mut SimulatedFleet) {
    let door = Door::open(fleet, role()).await;
    let other = Door::open(fleet, role()).await;
    let deleted = Door::open(fleet, role()).await;
    call(fleet, Operation::DeleteActivation, json!({"ActivationId": deleted.id.to_string()})).await;
    let unknown = ActivationId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    let purpose = |id: &ActivationId| Purpose::Register { activation_id: id.clone() };
    let public = Bytes32(SigningKey::generate().unwrap().public_key());
    let stolen = Bytes32(SigningKey::generate().unwrap().public_key());

    let mut refusals = Vec::new();
    // An id that there is not, and one that there was.
    for (id, code) in [(&unknown, &door.code), (&deleted.id, &deleted.code)] {
        let call = greet(fleet, purpose(id)).await;
        refusals.push(call.register(fleet, public, call.proof(id, code, &public)).await.unwrap_err());
    }
    // The code of another activation.
    let call = greet(fleet, purpose(&door.id)).await;
    refusals.push(call.register(fleet, public, call.proof(&door.id, &other.code, &public)).await.unwrap_err());
    // A proof that was made for another key, as if someone on the way had put in his own.
    refusals.push(call.register(fleet, stolen, call.proof(&door.id, &door.code, &public)).await.unwrap_err());
    // A proof that was recorded in an earlier conversation.
    let recorded = call.proof(&door.id, &door.code, &public);
    let later = greet(fleet, purpose(&door.id)).await;
    refusals.push(later.register(fleet, public, recorded).await.unwrap_err());
    for refusal in &refusals {
        assert_eq!(refusal.code, RefusalCode::Activation);
        assert_eq!(refusal.message, refusals[0].message, "all are told the same");
    }
    assert_eq!(nodes(fleet).await, 0);
    // The same call with the right proof is let in: nothing above has used the activation up.
    assert!(later.register(fleet, public, later.proof(&door.id, &door.code, &public)).await.is_ok());
    assert_eq!(nodes(fleet).await, 1);
}

async fn a_door_is_closed_when_it_is_used_up_or_expired(fleet: &mut SimulatedFleet) {
    let used_up = Door::open(fleet, role()).await;
    used_up.knock(fleet).await.unwrap();
    let refusal = used_up.knock(fleet).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Activation);
    assert!(refusal.message.contains("limit of 1 is reached"), "{}", refusal.message);

    let expiring = Door::open(fleet, role()).await;
    fleet.clock().advance_seconds(24 * 3600);
    let refusal = expiring.knock(fleet).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Activation);
    assert!(refusal.message.contains("expired"), "{}", refusal.message);
    assert_eq!(nodes(fleet).await, 1);
}

async fn hosts_that_register_at_once_do_not_pass_the_limit(fleet: &mut SimulatedFleet) {
    let door = Door::open(fleet, json!({"IamRole": "service-role/Fleet", "RegistrationLimit": 2})).await;
    let answers = tokio::join!(door.knock(fleet), door.knock(fleet), door.knock(fleet), door.knock(fleet));
    let answers = [answers.0, answers.1, answers.2, answers.3];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    assert_eq!(nodes(fleet).await, 2);
    let shown = call(fleet, Operation::DescribeActivations, json!({})).await;
    let counts: Vec<_> =
        shown["ActivationList"].as_array().unwrap().iter().map(|a| a["RegistrationsCount"].clone()).collect();
    assert!(counts.contains(&json!(2)), "{counts:?}");
}

async fn only_the_holder_of_the_nodes_key_speaks_for_it(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let (gone, gone_key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    call(fleet, Operation::DeregisterManagedInstance, json!({"InstanceId": gone.to_string()})).await;
    let unknown = NodeId::parse("mi-00000000000000000").unwrap();
    let purpose = |id: &NodeId| Purpose::Connect { node_id: id.clone() };

    let mut refusals = Vec::new();
    for (id, key) in [(&unknown, &key), (&gone, &gone_key), (&node, &gone_key)] {
        let call = greet(fleet, purpose(id)).await;
        refusals.push(call.prove(fleet, call.signature(id, key)).await.err().unwrap());
    }
    // A signature for another connection: recorded earlier, with another nonce and another number.
    let earlier = greet(fleet, purpose(&node)).await;
    let recorded = earlier.signature(&node, &key);
    let call_now = greet(fleet, purpose(&node)).await;
    refusals.push(call_now.prove(fleet, recorded).await.err().unwrap());
    // The right nonce, but another number.
    let text = connect_text(&node, &call_now.hello.nonce, &call_now.nonce, call_now.epoch + 1, &call_now.server_key);
    refusals.push(call_now.prove(fleet, Bytes64(key.sign(&text))).await.err().unwrap());
    for refusal in &refusals {
        assert_eq!((refusal.code, &refusal.message), (RefusalCode::Node, &refusals[0].message));
    }
    assert!(!fleet.server().is_connected(&node));
    // One conversation cannot be turned into the other.
    let door = Door::open(fleet, role()).await;
    let register = greet(fleet, Purpose::Register { activation_id: door.id.clone() }).await;
    let refusal = register.prove(fleet, register.signature(&node, &key)).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Protocol);
    let public = Bytes32(key.public_key());
    let refusal = call_now.register(fleet, public, call_now.proof(&door.id, &door.code, &public)).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Protocol);

    let session = call_now.prove(fleet, call_now.signature(&node, &key)).await.unwrap();
    assert!(fleet.server().is_connected(&node));
    drop(session);
    assert!(!fleet.server().is_connected(&node), "a connection that breaks before its welcome is out is none");
}

async fn of_two_connections_with_one_number_the_first_counts(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let purpose = || Purpose::Connect { node_id: node.clone() };
    let (one, other) = (greet(fleet, purpose()).await, greet(fleet, purpose()).await);
    assert_eq!(one.epoch, other.epoch, "neither has proved anything yet");
    let mut first = one.prove(fleet, one.signature(&node, &key)).await.unwrap();
    let refusal = other.prove(fleet, other.signature(&node, &key)).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Unavailable);
    let again = one.prove(fleet, one.signature(&node, &key)).await.err().unwrap();
    assert_eq!(again.code, RefusalCode::Unavailable, "a proof is good for one connection");

    let next = greet(fleet, purpose()).await;
    assert!(next.epoch > one.epoch);
    let mut second = next.prove(fleet, next.signature(&node, &key)).await.unwrap();
    assert!(first.outgoing().await.is_none(), "the older connection is told to end");
    let message = || ToServer { id: 5, body: ToServerBody::Heartbeat { boot_id: "b".to_owned() } };
    assert_eq!(fleet.server().agent_message(&first, message()).await, [], "what it says is not taken any more");
    assert_eq!(fleet.server().agent_message(&second, message()).await, [], "it is not durable yet");
    control::reconcilers::activate_all(fleet.server()).await.unwrap();
    assert_eq!(second.outgoing().await, Some(agent_wire::FromServer::Acknowledged { id: 5 }));
    fleet.server().agent_left(&first).await;
    assert!(fleet.server().is_connected(&node), "the end of the older one does not end the newer");

    fleet.server().agent_arrived(&second).await;
    fleet.server().agent_left(&second).await;
    fleet.restart_server().await.unwrap();
    let after = greet(fleet, purpose()).await;
    assert!(after.epoch > next.epoch, "numbers go on after a restart: {} {}", after.epoch, next.epoch);
}

on_both! {
    two_hosts_with_one_key_are_both_held_until_somebody_has_looked: 1;
    whoever_is_sent_away_is_so_on_every_server: 1;
}

async fn two_hosts_with_one_key_are_both_held_until_somebody_has_looked(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let connect = async |fleet: &SimulatedFleet, instance: &str| {
        let facts = HostFacts { agent_instance: instance.to_owned(), ..HostFacts::default() };
        let called = greet(fleet, Purpose::Connect { node_id: node.clone() }).await;
        called.prove_as(fleet, called.signature(&node, &key), facts).await
    };
    for instance in ["first", "second", "second", "first"] {
        connect(fleet, instance).await.unwrap();
    }
    let standing = connect(fleet, "first").await.unwrap();
    let refused = connect(fleet, "second").await.err().unwrap();
    assert_eq!(refused.code, RefusalCode::Held);
    assert!(refused.message.contains("careen admin node release"), "{}", refused.message);
    assert!(!fleet.server().is_connected(&node));
    let heartbeat = ToServer { id: 1, body: ToServerBody::Heartbeat { boot_id: String::new() } };
    assert_eq!(fleet.server().agent_message(&standing, heartbeat).await, [], "nor does the other's connection count");
    for instance in ["first", "second", "third"] {
        assert_eq!(connect(fleet, instance).await.err().unwrap().code, RefusalCode::Held);
    }

    let server = fleet.server();
    assert!(server.release_node("mi-no").await.is_err());
    assert!(server.release_node("mi-0000000000000dead").await.is_err());
    server.release_node(node.as_str()).await.unwrap();
    assert!(server.release_node(node.as_str()).await.is_err(), "it is not held any more");
    connect(fleet, "first").await.unwrap();
    connect(fleet, "first").await.unwrap();
    let audit = fleet.server().store.audit_list(&home(), &store::AuditQuery::all(100)).await.unwrap();
    let actions: Vec<&str> = audit.iter().rev().map(|entry| entry.record.action.as_str()).collect();
    let held: Vec<&&str> =
        actions.iter().filter(|action| action.contains("Node") && !action.contains("Register")).collect();
    assert_eq!(held, [&"careen:HoldNode", &"careen:ReleaseNode"]);
}

async fn whoever_is_sent_away_is_so_on_every_server(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let called = greet(fleet, Purpose::Connect { node_id: node.clone() }).await;
    let session = called.prove(fleet, called.signature(&node, &key)).await.unwrap();
    let late = greet(fleet, Purpose::Connect { node_id: node.clone() }).await;
    // As another server does it, which has no such connection.
    let found = fleet.server().store.node_get(&home(), &node).await.unwrap();
    let row = changes::Versioned::new(found.revision, found.row.unwrap());
    let away = ::nodes::deregister_node(&row, fleet.server().now()).unwrap();
    fleet.server().store.apply(&home(), away.map(store::Write::from)).await.unwrap();
    assert!(late.prove(fleet, late.signature(&node, &key)).await.is_err());
    let report = agent_wire::InventoryReport {
        at: fleet.server().now(),
        command_id: None,
        distribution: packages::Distribution::default(),
        from_digest: None,
        to_digest: "0".repeat(64),
        present: Vec::new(),
        absent: Vec::new(),
    };
    let report = ToServer { id: 1, body: ToServerBody::Inventory(Box::new(report)) };
    assert_eq!(fleet.server().agent_message(&session, report).await, [], "it is not taken, nor acknowledged");
    assert!(!fleet.server().is_connected(&node), "and the connection ends");
}

on_both! {
    a_node_belongs_where_its_activation_belongs: 0;
}

async fn a_node_belongs_where_its_activation_belongs(fleet: &mut SimulatedFleet) {
    let there = context_in(fleet, "eu-west-1");
    let made = ask(&there, Operation::CreateActivation, &role()).await.unwrap();
    let (node, key) = Door::of(&made).knock(fleet).await.unwrap();
    assert_eq!(nodes(fleet).await, 0);
    let listed = ask(&there, Operation::DescribeInstanceInformation, &json!({})).await.unwrap();
    assert_eq!(listed["InstanceInformationList"][0]["InstanceId"], json!(node.to_string()));
    let call = greet(fleet, Purpose::Connect { node_id: node.clone() }).await;
    call.prove(fleet, call.signature(&node, &key)).await.unwrap();
    let region = scope("000000000000", "eu-west-1");
    assert_eq!(fleet.server().store.node_scope_get(&node).await.unwrap(), Some(region));
    assert_ne!(fleet.server().store.node_scope_get(&node).await.unwrap(), Some(home()));
}

#[test]
fn peers_without_a_common_version_part() {
    crate::support::with_fleet(0, testkit::fleet::FleetDatabase::Sqlite, async |fleet| {
        let purpose = Purpose::Connect { node_id: NodeId::parse("mi-00000000000000000").unwrap() };
        for (min, max, fits) in
            [(PROTOCOL_MAX + 1, PROTOCOL_MAX + 2, false), (0, 0, false), (0, PROTOCOL_MAX + 9, true)]
        {
            let hello = Hello { protocol_min: min, protocol_max: max, ..hello(purpose.clone()) };
            match fleet.server().agent_hello(hello, None).await {
                Ok((_, FromServerHandshake::Challenge { protocol, .. })) => {
                    assert!(fits && protocol == PROTOCOL_MAX, "{min} to {max}");
                }
                Ok((_, other)) => panic!("{other:?}"),
                Err(refusal) => assert_eq!((refusal.code, fits), (RefusalCode::Version, false), "{min} to {max}"),
            }
        }
    });
}

#[test]
fn a_node_that_is_sent_away_is_cut_off_at_once() {
    crate::support::with_fleet(1, testkit::fleet::FleetDatabase::Sqlite, async |fleet| {
        let id = node(fleet, 0);
        call(fleet, Operation::DeregisterManagedInstance, json!({"InstanceId": id})).await;
        assert!(!fleet.server().is_connected(fleet.agents()[0].node_id().unwrap()));
        fleet.exchange(0).await.unwrap();
        assert!(!fleet.agents()[0].is_on_line(), "its connection is over");
        assert!(!fleet.connect(0).await.unwrap(), "and it is not let in again");
        assert_eq!(nodes(fleet).await, 0);
    });
}
