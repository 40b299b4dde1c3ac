//! The server's keys and the nodes' own are exchanged while they are in use, and nobody is left behind unawares.

use agent_wire::{
    Bytes32, Bytes64, FromServerHandshake, Hello, PROTOCOL_MAX, Purpose, Refusal, RefusalCode, ToServer, ToServerBody,
    Trust, node_key_text,
};
use control::agents::AgentSession;
use identifiers::NodeId;
use identity::SigningKey;
use nodes::{KeyStep, ServerKeyKind};
use testkit::fleet::SimulatedFleet;

use crate::{
    handshake::{Call, Door, greet, greet_with, hello, role},
    support::{home, on_both},
};

const IDENTITY: ServerKeyKind = ServerKeyKind::Identity;

on_both! {
    a_node_that_was_away_finds_back_until_the_old_key_is_retired: 0;
    a_step_waits_for_the_nodes_unless_it_is_forced: 0;
    agents_of_protocol_1_are_shown_the_key_they_know: 0;
    a_node_exchanges_its_own_key: 0;
    another_replica_takes_the_keys_up: 0;
    whom_a_node_met_is_audited: 0;
}

fn in_use(fleet: &SimulatedFleet) -> Bytes32 {
    Bytes32(fleet.server().keys.ring().identity.current.public_key())
}

async fn step(fleet: &SimulatedFleet, kind: ServerKeyKind, step: KeyStep, force: bool) -> Result<(), String> {
    // Each at an instant of its own, as with people.
    fleet.clock().advance_seconds(1);
    let done = fleet.server().key_step(kind, step, force).await.map_err(|error| error.message);
    fleet.clock().advance_seconds(1);
    done
}

fn believing(node: &NodeId, trusted_keys: &[Bytes32]) -> Hello {
    let purpose = Purpose::Connect { node_id: node.clone() };
    Hello { protocol_max: PROTOCOL_MAX, trusted_keys: trusted_keys.to_vec(), ..hello(purpose) }
}

async fn call(fleet: &SimulatedFleet, node: &NodeId, trusted_keys: &[Bytes32]) -> Result<Call, Refusal> {
    greet_with(fleet, believing(node, trusted_keys)).await
}

/// A node connects, and what it is told of the server's keys.
async fn arrive(fleet: &SimulatedFleet, node: &NodeId, key: &SigningKey, knows: Bytes32) -> (AgentSession, Trust) {
    let call = call(fleet, node, &[knows]).await.unwrap();
    assert_eq!(call.server_key, knows);
    let (session, welcome) = call.welcome(fleet, call.signature(node, key)).await.unwrap();
    let FromServerHandshake::Welcome { trust: Some(signed), .. } = welcome else { panic!("{welcome:?}") };
    let by_known = signed.signatures.iter().find(|one| one.key == knows).unwrap();
    let text = agent_wire::trust_text(&signed.payload);
    assert!(identity::verify_ed25519(&knows.0, &text, &by_known.signature.0));
    (session, agent_wire::read(&signed.payload).unwrap())
}

async fn say(fleet: &SimulatedFleet, session: &AgentSession, body: ToServerBody) {
    let answers = fleet.server().agent_message(session, ToServer { id: 1, body }).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
}

async fn keeps(fleet: &SimulatedFleet, session: &AgentSession, trust: &Trust) {
    let body = ToServerBody::TrustKept { incarnation: trust.incarnation, serial: trust.serial };
    say(fleet, session, body).await;
}

async fn waiting(fleet: &SimulatedFleet) -> u64 {
    fleet.server().nodes_waiting_for_keys().await.unwrap().count
}

async fn audited(fleet: &SimulatedFleet, action: &str) -> Vec<store::AuditEntry> {
    let query = store::AuditQuery { action: Some(action.to_owned()), ..store::AuditQuery::all(100) };
    fleet.server().store.audit_list(&home(), &query).await.unwrap()
}

