//! What whoever looks after a server sees: its log, its metrics, whether it is ready.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{run_bounded, wait_for, wait_until};

use crate::server::{Place, Server};

const BOUND: Duration = Duration::from_secs(60);

/// A real agent beside the server; it ends with the test.
pub(crate) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn lines(server: &Server<'_>) -> Vec<Value> {
    let log = server.log();
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Registers this machine and runs its agent with its data in the place.
pub(crate) fn start_agent(place: &Place, server: &Server<'_>) -> (Agent, String) {
    let clients = server.clients();
    let activation = clients.aws(&["ssm", "create-activation", "--iam-role", "fleet"]);
    let code = place.path().join("code");
    std::fs::write(&code, text(&activation["ActivationCode"])).unwrap();
    let data = place.path().join("agent").display().to_string();
    let (url, code) = (format!("http://{}", server.address()), code.display().to_string());
    let words = ["agent", "register", "--server", &url, "--activation-id", text(&activation["ActivationId"])];
    let words = [&words[..], &["--activation-code-file", &code, "--data", &data]].concat();
    let said = run_bounded(&mut place.careen(&words), BOUND).unwrap().expect_success("registering").unwrap();
    let node = said.split_whitespace().find(|word| word.starts_with("mi-")).unwrap().to_owned();
    let mut command = place.careen(&["agent", "run", "--data", &data, "--reconnect-seconds-max", "1"]);
    let agent = Agent(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the agent to be connected", BOUND, || server.log().contains("agent connected")).unwrap();
    (agent, node)
}

/// The text of all files below a folder whose name ends so.
fn files(folder: &Path, suffix: &str) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all += &files(&path, suffix);
        } else if path.to_string_lossy().ends_with(suffix) {
            all += &std::fs::read_to_string(&path).unwrap_or_default();
        }
    }
    all
}

#[test]
fn the_id_of_a_request_is_found_all_the_way_to_the_script_and_back() {
    let place = Place::new();
    let server = place.start();
    let (_agent, node) = start_agent(&place, &server);
    let clients = server.clients();
    let script = r#"commands=["echo $CAREEN_REQUEST_ID"]"#;
    let send = ["ssm", "send-command", "--document-name", "AWS-RunShellScript", "--parameters", script];
    let sent = clients.aws(&[&send[..], &["--instance-ids", &node]].concat());
    let command = text(&sent["Command"]["CommandId"]).to_owned();
    let ask = ["ssm", "get-command-invocation", "--command-id", &command, "--instance-id", &node];
    let ended = wait_for("the command to end", BOUND, || {
        let found = clients.aws(&ask);
        (found["Status"] == "Success").then_some(found)
    });
    let audit = server.audit(&["--action", "ssm:SendCommand"]);
    let id = text(&audit[0]["request_id"]).to_owned();
    assert_eq!(text(&ended.unwrap()["StandardOutputContent"]).trim(), id, "the script knows it");

    let of_it: Vec<Value> = lines(&server).into_iter().filter(|line| line["request_id"] == id.as_str()).collect();
    let said: Vec<&str> = of_it.iter().map(|line| text(&line["message"])).collect();
    for message in ["request", "order sent", "invocation ended", "command ended"] {
        assert!(said.contains(&message), "{message}: {said:?}");
    }
    let request = of_it.iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!((text(&request["operation"]), text(&request["code"])), ("SendCommand", "OK"));
    assert_eq!((request["status"].as_u64(), text(&request["source_address"])), (Some(200), "127.0.0.1"));
    assert_eq!(text(&request["principal"]), format!("key/{}", place.key().0).as_str());
    assert_eq!((text(&request["account"]), text(&request["region"])), ("000000000000", "us-east-1"));
    assert!(request["duration_ms"].as_f64().unwrap() > 0.0);
    let ended = of_it.iter().find(|line| line["message"] == "invocation ended").unwrap();
    assert_eq!((text(&ended["node"]), text(&ended["state"])), (node.as_str(), "Success"));
    assert!(ended["message_id"].as_u64().unwrap() > 0 && ended["epoch"].as_i64().unwrap() > 0, "{ended}");

    let agent = place.path().join("agent");
    for (log, words) in [("agent.log", ["accepted", "is over"]), ("supervisor.log", ["supervised", "finished"])] {
        let found = files(&agent, log);
        let found: Vec<&str> = found.lines().filter(|line| line.ends_with(&format!("request_id={id}"))).collect();
        assert!(words.iter().all(|word| found.iter().any(|line| line.contains(word))), "{log}: {found:?}");
    }
    server.stop();
}

#[test]
fn a_request_is_one_line_whatever_is_sent_and_no_secret_is_in_it() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let activation = clients.aws(&["ssm", "create-activation", "--iam-role", "fleet"]);
    clients.refuses(&["ssm", "get-document", "--name", "No-Such-Document"], "InvalidDocument", "");
    let link = run_bounded(
        &mut place.careen(&["admin", "sign-in-link", "--data", &place.data().display().to_string()]),
        BOUND,
    );
    let link = link.unwrap().expect_success("the link").unwrap();
    let token = link.trim().rsplit_once("token=").unwrap().1.to_owned();
    server.get(&format!("/console/sign-in?token={token}")).unwrap();
    server.get("/healthz").unwrap();
    let evil = "/%0a2026\u{1b}[2J\u{202e}forged";
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let target = "AmazonSSM.\u{9b}31mX\u{2028}Y";
    write!(socket, "POST {evil} HTTP/1.1\r\nHost: x\r\nX-Amz-Target: {target}\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut one = [0];
    let _ = socket.read(&mut one);
    let lines = lines(&server);
    let refused = lines.iter().filter(|line| line["code"] == "InvalidDocument").collect::<Vec<_>>();
    assert_eq!(refused.len(), 1, "one line a request: {refused:?}");
    assert_eq!((text(&refused[0]["message"]), refused[0]["status"].as_u64()), ("request", Some(400)));
    assert!(text(&refused[0]["reason"]).contains("No-Such-Document"), "{refused:?}");
    assert!(lines.iter().any(|line| line["path"] == "/console/sign-in"), "the console's requests, too");
    assert!(!lines.iter().any(|line| line["path"] == "/healthz"), "what machines ask all day is left out");
    let log = server.log();
    for secret in [token.as_str(), text(&activation["ActivationCode"]), &place.key().1] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    let unsafe_character = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!log.chars().any(unsafe_character), "{log:?}");
    server.stop();
}

#[test]
fn the_log_is_text_where_that_is_asked_for() {
    let place = Place::new();
    let server = place.start_with(&["--log-format", "text"], &[]);
    server.get("/nothing").unwrap();
    let log = server.log();
    let line = log.lines().find(|line| line.contains(" path=/nothing ")).unwrap();
    assert!(line.contains("  INFO request request_id=") && line.contains(" status=404 "), "{line}");
    server.stop();
    let refused = place.refused_start(&[("CAREEN_LOG_FORMAT", "xml")]);
    assert!(refused.code == Some(1) && refused.stderr_text().contains("neither text nor json"), "{refused:?}");
}
