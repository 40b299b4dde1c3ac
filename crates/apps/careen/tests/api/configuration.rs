//! `careen admin config`, as a person runs it.

use std::{fs, time::Duration};

use testkit::run_bounded;

use crate::server::Place;

const BOUND: Duration = Duration::from_secs(60);

fn config(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let data = place.data().display().to_string();
    let mut command = place.careen(&[&["admin", "config", "--data", &data], arguments].concat());
    command.envs(variables.iter().copied());
    run_bounded(&mut command, BOUND).unwrap().expect_success("careen admin config").unwrap()
}

/// The words of the line that begins with a setting's name.
fn line(text: &str, name: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_value_is_shown_with_its_place_and_a_running_server_with_other_values_is_noticed() {
    let place = Place::new();
    let text =
        config(&place, &["--region", "eu-west-1"], &[("CAREEN_ACCOUNT", "123456789012"), ("CAREEN_LISTNE", "x")]);
    assert_eq!(line(&text, "listen"), ["listen", "127.0.0.1:8470", "default"]);
    assert_eq!(line(&text, "region"), ["region", "eu-west-1", "flag", "--region"]);
    assert_eq!(line(&text, "account"), ["account", "123456789012", "environment", "CAREEN_ACCOUNT"]);
    assert!(text.contains("CAREEN_LISTNE, which is no setting"), "{text}");
    assert!(text.contains("No server is running"), "{text}");
    assert!(!place.data().exists(), "looking makes nothing");

    let hidden = [
        ("CAREEN_DATABASE", "postgres://careen:hush@db.example/careen"),
        ("CAREEN_ROOT_ACCESS_KEY_ID", "AKIACAREENTEST000001"),
        ("CAREEN_ROOT_SECRET_ACCESS_KEY", "hush, forty characters of it and no more"),
    ];
    let text = config(&place, &[], &hidden);
    assert!(!text.contains("hush") && text.contains("postgres://db.example/careen"), "{text}");

    let server = place.start();
    fs::write(place.data().join("careen.toml"), "# mine\nregion = \"eu-central-1\"\n").unwrap();
    let listen = ["--listen", &server.address()];
    let text = config(&place, &listen, &[]);
    let path = place.data().join("careen.toml").display().to_string();
    assert_eq!(line(&text, "region"), ["region", "eu-central-1", &path, "line", "2"]);
    let (_, other) = text.split_once("The running server was started with other values:").unwrap();
    assert_eq!(line(other, "region"), ["region", "us-east-1", "default"]);
    assert!(!other.contains("listen"), "the rest is the same: {other}");
    let text = config(&place, &[&listen[..], &["--region", "us-east-1"]].concat(), &[]);
    assert!(text.contains("was started with the same values"), "{text}");
    server.stop();

    fs::write(place.data().join("careen.toml"), "regoin = \"eu-central-1\"\n").unwrap();
    let ended = place.refused_start(&[]);
    assert!(ended.code == Some(1) && ended.stderr_text().contains("careen.toml line 1"), "{ended:?}");
}
