//! What is killed, cut off and lost, and what comes of it.

mod support;

use agent_wire::{FromServer, StepStatus, ToServerBody};
use rustix::process::Signal;
use support::*;

#[test]
fn an_agent_killed_in_mid_script_finds_it_again() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let (runs, go) = (host.path("runs"), host.path("go"));
    let lines =
        format!("echo run >> {}; until [ -e {} ]; do sleep 0.02; done; echo done", runs.display(), go.display());
    let job = script(&lines);
    server.run(&node, &job);
    until("the script runs", || line_count(&runs) == 1);
    agent.kill();
    let second = host.start();
    until("it is connected again", || server.connections() == 2);
    until("it knows that the script runs", || host.status(&[]).1.contains("running"));
    // Killed again, and the script ends while no agent is there.
    second.kill();
    std::fs::write(&go, "").unwrap();
    until("the script is over", || host.job_path(&job.job_id).join("result.json").exists());
    let _agent = host.start();
    let report = server.result(&job.job_id);
    assert_eq!((report.steps[0].status, report.steps[0].stdout.as_str()), (StepStatus::Success, "done\n"));
    assert_eq!(line_count(&runs), 1);
    until("everything was acknowledged", || host.status(&["--json"]).1.contains("\"spooled_messages\":0"));
    assert_eq!(server.results(&job.job_id).len(), 1);
}

#[test]
fn a_supervisor_killed_in_mid_step_means_interrupted_and_not_again() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script(&format!("echo run >> {}; sleep 1000", host.path("runs").display()));
    server.run(&node, &job);
    until("the script runs", || line_count(&host.path("runs")) == 1);
    signal(host.supervisor(&job.job_id), Signal::KILL);
    let report = server.result(&job.job_id);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Interrupted, -1));
    assert_eq!(line_count(&host.path("runs")), 1);
}

#[test]
fn ending_the_agent_politely_leaves_its_jobs_alone() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let (runs, go) = (host.path("runs"), host.path("go"));
    let job = script(&format!("echo run >> {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), go.display()));
    server.run(&node, &job);
    until("the script runs", || line_count(&runs) == 1);
    assert!(agent.terminate().success());
    assert_eq!(host.status(&[]).0, 3);
    assert!(lives(host.supervisor(&job.job_id)));
    std::fs::write(&go, "").unwrap();
    let _agent = host.start();
    assert_eq!(server.result(&job.job_id).steps[0].status, StepStatus::Success);
}

#[test]
fn what_the_server_did_not_acknowledge_survives_the_agents_death_and_is_told_again() {
    let server = Server::new();
    server.behave(|behaviour| behaviour.acknowledges = false);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let job = script("echo kept");
    server.run(&node, &job);
    server.result(&job.job_id);
    agent.kill();
    server.behave(|behaviour| behaviour.acknowledges = true);
    let agent = host.start();
    until("it is told again", || server.results(&job.job_id).len() == 2);
    until("everything was acknowledged", || host.status(&["--json"]).1.contains("\"spooled_messages\":0"));
    agent.kill();
    let _agent = host.start();
    until("it is connected again", || server.connections() == 3);
    let after = script("true");
    server.run(&node, &after);
    server.result(&after.job_id);
    assert_eq!(server.results(&job.job_id).len(), 2, "what was acknowledged is not told again");
    let of_after = server
        .bodies()
        .iter()
        .rposition(|body| matches!(body, ToServerBody::JobAccepted { job_id } if *job_id == after.job_id));
    assert!(of_after.is_some());
    let ids = server.message_ids();
    assert!(ids.last().unwrap() > ids.first().unwrap(), "ids rise across the agents' lives");
}

#[test]
fn a_job_that_ends_while_the_server_is_gone_is_told_once_when_it_is_back() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let port = listening.port;
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let (runs, go) = (host.path("runs"), host.path("go"));
    let job = script(&format!("echo run >> {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), go.display()));
    server.run(&node, &job);
    until("the script runs", || line_count(&runs) == 1);
    drop(listening);
    until("it is noticed", || host.status(&[]).0 == 1);
    std::fs::write(&go, "").unwrap();
    until("the result waits", || host.log().contains(&format!("job {} is over", job.job_id)));
    let (_, text) = host.status(&[]);
    assert!(text.contains("not connected since"), "{text}");
    until("it says what it waits for", || {
        let log = host.log();
        log.contains("connection refused") && log.contains("calling again until it answers")
    });
    let _listening = Listening::start(&server, port);
    server.result(&job.job_id);
    until("everything was acknowledged", || host.status(&["--json"]).1.contains("\"spooled_messages\":0"));
    assert_eq!(server.results(&job.job_id).len(), 1);
    assert_eq!(line_count(&runs), 1);
    assert!(host.log().matches("connection refused").count() <= 2, "tries that fail alike are not all told");
}

#[test]
fn whoever_takes_over_the_port_can_make_it_run_nothing_and_learns_nothing() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let port = listening.port;
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    until("it is connected", || server.connections() == 1);
    drop(listening);
    let squatter = Server::new();
    let squatting = Listening::start(&squatter, port);
    until("the squatter is found out", || host.log().contains("not our server"));
    until("it has called more than once", || squatter.texts().len() >= 2);
    assert_eq!(squatter.connections(), 0);
    assert!(squatter.texts().iter().all(|text| text.contains("\"kind\":\"hello\"")), "{:?}", squatter.texts());
    drop(squatting);
    let _listening = Listening::start(&server, port);
    let job = script("true");
    until("it is back with its server", || server.connections() == 2);
    server.run(&node, &job);
    server.result(&job.job_id);
}

#[test]
fn a_silent_server_is_left_and_called_again() {
    let server = Server::new();
    server.behave(|behaviour| behaviour.heartbeat_seconds = 1);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    host.register(&server, &listening);
    let _agent = host.start();
    let beats = || server.bodies().iter().filter(|body| matches!(body, ToServerBody::Heartbeat { .. })).count();
    until("hearts beat", || beats() >= 2);
    server.behave(|behaviour| behaviour.answers_pings = false);
    until("the silence is noticed", || host.log().contains("has been silent"));
    server.behave(|behaviour| behaviour.answers_pings = true);
    until("it called again", || server.connections() >= 2);
}

#[test]
fn only_one_agent_runs_with_a_folder() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    host.register(&server, &listening);
    let _agent = host.start();
    until("it is connected", || server.connections() == 1);
    let second = std::process::Command::new(agent_program()).args(["run", "--data"]).arg(host.data()).output().unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another agent is running"));
    let registering = host.register_with(&listening.url(), &server.code(), &["--force"]);
    assert!(String::from_utf8_lossy(&registering.stderr).contains("another agent is running"));
}

