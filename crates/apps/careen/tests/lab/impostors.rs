//! Whoever takes over the server's port, or sits in between, learns no secret and makes no agent run anything.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_wire::{
    Bytes32, Bytes64, FromServer, FromServerHandshake, Job, Order, OrderBody, SignedOrder, Step, StepAction,
    ToServerHandshake, challenge_text, order_text,
};
use identifiers::{CommandId, JobId, NodeId, RequestId, Timestamp};
use identity::{SigningKey, SystemIds, random_bytes};
use serde_json::{Value, json};
use testkit::{Host, HostPackages, wait_for, wait_until};

use crate::middleman::{Meddling, Middleman, Toward, honest};
use crate::site::{AGENT_DATA, Activation, BOUND, HIDDEN_PORT, Node, PORT, SERVICE, Site, pretty, register, text};

/// Someone at the port who writes down every byte that comes and never answers as a server would.
struct Recorder {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Recorder {
    fn start(listener: TcpListener) -> Self {
        let (bytes, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        listener.set_nonblocking(true).unwrap();
        let (kept, over) = (Arc::clone(&bytes), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    kept.lock().unwrap().extend(&buffer[..count]);
                    let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        Self { bytes, ended, thread: Some(thread) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Answers a Hello with a challenge that shows `shown` and is signed with `key`.
fn challenge(hello: &Value, shown: [u8; 32], key: &SigningKey) -> Value {
    let ToServerHandshake::Hello(hello) = serde_json::from_value(hello.clone()).unwrap() else { panic!("{hello}") };
    let nonce = Bytes32(random_bytes().unwrap());
    let signature = Bytes64(key.sign(&challenge_text(&hello, &nonce, 1_000_000)));
    let identity_key = Bytes32(shown);
    let (protocol, epoch, channel) = (1, 1_000_000, None);
    let challenge = FromServerHandshake::Challenge { protocol, identity_key, nonce, epoch, channel, signature };
    serde_json::to_value(challenge).unwrap()
}

/// An impostor with keys of its own, which it may hide behind the server's identity.
fn forger(shown: Option<[u8; 32]>) -> Meddling {
    let key = SigningKey::generate().unwrap();
    Box::new(move |_, message| match message["kind"].as_str() {
        Some("hello") => vec![(Toward::Agent, challenge(&message, shown.unwrap_or(key.public_key()), &key))],
        _ => Vec::new(),
    })
}

/// An order to leave a trace, signed with a key that is not the server's.
fn forged_order(node: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap());
    let lines = vec!["touch /root/forged".to_owned()];
    let step = Step {
        name: "step".to_owned(),
        plugin: "aws:runShellScript".to_owned(),
        timeout_seconds: 60,
        action: StepAction::RunShellScript { lines, working_directory: String::new() },
    };
    let job = Job {
        job_id: JobId::generate(&mut SystemIds),
        command_id: CommandId::generate(&mut SystemIds),
        document_name: "AWS-RunShellScript".to_owned(),
        steps: vec![step],
    };
    let order = Order {
        node_id: NodeId::parse(node).unwrap(),
        incarnation: u64::MAX >> 1,
        issued_at: now,
        expires_at: now.plus_seconds(3600),
        request_id: RequestId::generate(&mut SystemIds),
        body: OrderBody::Run(job),
    };
    let payload = agent_wire::write(&order).unwrap();
    let signature = Bytes64(SigningKey::generate().unwrap().sign(&order_text(&payload)));
    serde_json::to_value(FromServer::Order(SignedOrder { payload, signature })).unwrap()
}

/// The identity key that the server behind an honest middleman has shown.
fn identity_key(middleman: &Middleman) -> [u8; 32] {
    let shown = middleman.heard(Toward::Agent).into_iter().find(|message| message["kind"] == "challenge").unwrap();
    Bytes32::parse(shown["identity_key"].as_str().unwrap()).unwrap().0
}

/// Changes messages of one kind that go one way.
fn changing(toward: Toward, kind: &'static str, change: impl Fn(&mut Value) + Send + 'static) -> Meddling {
    Box::new(move |to, mut message| {
        if to == toward && message["kind"] == kind {
            change(&mut message);
        }
        vec![(to, message)]
    })
}

/// Asserts that a registration is refused for a reason and leaves nothing behind.
fn assert_not_registered(host: &Host, activation: &Activation, reason: &str) {
    let refused = register(host, activation);
    assert!(!refused.succeeded() && refused.stderr_text().contains(reason), "{}", refused.stderr_text());
    assert!(host.read_file(format!("{AGENT_DATA}/identity.json")).is_err(), "an identity was written");
}

/// Asserts that a text holds nothing of an activation's code, in no spelling of it that would be likely.
fn assert_no_code(text: &str, activation: &Activation) {
    let (secret, fingerprint) = activation.code.split_once('.').unwrap();
    assert!(!text.contains(secret) && !text.contains(fingerprint), "{text}");
}

#[test]
fn whoever_takes_the_port_before_a_registration_gets_neither_the_code_nor_the_node() {
    let Some(site) = Site::without_server() else { return };
    site.start_server(HIDDEN_PORT);
    let host = site.host("h1", HostPackages::Empty);
    let activation = site.activation(&["--registration-limit", "5"]);

    let recorder = Recorder::start(site.lab.listen(PORT).unwrap());
    assert_not_registered(&host, &activation, "it is no agent endpoint");
    assert!(recorder.text().contains("GET /agent/v1"), "it heard nothing: {}", recorder.text());
    assert_no_code(&recorder.text(), &activation);
    drop(recorder);

    // With an identity of its own; then with the server's, which is no secret, but without its key.
    let middleman = Middleman::start(&site, None, forger(None));
    assert_not_registered(&host, &activation, "not our server: its identity key is another one");
    assert_eq!(middleman.kinds_of_agents(), ["hello"]);
    drop(middleman);
    let middleman = Middleman::start(
        &site,
        Some(HIDDEN_PORT),
        changing(Toward::Server, "register", |register| {
            register["node_key"] = json!(Bytes32(SigningKey::generate().unwrap().public_key()));
        }),
    );
    // In between: the node's key exchanged for one that the middleman has; the server does not take it.
    assert_not_registered(&host, &activation, "the server refused (Activation)");
    let shown = identity_key(&middleman);
    // In between: the key that signs orders exchanged likewise; the agent does not take it.
    middleman.meddle(changing(Toward::Agent, "registered", |registered| {
        registered["job_key"] = json!(Bytes32(SigningKey::generate().unwrap().public_key()));
    }));
    assert_not_registered(&host, &activation, "is not signed by the server");
    assert_no_code(&json!(middleman.heard(Toward::Server)).to_string(), &activation);
    drop(middleman);
    let middleman = Middleman::start(&site, None, forger(Some(shown)));
    assert_not_registered(&host, &activation, "it does not have the identity key it shows");
    assert_eq!(middleman.kinds_of_agents(), ["hello"]);
    assert_no_code(&json!(middleman.heard(Toward::Server)).to_string(), &activation);
    drop(middleman);

    // A mere wire lets it through, and even then the code does not travel.
    let middleman = Middleman::start(&site, Some(HIDDEN_PORT), honest());
    let node = site.enrol(&host, &activation);
    assert_no_code(&json!(middleman.heard(Toward::Server)).to_string(), &activation);
    assert!(site.information(&node).is_some());
}

#[test]
fn whoever_takes_the_port_after_a_registration_can_order_nothing() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let greeting = site.send_script(&node, "echo true");
    assert_eq!(site.wait_ended(&greeting, &node, BOUND)["StandardOutputContent"], "true\n");
    site.stop_server();
    assert!(!site.is_open(PORT));

    // With an identity of its own.
    let middleman = Middleman::start(&site, None, forger(None));
    let said = node.wait_disconnected("not our server");
    assert!(said.contains("its identity key is another one"), "{said}");
    let (code, status) = node.status();
    assert_eq!(code, Some(1), "{status}");
    drop(middleman);

    // One that leaves the handshake out and gives an order at once.
    let order = forged_order(&node.id);
    let welcome =
        json!({"kind": "welcome", "epoch": 0, "heartbeat_seconds": 30, "now": 0, "signature": Bytes64([0; 64])});
    let brash = move |_, message: Value| match message["kind"].as_str() {
        Some("hello") => vec![(Toward::Agent, welcome.clone()), (Toward::Agent, order.clone())],
        _ => Vec::new(),
    };
    let middleman = Middleman::start(&site, None, Box::new(brash));
    node.wait_disconnected("'welcome' was not expected here");
    assert!(middleman.kinds_of_agents().iter().all(|kind| kind == "hello"), "{:?}", middleman.kinds_of_agents());
    drop(middleman);

    // The true server again, behind someone who shows what it showed, and later gives orders of its own in between.
    site.start_server(HIDDEN_PORT);
    let middleman = Middleman::start(&site, Some(HIDDEN_PORT), honest());
    node.wait_connected();
    let shown = identity_key(&middleman);
    middleman.say(&node.id, forged_order(&node.id));
    let refused = wait_for("the refusal to be audited", BOUND, || site.audit("careen:ReceiveOrder").pop()).unwrap();
    assert!(refused["outcome"].as_str().unwrap().contains("not signed"), "{}", pretty(&refused));
    assert!(text(&refused["resource"]).ends_with(&node.id) && text(&refused["principal"]).contains(&node.id));
    drop(middleman);
    let middleman = Middleman::start(&site, None, forger(Some(shown)));
    node.wait_disconnected("it does not have the identity key it shows");
    assert!(middleman.kinds_of_agents().iter().all(|kind| kind == "hello"), "{:?}", middleman.kinds_of_agents());
    drop(middleman);

    assert!(node.host.read_file("/root/forged").is_err(), "a forged order was obeyed");
    // When the server is back at its port all is as before.
    site.stop_server();
    site.start_server(PORT);
    node.wait_connected();
    let script = site.send_script(&node, "echo back");
    assert_eq!(site.wait_ended(&script, &node, BOUND)["StandardOutputContent"], "back\n");
}

/// Two nodes behind a middleman.
fn two_nodes_behind(site: &Site) -> [Node; 2] {
    let activation = site.activation(&["--registration-limit", "2"]);
    ["a", "b"].map(|name| site.enrol(&site.host(name, HostPackages::Empty), &activation))
}

/// The audited refusals of a node's orders, once there are so many.
fn refusals(site: &Site, count: usize) -> Vec<String> {
    wait_until(&format!("{count} refusals in the audit"), BOUND, || site.audit("careen:ReceiveOrder").len() >= count)
        .unwrap();
    site.audit("careen:ReceiveOrder").iter().map(|record| text(&record["outcome"])).collect()
}

#[test]
fn a_relay_can_neither_change_nor_repeat_nor_divert_orders() {
    let Some(site) = Site::without_server() else { return };
    site.start_server(HIDDEN_PORT);
    let middleman = Middleman::start(&site, Some(HIDDEN_PORT), honest());
    let [a, b] = two_nodes_behind(&site);

    // One bit of what is ordered.
    middleman.meddle(changing(Toward::Agent, "order", |order| {
        let payload = text(&order["payload"]).replace("/root/ran", "/root/san");
        order["payload"] = json!(payload);
    }));
    let script = "echo ran >> /root/ran";
    let changed = site.send_script(&a, script);
    let refused = refusals(&site, 1);
    assert!(refused[0].contains("not signed with the key"), "{refused:?}");
    assert_eq!((a.lines("/root/ran"), a.lines("/root/san")), (0, 0));
    // It ends nothing: the order as it was meant still comes, and runs.
    assert_eq!(site.invocation(&changed, &a)["Status"], "InProgress");
    middleman.meddle(honest());
    a.kill_agent();
    assert_eq!(site.wait_ended(&changed, &a, BOUND)["Status"], "Success");
    assert_eq!((a.lines("/root/ran"), a.lines("/root/san")), (1, 0));

    // An order that was obeyed, once more; and once more to the other node.
    let order = middleman.heard(Toward::Agent).into_iter().rfind(|message| message["kind"] == "order").unwrap();
    let finished = || middleman.kinds_of_agents().iter().filter(|kind| *kind == "job_finished").count();
    let before = finished();
    middleman.say(&a.id, order.clone());
    wait_until("the old result to be told again", BOUND, || finished() > before).unwrap();
    middleman.say(&b.id, order);
    wait_until("the refusal to be audited", BOUND, || {
        refusals(&site, 1).iter().any(|refused| refused.contains("It is for another node"))
    })
    .unwrap();
    assert_eq!((a.lines("/root/ran"), b.lines("/root/ran")), (1, 0));

    // A clock that would keep old orders alive, or end new ones.
    middleman.meddle(changing(Toward::Agent, "welcome", |welcome| welcome["now"] = json!(0)));
    a.kill_agent();
    a.wait_disconnected("not our server");
    middleman.meddle(honest());
    a.wait_connected();

    // What both were meant to do they still do, once each.
    let both = site.send_script_to(&["--targets", "Key=InstanceIds,Values=*"], script);
    for node in [&a, &b] {
        assert_eq!(site.wait_ended(&both, node, BOUND)["Status"], "Success");
    }
    assert_eq!((a.lines("/root/ran"), b.lines("/root/ran")), (2, 1));
    for node in [&a, &b] {
        node.host.remove_service(SERVICE).unwrap();
    }
}
