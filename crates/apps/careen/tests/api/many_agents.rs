//! Hundreds of agents over real sockets: each gets its order once, and all results are kept. `cargo xtask bench` does the same
//! with ten thousand.

use std::time::Duration;

use agent_wire::ActivationCode;
use identifiers::ActivationId;
use serde_json::Value;
use testkit::sockets::{Behaviour, Credentials, Endpoint, Reconnect, RequestConnection, SocketFleet};

use crate::server::Place;

const AGENTS: usize = 300;
const BOUND: Duration = Duration::from_secs(120);

async fn ask(requests: &mut RequestConnection, operation: &str, body: &str) -> Value {
    let answer = requests.ask(operation, body).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{operation}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn a_command_to_hundreds_of_agents_reaches_each_once() {
    let place = Place::new();
    let server = place.start();
    let endpoint = Endpoint { address: server.address().parse().unwrap(), tls: false };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let credentials = Credentials::of_server(&place.data()).unwrap();
        let mut requests = RequestConnection::open(endpoint, &credentials).await.unwrap();
        let activation = ask(&mut requests, "CreateActivation", r#"{"IamRole":"fleet","RegistrationLimit":300}"#).await;
        let id = ActivationId::parse(text(&activation, "ActivationId")).unwrap();
        let code = ActivationCode::parse(text(&activation, "ActivationCode")).unwrap();

        let mut fleet = SocketFleet::new(endpoint);
        fleet.register(AGENTS, &id, code).await.unwrap();
        fleet.run(AGENTS, Behaviour { heartbeat: None, reconnect: Some(Reconnect::AtOnce) }, 32);
        fleet.counts().until_connected(AGENTS, BOUND).await.unwrap();

        let sending = r#"{"DocumentName":"AWS-RunShellScript","Parameters":{"commands":["true"]},
            "Targets":[{"Key":"InstanceIds","Values":["*"]}],"MaxConcurrency":"100%"}"#;
        let sent = ask(&mut requests, "SendCommand", sending).await;
        assert_eq!(sent["Command"]["TargetCount"], AGENTS);
        fleet.counts().until_finished(AGENTS, BOUND).await.unwrap();

        let list = format!(r#"{{"CommandId":"{}"}}"#, text(&sent["Command"], "CommandId"));
        let over = async {
            loop {
                let listed = ask(&mut requests, "ListCommands", &list).await;
                let command = listed["Commands"][0].clone();
                if !["Pending", "InProgress"].contains(&text(&command, "Status")) {
                    break command;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let over = tokio::time::timeout(BOUND, over).await.unwrap();
        assert_eq!((text(&over, "Status"), &over["CompletedCount"]), ("Success", &Value::from(AGENTS)));
        assert_eq!(fleet.counts().orders(), AGENTS, "an order was said again, or was not said");
        assert_eq!(fleet.counts().failed_calls(), 0);
        fleet.stop().await;
    });
    server.stop();
}