#[test]
fn a_reboot_is_asked_for_by_command_and_its_refusal_fails_the_step() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    // No test may reboot the machine: the command only says that it was called, and refuses.
    let command = host.path("reboot");
    std::fs::write(
        &command,
        format!("#!/bin/sh\necho \"$@\" >> {}\necho inhibited >&2\nexit 1\n", host.path("asked").display()),
    )
    .unwrap();
    std::fs::set_permissions(&command, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let _agent = host.start_with(&["--reboot-command", &format!("{} now", command.display())]);
    let job = scripts(&["exit 194", "true"]);
    server.run(&node, &job);
    let report = server.result(&job.job_id);
    assert_eq!(report.steps[0].status, StepStatus::Failed);
    assert!(report.steps[0].stderr.contains("inhibited"), "{}", report.steps[0].stderr);
    assert_eq!(report.steps[1].status, StepStatus::Success);
    assert_eq!(std::fs::read_to_string(host.path("asked")).unwrap(), "now\n");
}

#[test]
fn the_inventory_is_told_before_any_scan_and_whole_when_wanted() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    host.register(&server, &listening);
    let _agent = host.start();
    let inventories = || {
        let reports = server.bodies().into_iter().filter_map(|body| match body {
            ToServerBody::Inventory(report) => Some(report),
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    if !std::path::Path::new("/var/lib/dpkg/status").exists() {
        println!("SKIPPED: this host has no dpkg");
        return;
    }
    until("an inventory is told, or cannot be read", || {
        !inventories().is_empty() || host.log().contains("could not be read yet")
    });
    if inventories().is_empty() {
        println!("SKIPPED: this host has no package lists");
        return;
    }
    let first = inventories().remove(0);
    assert_eq!(first.from_digest, None);
    assert!(first.present.iter().any(|package| package.name == "dpkg"));
    server.say(&FromServer::InventoryWanted);
    until("it is told again", || inventories().len() == 2);
    assert_eq!(inventories()[1].present, first.present);
}

#[test]
fn it_lives_inside_another_program_and_its_jobs_outlive_it() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let registering = agent::RegisterOptions {
        servers: vec![agent::ServerAddress::parse(&listening.url()).unwrap()],
        reach: agent::Reach::default(),
        activation_id: activation_id(),
        activation_code: server.code(),
        data_directory: host.data(),
        force: false,
    };
    let node = runtime.block_on(agent::register(&registering)).unwrap();
    let mut options = agent::AgentOptions::new(host.data(), vec![agent_program().into()]);
    options.log_to_stderr = false;
    let shutdown = agent::Shutdown::new();
    let running = runtime.spawn(agent::run(options, shutdown.clone()));
    let (runs, go) = (host.path("runs"), host.path("go"));
    let job = script(&format!("echo run >> {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), go.display()));
    server.run(&node, &job);
    until("the script runs", || line_count(&runs) == 1);
    let status = agent::read_status(&host.data()).unwrap().unwrap();
    assert!(matches!(status.connection, agent::Connectedness::Connected { .. }));
    shutdown.tell();
    runtime.block_on(running).unwrap().unwrap();
    assert_eq!(agent::read_status(&host.data()).unwrap(), None);
    assert!(lives(host.supervisor(&job.job_id)));
    std::fs::write(&go, "").unwrap();
    let _agent = host.start();
    assert_eq!(server.result(&job.job_id).steps[0].status, StepStatus::Success);
    assert_eq!(line_count(&runs), 1);
}
