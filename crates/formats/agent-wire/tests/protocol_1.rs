//! Protocol 1 as version 0.1.0 wrote it. Agents of that version are served, and servers of that version are called, so every
//! text must be read, and be written byte for byte as it was.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use agent_wire::{
    Bytes32, FromServer, FromServerHandshake, Hello, Order, Purpose, Terms, ToServer, ToServerHandshake,
    challenge_text, connect_text, order_text, register_proof_text, registered_text, welcome_text,
};
use identifiers::{ActivationId, NodeId, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

const CORPUS: &str = include_str!("protocol_1.txt");
const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn lines(kind: &str) -> Vec<&'static str> {
    CORPUS.lines().filter_map(|line| line.split_once(' ')).filter(|(k, _)| *k == kind).map(|(_, text)| text).collect()
}

fn assert_read_and_written<T: Serialize + DeserializeOwned>(kind: &str, count: usize) {
    let texts = lines(kind);
    assert_eq!(texts.len(), count, "{kind}");
    for text in texts {
        assert_eq!(agent_wire::write(&agent_wire::read::<T>(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn messages_are_read_and_written_as_before() {
    assert_read_and_written::<ToServerHandshake>("to_server_handshake", 4);
    assert_read_and_written::<FromServerHandshake>("from_server_handshake", 5);
    assert_read_and_written::<Order>("order", 2);
    assert_read_and_written::<FromServer>("from_server", 4);
    assert_read_and_written::<ToServer>("to_server", 6);
}

#[test]
fn what_is_signed_is_what_was_signed_before() {
    let bytes = |byte| Bytes32([byte; 32]);
    let node = NodeId::parse("mi-0123456789abcdef0").unwrap();
    let hello = |purpose| Hello {
        protocol_min: 1,
        protocol_max: 1,
        agent_version: "0.1.0".to_owned(),
        capabilities: Vec::new(),
        nonce: bytes(1),
        trusted_keys: Vec::new(),
        purpose,
    };
    let activation = ActivationId::parse(UUID).unwrap();
    let now = Timestamp::from_micros(1_700_000_000_123_456);
    let texts = [
        challenge_text(&hello(Purpose::Register { activation_id: activation.clone() }), &bytes(6), 0),
        challenge_text(&hello(Purpose::Connect { node_id: node.clone() }), &bytes(6), 7),
        register_proof_text(&activation, &bytes(1), &bytes(6), &bytes(5), &bytes(2)),
        registered_text(&bytes(1), &bytes(6), &bytes(2), &node, &bytes(8), 1, "us-east-1"),
        connect_text(&node, &bytes(1), &bytes(6), 7, &bytes(5)),
        welcome_text(&bytes(1), &bytes(6), &node, 7, 30, now, Some("abc")),
        welcome_text(&bytes(1), &bytes(6), &node, 7, 30, now, None),
        order_text("{}"),
    ];
    let terms = Terms { protocol: 1, channel: Some(bytes(9)) };
    let written: Vec<String> = texts.into_iter().map(|text| terms.bind(text).replace('\n', "\\n")).collect();
    assert_eq!(written, lines("text"));
}

#[test]
fn in_protocol_2_what_is_signed_says_under_which_terms() {
    let text = || "careen challenge 1\n…\n".to_owned();
    let bound = |protocol, channel| Terms { protocol, channel }.bind(text());
    let (here, there) = (Some(Bytes32([1; 32])), Some(Bytes32([2; 32])));
    let all = [bound(1, here), bound(2, None), bound(2, here), bound(2, there), bound(3, here)];
    for (at, one) in all.iter().enumerate() {
        assert!(one.ends_with(&text()) && all.iter().skip(at + 1).all(|other| other != one), "{one}");
    }
}
