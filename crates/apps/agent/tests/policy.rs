//! The node's own policy: what it forbids is refused with the rule, whatever is signed.

#![allow(clippy::unwrap_used, reason = "tests may panic, and so may what they share")]

mod support;

use agent_wire::{JobRefusal, StepStatus, ToServerBody};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::*;

fn write(host: &Host, text: &str) {
    let path = host.data().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn policy_refusals(server: &Server) -> Vec<String> {
    let refusals = server.bodies().into_iter().filter_map(|body| match body {
        ToServerBody::JobRefused { reason, cause: JobRefusal::Policy, .. } => Some(reason),
        _ => None,
    });
    refusals.collect()
}

#[test]
fn what_the_policy_forbids_is_refused_with_the_rule_and_a_change_holds_at_once() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    write(&host, "shell = false");
    let _agent = host.start();
    let runs = host.path("runs");
    let forbidden = script(&format!("echo run >> {}", runs.display()));
    server.run(&node, &forbidden);
    until("it is refused", || policy_refusals(&server).len() == 1);
    let reason = policy_refusals(&server).remove(0);
    assert!(reason.contains("(shell = false)") && reason.contains("policy.toml"), "{reason}");
    until("the status says so", || host.status(&[]).1.contains("policy       no scripts"));

    // A file that cannot be used forbids everything.
    write(&host, "shel = false");
    server.run(&node, &script("true"));
    until("it is refused", || policy_refusals(&server).len() == 2);
    assert!(policy_refusals(&server)[1].contains("unknown field `shel`"), "{:?}", policy_refusals(&server));

    write(&host, "documents = [\"AWS-RunShellScript\"]");
    let allowed = script(&format!("echo run >> {}", runs.display()));
    server.run(&node, &allowed);
    assert_eq!(server.result(&allowed.job_id).steps[0].status, StepStatus::Success);
    assert_eq!(line_count(&runs), 1, "only what was allowed has run");
}

#[test]
fn a_script_that_wants_a_reboot_does_not_get_one_against_the_policy() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    write(&host, "reboot = false");
    let _agent = host.start_with(&["--reboot-command", "/bin/false must not be called"]);
    let job = script("exit 194");
    server.run(&node, &job);
    let report = server.result(&job.job_id);
    assert_eq!(report.steps[0].status, StepStatus::Failed);
    assert!(report.steps[0].stderr.contains("(reboot = false)"), "{}", report.steps[0].stderr);
}

#[test]
fn a_policy_is_checked_and_said_in_words() {
    let host = Host::new();
    let check = |more: &[&str]| {
        let output = Command::new(agent_program()).args(["policy", "check"]).args(more).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let file = host.path("example.toml").display().to_string();
    let example = "install_hours = [\"sat,sun 22:00-05:00\"]\n[limits]\nmemory_max = \"512MiB\"\n";
    std::fs::write(&file, example).unwrap();
    let (code, text) = check(&[&file]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Updates may be installed sat,sun 22:00-05:00, in this host's time zone."), "{text}");
    assert!(text.contains("512 MiB of memory"), "{text}");
    std::fs::write(&file, "install_hours = [\"sat 22:00\"]\n").unwrap();
    let (code, text) = check(&[&file]);
    assert!(code == Some(1) && text.contains("mon-fri 22:00-05:00"), "{text}");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let (code, text) = check(&[&file]);
    assert!(code == Some(1) && text.contains("may be written by others; chmod go-w"), "{text}");
    let (code, text) = check(&["/no/such/file"]);
    assert!(code == Some(1) && text.contains("it is not there"), "{text}");
}