async fn a_node_that_was_away_finds_back_until_the_old_key_is_retired(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let old = in_use(fleet);
    step(fleet, IDENTITY, KeyStep::Announce, false).await.unwrap();
    assert_eq!(in_use(fleet), old, "an announced key is not used yet");
    step(fleet, IDENTITY, KeyStep::Switch, true).await.unwrap();
    let new = in_use(fleet);
    assert_ne!(new, old);

    let (session, trust) = arrive(fleet, &node, &key, old).await;
    assert_eq!(trust.identity_keys, [new, old]);
    let refused = step(fleet, IDENTITY, KeyStep::Retire, false).await.unwrap_err();
    assert!(refused.contains("they would have to be registered again"), "{refused}");
    keeps(fleet, &session, &trust).await;
    assert_eq!(waiting(fleet).await, 0);
    step(fleet, IDENTITY, KeyStep::Retire, false).await.unwrap();

    let (_, trust) = arrive(fleet, &node, &key, new).await;
    assert_eq!(trust.identity_keys, [new]);
    let refusal = call(fleet, &node, &[old]).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Identity);
    assert!(refusal.message.contains("register it again"), "{}", refusal.message);
    assert_eq!(audited(fleet, "careen:ExchangeServerKey").await.len(), 3, "refused steps change nothing");
}

async fn a_step_waits_for_the_nodes_unless_it_is_forced(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let first = in_use(fleet);
    assert_eq!(waiting(fleet).await, 0, "before any exchange nobody waits");
    assert!(step(fleet, IDENTITY, KeyStep::Switch, true).await.unwrap_err().contains("begin with 'announce'"));
    for kind in [IDENTITY, ServerKeyKind::Job, ServerKeyKind::Authority] {
        step(fleet, kind, KeyStep::Announce, false).await.unwrap();
    }
    let refused = step(fleet, IDENTITY, KeyStep::Switch, false).await.unwrap_err();
    assert!(refused.contains("1 registered nodes have not written down"), "{refused}");
    assert_eq!(fleet.server().nodes_waiting_for_keys().await.unwrap().some, [(home(), node.clone())]);
    let (session, trust) = arrive(fleet, &node, &key, first).await;
    assert_eq!((trust.identity_keys.len(), trust.job_keys.len()), (2, 2));
    // A node cannot have written down what was never said.
    say(fleet, &session, ToServerBody::TrustKept { incarnation: trust.incarnation, serial: trust.serial + 1 }).await;
    assert_eq!(waiting(fleet).await, 1);
    keeps(fleet, &session, &trust).await;
    step(fleet, IDENTITY, KeyStep::Switch, false).await.unwrap();
    // What was announced can be taken back, and nothing is left of it.
    step(fleet, ServerKeyKind::Job, KeyStep::Withdraw, false).await.unwrap();
    step(fleet, ServerKeyKind::Authority, KeyStep::Switch, false).await.unwrap();
    let shown = fleet.server().keys_shown().await.unwrap();
    let places: Vec<_> = shown.iter().map(|key| (key.kind.as_str(), key.place)).collect();
    let expected =
        [("identity", "in use"), ("identity", "previous"), ("job", "in use"), ("ca", "in use"), ("ca", "previous")];
    assert_eq!(places, expected);
    assert_eq!(fleet.server().keys.authority_pem().matches("BEGIN CERTIFICATE").count(), 2);
}

