//! Orders: which are obeyed, what they do, and what is told of them.

mod support;

use agent_wire::{FromServer, Job, OrderBody, SignedOrder, StepStatus, ToServerBody};
use support::*;

#[test]
fn an_order_runs_once_and_is_told_in_order() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = scripts(&[&format!("echo run >> {}; echo hello", host.path("runs").display()), "exit 4"]);
    let signed = server.run(&node, &job);
    let report = server.result(&job.job_id);
    let order = agent_wire::read::<agent_wire::Order>(&signed.payload).unwrap();
    assert!(host.log().contains(&format!("accepted: {} request_id={}", job.document_name, order.request_id)));
    assert_eq!(report.command_id, job.command_id);
    assert_eq!(report.steps[0].stdout, "hello\n");
    assert_eq!((report.steps[0].status, report.steps[1].status), (StepStatus::Success, StepStatus::Failed));
    assert_eq!(report.steps[1].exit_code, 4);
    assert_eq!(line_count(&host.path("runs")), 1);
    let of_job: Vec<&str> = server
        .bodies()
        .iter()
        .filter_map(|body| match body {
            ToServerBody::JobAccepted { .. } => Some("accepted"),
            ToServerBody::StepStarted { step, .. } if step == "step0" => Some("begun 0"),
            ToServerBody::StepStarted { .. } => Some("begun 1"),
            ToServerBody::JobFinished(_) => Some("finished"),
            _ => None,
        })
        .collect();
    assert_eq!(of_job, ["accepted", "begun 0", "begun 1", "finished"]);
    let (code, text) = host.status(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("connected since") && text.contains("waiting for orders"), "{text}");
    until("everything was acknowledged", || host.status(&["--json"]).1.contains("\"spooled_messages\":0"));
}

#[test]
fn a_replayed_order_is_answered_and_not_run() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let job = script(&format!("echo run >> {}", host.path("runs").display()));
    let signed = server.run(&node, &job);
    server.result(&job.job_id);
    server.say(&FromServer::Order(signed.clone()));
    until("the result is told again", || server.results(&job.job_id).len() == 2);
    // Also by an agent that was started afresh.
    agent.kill();
    let _agent = host.start();
    until("it is connected again", || server.connections() == 2);
    server.say(&FromServer::Order(signed));
    until("the result is told again", || server.results(&job.job_id).len() == 3);
    assert_eq!(line_count(&host.path("runs")), 1);
}

#[test]
fn a_late_copy_of_an_order_is_refused_without_ending_its_job() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script(&format!("echo run >> {}", host.path("runs").display()));
    server.run(&node, &job);
    server.result(&job.job_id);
    let late = |job: &Job| {
        let mut order = server.order(&node, OrderBody::Run(job.clone()));
        order.expires_at = long_ago();
        server.say(&FromServer::Order(server.sign_order(&order)));
    };
    // The one that was obeyed, then one that never came in time: by a clock that was set it may be in time when it comes again.
    let never = script("true");
    late(&job);
    late(&never);
    until("both are refused", || server.refusals().len() == 2);
    let named = server.bodies().into_iter().filter_map(|body| match body {
        ToServerBody::OrderRefused { job_id, .. } => Some(job_id),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), [None, None]);
    assert_eq!(line_count(&host.path("runs")), 1);
}

#[test]
fn orders_that_are_wrong_are_refused_with_the_reason() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let other_host = Host::new();
    let other_node = other_host.register(&server, &listening);
    let _agent = host.start();
    let job = script(&format!("echo run >> {}", host.path("runs").display()));
    let good = server.order(&node, OrderBody::Run(job.clone()));

    let mut for_other = good.clone();
    for_other.node_id = other_node;
    let mut expired = good.clone();
    expired.expires_at = long_ago();
    let mut older = good.clone();
    older.incarnation = server.incarnation - 1;
    let mut tampered = server.sign_order(&good);
    tampered.payload = tampered.payload.replace("echo run", "echo RUN");
    let stranger = Server::new().sign_order(&good);
    let nonsense = SignedOrder { payload: "{".to_owned(), ..server.sign_order(&good) };
    let wrong = [
        (server.sign_order(&for_other), "another node"),
        (server.sign_order(&expired), "expired"),
        (server.sign_order(&older), "incarnation"),
        (tampered, "not signed"),
        (stranger, "not signed"),
        (nonsense, "not signed"),
    ];
    for (place, (signed, words)) in wrong.into_iter().enumerate() {
        server.say(&FromServer::Order(signed));
        until("it is refused", || server.refusals().len() == place + 1);
        assert!(server.refusals()[place].contains(words), "{:?}", server.refusals());
    }
    assert!(!host.path("runs").exists());
    assert!(host.log().contains("an order was refused"));
    // The very same job, ordered rightly, still runs.
    server.say(&FromServer::Order(server.sign_order(&good)));
    server.result(&job.job_id);
    assert_eq!(line_count(&host.path("runs")), 1);
}

