//! Output while it comes: only as far as the server has opened its windows, and never before anything else.

#![allow(clippy::unwrap_used, reason = "tests may panic, and so may what they share")]

mod support;

use agent_wire::{FromServer, OUTPUT_WINDOW_BYTES, OutputChunk, OutputStream, OutputWindow, StepStatus, ToServerBody};
use identifiers::JobId;
use support::*;

fn chunks(server: &Server, job: &JobId, stream: OutputStream) -> Vec<OutputChunk> {
    let chunks = server.bodies().into_iter().filter_map(|body| match body {
        ToServerBody::Output(chunk) if chunk.job_id == *job && chunk.stream == stream => Some(chunk),
        _ => None,
    });
    chunks.collect()
}

fn text(chunks: &[OutputChunk]) -> String {
    chunks.iter().map(|chunk| chunk.text.as_str()).collect()
}

fn open(server: &Server, job: &JobId, stream: OutputStream, from: Option<u64>, until: u64) {
    let step = "step0".to_owned();
    server.say(&FromServer::OutputWindow(OutputWindow { job_id: job.clone(), step, stream, from, until }));
}

fn begun(server: &Server, job: &JobId) {
    until("the step has begun", || {
        server.bodies().iter().any(|body| matches!(body, ToServerBody::StepStarted { job_id, .. } if job_id == job))
    });
}

#[test]
fn output_comes_while_the_script_runs_within_the_window_and_again_after_a_break() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let agent = host.start();
    let (more, go) = (host.path("more"), host.path("go"));
    let wait = |path: &std::path::Path| format!("until [ -e {} ]; do sleep 0.02; done", path.display());
    let job = script(&format!("printf 'one €'; {}; printf two; {}; echo end", wait(&more), wait(&go)));
    server.run(&node, &job);
    begun(&server, &job.job_id);
    let job_id = &job.job_id;
    // Five bytes: the character that begins within them does not end there.
    open(&server, job_id, OutputStream::Stdout, Some(0), 5);
    until("some of it comes", || text(&chunks(&server, job_id, OutputStream::Stdout)) == "one ");
    open(&server, job_id, OutputStream::Stdout, None, 100);
    until("the rest comes", || text(&chunks(&server, job_id, OutputStream::Stdout)) == "one €");
    std::fs::write(&more, "").unwrap();
    until("what is new comes", || text(&chunks(&server, job_id, OutputStream::Stdout)) == "one €two");
    // Another agent takes over; the server says from where.
    agent.kill();
    let _agent = host.start();
    until("it is connected again", || server.connections() == 2);
    until("it knows the job", || host.status(&[]).1.contains("running"));
    open(&server, job_id, OutputStream::Stdout, Some(4), 100);
    until("it is told again", || text(&chunks(&server, job_id, OutputStream::Stdout)) == "one €two€two");
    std::fs::write(&go, "").unwrap();
    assert_eq!(server.result(job_id).steps[0].stdout, "one €twoend\n");
    let ids = server.bodies();
    assert!(ids.iter().any(|body| matches!(body, ToServerBody::JobFinished(_))));
}

#[test]
fn a_flood_stays_within_its_window_and_holds_up_neither_results_nor_a_cancel() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    // Some gigabytes a second, if nobody held it; ended by the cancel, and by itself after 4 GiB.
    let flood = script("head -c 4294967296 /dev/zero | tr '\\0' x");
    server.run(&node, &flood);
    begun(&server, &flood.job_id);
    let received = || chunks(&server, &flood.job_id, OutputStream::Stdout).last().map_or(0, |chunk| chunk.until);
    open(&server, &flood.job_id, OutputStream::Stdout, Some(0), OUTPUT_WINDOW_BYTES);
    until("the window is full", || received() == OUTPUT_WINDOW_BYTES);
    let second = script("echo through");
    server.run(&node, &second);
    assert_eq!(server.result(&second.job_id).steps[0].stdout, "through\n");
    assert_eq!(received(), OUTPUT_WINDOW_BYTES, "it waits for the server");
    for step in 2..=8 {
        open(&server, &flood.job_id, OutputStream::Stdout, None, step * OUTPUT_WINDOW_BYTES);
        until("the window is full again", || received() == step * OUTPUT_WINDOW_BYTES);
    }
    server.cancel(&node, &flood.job_id);
    let report = server.result(&flood.job_id);
    assert_eq!((report.steps[0].status, report.steps[0].stdout_truncated), (StepStatus::Cancelled, true));
    let sent = chunks(&server, &flood.job_id, OutputStream::Stdout);
    assert!(sent.windows(2).all(|pair| pair[0].until == pair[1].from), "a piece is missing or came twice");
}

#[test]
fn nothing_is_sent_to_a_server_that_does_not_ask() {
    let server = Server::new();
    let listening = Listening::start(&server, 0);
    let host = Host::new();
    let node = host.register(&server, &listening);
    let _agent = host.start();
    let job = script("echo quiet; seq 1 1000");
    server.run(&node, &job);
    server.result(&job.job_id);
    assert!(!server.bodies().iter().any(|body| matches!(body, ToServerBody::Output(_))));
}