async fn agents_of_protocol_1_are_shown_the_key_they_know(fleet: &mut SimulatedFleet) {
    let (before, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let earlier = Door::open(fleet, role()).await;
    let old = in_use(fleet);
    step(fleet, IDENTITY, KeyStep::Announce, false).await.unwrap();
    step(fleet, IDENTITY, KeyStep::Switch, true).await.unwrap();
    let new = in_use(fleet);

    let call = greet(fleet, Purpose::Connect { node_id: before.clone() }).await;
    assert_eq!(call.server_key, old);
    let (_, welcome) = call.welcome(fleet, call.signature(&before, &key)).await.unwrap();
    assert!(matches!(welcome, FromServerHandshake::Welcome { trust: None, .. }), "{welcome:?}");
    // A code that was made before names the key of that time.
    assert_eq!(earlier.code.identity_fingerprint, Bytes32(identity::sha256(&old.0)));
    assert_eq!(greet(fleet, Purpose::Register { activation_id: earlier.id.clone() }).await.server_key, old);
    let later = Door::open(fleet, role()).await;
    assert_eq!(later.code.identity_fingerprint, Bytes32(identity::sha256(&new.0)));
    let (after, _) = later.knock(fleet).await.unwrap();
    assert_eq!(greet(fleet, Purpose::Connect { node_id: after }).await.server_key, new);
    step(fleet, IDENTITY, KeyStep::Retire, true).await.unwrap();
    assert_eq!(greet(fleet, Purpose::Connect { node_id: before }).await.server_key, new);
}

async fn a_node_exchanges_its_own_key(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let [next, stranger] = std::array::from_fn(|_| SigningKey::generate().unwrap());
    let server = in_use(fleet);
    let (session, _) = arrive(fleet, &node, &key, server).await;
    let named = |next: &SigningKey, by: &SigningKey| {
        let public_key = Bytes32(next.public_key());
        let signature = Bytes64(by.sign(&node_key_text(&node, &public_key)));
        ToServerBody::NodeKey { public_key, signature }
    };
    // Not by the node's key: somebody on the way would take the node over.
    say(fleet, &session, named(&stranger, &stranger)).await;
    let stolen = call(fleet, &node, &[server]).await.unwrap();
    assert_eq!(stolen.prove(fleet, stolen.signature(&node, &stranger)).await.err().unwrap().code, RefusalCode::Node);
    assert_eq!(audited(fleet, "careen:ConnectNode").await.len(), 1, "it is recorded");
    let again = call(fleet, &node, &[server]).await.unwrap();
    again.prove(fleet, again.signature(&node, &stranger)).await.err().unwrap();
    assert_eq!(audited(fleet, "careen:ConnectNode").await.len(), 1, "but not as often as a stranger likes");

    let (session, _) = arrive(fleet, &node, &key, server).await;
    say(fleet, &session, named(&next, &key)).await;
    // Until the next one is shown, the node may lose it and come with the one before.
    let (session, _) = arrive(fleet, &node, &key, server).await;
    say(fleet, &session, named(&next, &key)).await;
    arrive(fleet, &node, &next, server).await;
    let (session, _) = arrive(fleet, &node, &next, server).await;
    let old = call(fleet, &node, &[server]).await.unwrap();
    assert_eq!(old.prove(fleet, old.signature(&node, &key)).await.err().unwrap().code, RefusalCode::Node);
    // What the old key once signed brings nothing back.
    say(fleet, &session, named(&stranger, &key)).await;
    let stolen = call(fleet, &node, &[server]).await.unwrap();
    assert!(stolen.prove(fleet, stolen.signature(&node, &stranger)).await.is_err());
    assert_eq!(audited(fleet, "careen:ExchangeNodeKey").await.len(), 1);
}

async fn another_replica_takes_the_keys_up(fleet: &mut SimulatedFleet) {
    let server = fleet.server();
    let kept = server.keys.ring().serial;
    step(fleet, IDENTITY, KeyStep::Announce, false).await.unwrap();
    assert!(!server.look_at_keys().await.unwrap(), "whoever took the step has looked");
    assert_eq!(server.keys.ring().serial, kept + 1);
    // Of two steps that meet, one is taken.
    let (one, other) = tokio::join!(
        server.key_step(IDENTITY, KeyStep::Switch, true),
        server.key_step(IDENTITY, KeyStep::Switch, true)
    );
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|taken| **taken).count(), 1);
    assert_eq!(server.keys.ring().serial, kept + 2);
}

async fn whom_a_node_met_is_audited(fleet: &mut SimulatedFleet) {
    let (node, key) = Door::open(fleet, role()).await.knock(fleet).await.unwrap();
    let (session, _) = arrive(fleet, &node, &key, in_use(fleet)).await;
    let now = fleet.server().now();
    let body = ToServerBody::ImpostorMet {
        at: now.plus_seconds(86_400),
        address: "careen.example:8470".to_owned(),
        reason: "its identity key is another one\u{1b}[2J".to_owned(),
        times: 3,
    };
    say(fleet, &session, body).await;
    let record = audited(fleet, "careen:ConnectToServer").await.remove(0).record;
    assert!(record.outcome.contains("its identity key is another one") && !record.outcome.contains('\u{1b}'));
    assert_eq!(record.after["times"], 3);
    assert_eq!(record.after["last_at"], now.to_rfc3339_millis(), "a clock that is ahead is not believed");
    assert!(record.resource.ends_with(node.as_str()));
}