#[test]
fn an_incarnation_once_seen_is_remembered() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let job = script("true");
    let mut newer = server.order(&node, OrderBody::Run(job.clone()));
    newer.incarnation += 3;
    server.say(&FromServer::Order(server.sign_order(&newer)));
    server.result(&job.job_id);
    agent.kill();
    let _agent = host.start();
    until("it is connected again", || server.connections() == 2);
    server.run(&node, &script("true"));
    until("it is refused", || server.refusals().len() == 1);
    assert!(server.refusals()[0].contains("incarnation 5"), "{:?}", server.refusals());
}

#[test]
fn expiry_is_measured_by_the_servers_clock() {
    let server = Server::new();
    // This host's clock is an hour behind; the order expires in ten minutes of the server's time.
    server.behave(|behaviour| behaviour.clock_ahead_seconds = -3600);
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script("true");
    let mut order = server.order(&node, OrderBody::Run(job.clone()));
    order.issued_at = order.issued_at.plus_seconds(-3600);
    order.expires_at = order.issued_at.plus_seconds(600);
    server.say(&FromServer::Order(server.sign_order(&order)));
    assert_eq!(server.result(&job.job_id).steps[0].status, StepStatus::Success);
}

#[test]
fn cancelling_kills_the_tree_and_a_waiting_job_never_starts() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let pid_file = host.path("grandchild");
    let busy = script(&format!("(setsid sh -c 'echo $$ > {}; exec sleep 1000' &)\nsleep 1000", pid_file.display()));
    server.run(&node, &busy);
    until("the grandchild runs", || std::fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n')));
    let grandchild: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    // Five run at once: these four and the busy one; a sixth waits.
    let others: Vec<_> = (0..4).map(|_| script("sleep 1000")).collect();
    for job in &others {
        server.run(&node, job);
    }
    let begun = || server.bodies().iter().filter(|body| matches!(body, ToServerBody::StepStarted { .. })).count();
    until("five run", || begun() == 5);
    let sixth = script(&format!("echo run >> {}", host.path("runs").display()));
    server.run(&node, &sixth);
    until("the sixth waits", || host.status(&[]).1.contains("waiting to start"));
    server.cancel(&node, &sixth.job_id);
    let report = server.result(&sixth.job_id);
    assert_eq!((report.steps[0].status, report.steps[0].started_at), (StepStatus::Cancelled, None));
    for job in others.iter().chain([&busy]) {
        server.cancel(&node, &job.job_id);
    }
    for job in others.iter().chain([&busy]) {
        assert_eq!(server.result(&job.job_id).steps[0].status, StepStatus::Cancelled);
    }
    assert!(!lives(grandchild));
    assert!(!host.path("runs").exists());
    assert_eq!(begun(), 5);
}

#[test]
fn a_job_that_waits_beyond_its_expiry_never_starts() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let busy: Vec<_> = (0..5).map(|_| script("sleep 1000")).collect();
    for job in &busy {
        server.run(&node, job);
    }
    let late = script(&format!("echo run >> {}", host.path("runs").display()));
    let mut order = server.order(&node, OrderBody::Run(late.clone()));
    order.expires_at = execution::now().plus_seconds(5);
    server.say(&FromServer::Order(server.sign_order(&order)));
    until("it waits", || host.status(&[]).1.contains("waiting to start"));
    until("it has expired", || execution::now() > order.expires_at);
    for job in &busy {
        server.cancel(&node, &job.job_id);
    }
    let report = server.result(&late.job_id);
    assert_eq!(report.steps[0].status, StepStatus::Cancelled);
    assert!(report.steps[0].stderr.contains("expired"), "{}", report.steps[0].stderr);
    assert!(!host.path("runs").exists());
    for job in &busy {
        server.result(&job.job_id);
    }
}

#[test]
fn a_job_cancelled_before_it_comes_never_runs() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script(&format!("echo run >> {}", host.path("runs").display()));
    server.cancel(&node, &job.job_id);
    server.run(&node, &job);
    until("it is refused twice", || server.refusals().len() == 2);
    let after = script("true");
    server.run(&node, &after);
    server.result(&after.job_id);
    assert!(!host.path("runs").exists());
}

#[test]
fn a_step_whose_time_is_over_is_told_as_such() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let mut job = script("sleep 1000");
    job.steps[0].timeout_seconds = 1;
    server.run(&node, &job);
    let report = server.result(&job.job_id);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::TimedOut, 137));
}

#[test]
fn much_output_arrives_cut_and_compressed() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script("yes | head -c 5000000");
    server.run(&node, &job);
    let report = server.result(&job.job_id);
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(report.steps[0].stdout.len(), 100_000);
    assert!(report.steps[0].stdout_truncated);
}
