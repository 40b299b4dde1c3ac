//! `careen doctor` and `careen-agent doctor` in situations that go wrong, with the real programs.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use testkit::{Finished, run_bounded, wait_until};

use crate::server::{Place, Server, free_address};
use crate::sight::{start_agent, text};

const BOUND: Duration = Duration::from_secs(60);

/// What a doctor found, as JSON lines, and its exit code.
struct Found(Vec<Value>, Option<i32>);

impl Found {
    fn of(ended: &Finished) -> Self {
        let lines = ended.stdout_text();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
        Self(lines.collect(), ended.code)
    }

    fn check(&self, name: &str) -> &Value {
        self.0.iter().find(|line| line["check"] == name).unwrap_or_else(|| panic!("no {name}: {:?}", self.0))
    }

    fn verdict(&self, name: &str) -> &str {
        text(&self.check(name)["verdict"])
    }

    fn says(&self, name: &str, verdict: &str, words: &str) {
        let check = self.check(name);
        assert_eq!(text(&check["verdict"]), verdict, "{check}");
        assert!(text(&check["found"]).contains(words), "{check}");
        assert_eq!(check["advice"].is_string(), verdict != "ok", "{check}");
    }
}

fn doctor(place: &Place, arguments: &[&str]) -> Found {
    let data = place.data().display().to_string();
    let all = [&["doctor", "--json", "--data", &data][..], arguments].concat();
    Found::of(&run_bounded(&mut place.careen(&all), BOUND).unwrap())
}

#[test]
fn a_server_that_cannot_start_is_told_why() {
    let place = Place::new();
    let address = free_address().to_string();
    let fresh = doctor(&place, &["--listen", &address]);
    fresh.says("database", "ok", "does not exist yet");
    fresh.says("key file", "ok", "made at the first start");
    fresh.says("server", "ok", "none runs");
    assert!(!place.data().exists(), "it changes nothing");
    assert_ne!(fresh.1, Some(2), "{:?}", fresh.0);

    place.start().stop();
    let key = place.data().join("key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let broken = doctor(&place, &["--listen", &address]);
    broken.says("key file", "failed", "is not there");
    assert_eq!(broken.1, Some(2));
    assert!(!key.exists(), "it makes no key");
    fs::write(&key, kept).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    doctor(&place, &[]).says("key file", "failed", "may be read by others");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o777)).unwrap();
    doctor(&place, &[]).says("data folder", "failed", "may be written by others");
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();

    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = squatter.local_addr().unwrap().to_string();
    doctor(&place, &["--listen", &taken]).says("port", "failed", "another program listens");
    let nowhere = doctor(&place, &["--database", "postgres://nobody@127.0.0.1:1/none"]);
    nowhere.says("database", "failed", "cannot be used");
    fs::write(place.data().join("careen.toml"), "listen = \"nonsense\"\n").unwrap();
    doctor(&place, &[]).says("configuration", "failed", "listen");
    fs::remove_file(place.data().join("careen.toml")).unwrap();

    fs::write(place.data().join("careen.db"), "this is no database, whatever its name says").unwrap();
    doctor(&place, &[]).says("database", "failed", "cannot be used");
}

#[test]
fn a_server_that_runs_speaks_for_itself() {
    let place = Place::new();
    let server = place.start();
    let found = doctor(&place, &["--listen", &server.address()]);
    found.says("server", "ok", "says that it is ready");
    found.says("port", "ok", "a server runs");
    found.says("database", "ok", "schema");
    let data = place.data().display().to_string();
    let people = run_bounded(&mut place.careen(&["doctor", "--data", &data, "--listen", &server.address()]), BOUND);
    let said = people.unwrap().stdout_text();
    assert!(said.lines().any(|line| line.starts_with("ok       database: sqlite:")), "{said}");
    let elsewhere = doctor(&place, &["--listen", &free_address().to_string()]);
    elsewhere.says("port", "failed", "does not listen on");
    assert!(server.get("/readyz").unwrap().ends_with("\r\n\r\nready\n"));
    let verbose = server.get("/readyz?verbose").unwrap();
    assert!(verbose.contains("ok       database: ") && verbose.contains("ok       reconcilers: "), "{verbose}");
    server.stop();
}

#[test]
fn a_node_learns_which_step_of_the_way_fails() {
    let place = Place::new();
    let agent_data = place.path().join("agent").display().to_string();
    let node = || {
        let words = ["agent", "doctor", "--json", "--data", &agent_data];
        Found::of(&run_bounded(&mut place.careen(&words), BOUND).unwrap())
    };
    let fresh = node();
    fresh.says("registration", "failed", "not registered");
    assert_eq!(fresh.1, Some(2));

    let server = place.start();
    let (agent, _) = start_agent(&place, &server);
    wait_until("the agent to know that it is connected", BOUND, || node().verdict("agent") == "ok").unwrap();
    let well = node();
    well.says("registration", "ok", "mi-");
    well.says("way to the server", "ok", "is who it was at registration");
    well.says("clock", "ok", "of the server's clock");
    assert_eq!(server.log().matches("agent connected").count(), 1, "asking who is there is no connection");

    let address = server.address();
    server.stop();
    node().says("way to the server", "failed", "no connection");
    drop(agent);
    node().says("agent", "failed", "it does not run");

    let other = Place::new();
    let impostor: Server<'_> = other.start_at(address.parse().unwrap());
    node().says("way to the server", "failed", "not the server that this node was registered with");
    impostor.stop();
}
