//! What an idle agent costs. Measured on demand, with the program that is shipped:
//! `CAREEN_AGENT=target/agent/careen-agent cargo test -p agent --test budget -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use agent_wire::ToServerBody;
use std::time::Duration;
use support::*;

fn field(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time, in ticks of 10 ms (proc(5), fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "a measurement, for a release build"]
fn an_idle_agent_is_small() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    until("its inventory is told", || {
        server.bodies().iter().any(|body| matches!(body, ToServerBody::Inventory(_)))
            || host.log().contains("could not be read yet")
    });
    let job = script("echo measured");
    server.run(&node, &job);
    server.result(&job.job_id);
    let pid = agent.0.id();
    let before = ticks(pid);
    let seconds = 20;
    // A measurement over time, not a wait for anything.
    std::thread::sleep(Duration::from_secs(seconds));
    let spent = ticks(pid) - before;
    println!(
        "resident {} KiB (anonymous {} KiB, peak {} KiB), {spent} ticks of 10 ms in {seconds} s",
        field(pid, "VmRSS"),
        field(pid, "RssAnon"),
        field(pid, "VmHWM")
    );
    assert!(field(pid, "VmRSS") <= 8 << 10);
    assert!(spent <= 2, "0.1 % of a core");
}
