//! Becoming a node: with the right server, and with all the wrong ones.

mod support;

use agent_wire::{ActivationCode, ToServerHandshake};
use std::io::Write;
use std::process::{Command, Stdio};
use support::*;

#[test]
fn a_host_becomes_a_node() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    assert_eq!(host.status(&[]).0, 4);
    let output = host.register_with(&listening.url(), &server.code(), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let node_id = host.node_id();
    assert!(String::from_utf8_lossy(&output.stdout).contains(node_id.as_str()));
    let metadata = std::fs::metadata(host.data().join("identity.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
    // The code was proved, not sent.
    let secret = server.code().reveal();
    let secret = secret.split('.').next().unwrap();
    assert!(server.texts().iter().all(|text| !text.contains(secret)));
    let (code, text) = host.status(&[]);
    assert_eq!((code, text.contains("no agent is running")), (3, true), "{text}");
}

#[test]
fn a_registration_is_not_overwritten_unless_asked() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let first = host.register(&server, &listening);
    let again = host.register_with(&listening.url(), &server.code(), &[]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains(first.as_str()));
    assert_eq!(host.node_id(), first);
    assert!(host.register_with(&listening.url(), &server.code(), &["--force"]).status.success());
    assert_ne!(host.node_id(), first);
}

#[test]
fn the_code_may_come_from_standard_input() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let mut command = Command::new(agent_program());
    command.args(["register", "--server", &listening.url(), "--activation-id", ACTIVATION, "--data"]).arg(host.data());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "  {}", server.code().reveal()).unwrap();
    assert!(child.wait().unwrap().success());
    host.node_id();
}

#[test]
fn whoever_else_listens_on_the_port_learns_nothing() {
    let (server, squatter) = (Server::new(), Server::new());
    let listening = Listening::start(&squatter, 0);
    let host = Host::new();
    let output = host.register_with(&listening.url(), &server.code(), &[]);
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("not our server"), "{words}");
    assert!(!host.data().join("identity.json").exists());
    let texts = squatter.texts();
    assert_eq!(texts.len(), 1, "it got a hello and nothing more: {texts:?}");
    let secret = server.code().reveal();
    assert!(
        !texts[0].contains(secret.split('.').next().unwrap())
            && !texts[0].contains(secret.split('.').next_back().unwrap())
    );
    let hello = agent_wire::read::<ToServerHandshake>(&texts[0]).unwrap();
    assert!(matches!(hello, ToServerHandshake::Hello(_)));
}

#[test]
fn a_server_that_shows_the_key_but_does_not_have_it_is_found_out() {
    let server = Server::new();
    server.behave(|behaviour| behaviour.signs_with_other_key = true);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let output = host.register_with(&listening.url(), &server.code(), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not have the identity key"));
    assert_eq!(server.texts().len(), 1);
}

#[test]
fn a_changed_answer_is_found_out_and_the_next_try_works() {
    let server = Server::new();
    server.behave(|behaviour| behaviour.tampers_registration = true);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let output = host.register_with(&listening.url(), &server.code(), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("not signed by the server"));
    assert!(!host.data().join("identity.json").exists());
    server.behave(|behaviour| behaviour.tampers_registration = false);
    host.register(&server, &listening);
}

#[test]
fn a_changed_welcome_is_found_out_and_its_clock_is_not_believed() {
    let server = Server::new();
    server.behave(|behaviour| behaviour.tampers_welcome = true);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    host.register(&server, &listening);
    let _agent = host.start();
    until("the agent has found it out", || host.log().contains("its welcome is not signed by the server"));
    assert!(!host.log().contains("clock"), "{}", host.log());
    server.behave(|behaviour| behaviour.tampers_welcome = false);
    until("the agent is connected", || host.log().contains("waiting for orders"));
}

#[test]
fn a_wrong_secret_is_refused_by_the_server() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let wrong = ActivationCode::new([9; 15], server.code().identity_fingerprint);
    let output = host.register_with(&listening.url(), &wrong, &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{output:?}");
    assert!(!host.data().join("identity.json").exists());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let host = Host::new();
    let code = ActivationCode::new([9; 15], agent_wire::Bytes32([0; 32]));
    let words = |url: &str| String::from_utf8_lossy(&host.register_with(url, &code, &[]).stderr).into_owned();
    assert!(words("https://127.0.0.1:1").contains("connection refused"));
    let proxied = String::from_utf8_lossy(
        &host.register_with("https://192.0.2.1", &code, &["--proxy", "https://u:hush@p"]).stderr,
    )
    .into_owned();
    assert!(proxied.contains("not a proxy") && !proxied.contains("hush"), "{proxied}");
    assert!(words("nonsense").contains("not a server's address"));
    assert!(words("http://127.0.0.1:1").contains("connection refused"));
    let output = Command::new(agent_program()).args(["run", "--data"]).arg(host.data()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("register"), "{output:?}");
    let output = Command::new(agent_program()).args(["run", "--colour", "blue"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
