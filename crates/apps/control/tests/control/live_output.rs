//! What comes of a script while it runs: kept within bounds, shown as it comes, forgotten with the result.

use agent_wire::{
    FromServer, JobReport, OUTPUT_WINDOW_BYTES, OutputChunk, OutputStream, StepReport, StepStatus, ToServerBody,
};
use commands::{LIVE_BYTES_MAX, OutputPosition};
use control::live_output::new_output;
use identifiers::{CommandId, JobId, Timestamp};
use testkit::fleet::{Sending, SimulatedFleet};

use crate::support::{home, node, on_both};

const STEP: &str = "aws:runShellScript";

on_both! {
    output_is_shown_while_the_script_runs_and_replaced_by_the_result: 1;
    what_was_not_asked_for_is_dropped: 2;
    after_a_break_it_goes_on_where_it_ended: 1;
    a_flood_is_held_to_the_window_and_to_the_bound: 1;
}

/// A script that the first agent has begun; the windows that the server opened for it.
async fn begun(fleet: &mut SimulatedFleet) -> (CommandId, JobId, Vec<FromServer>) {
    let command = fleet.send(&Sending::shell("true").to(&[0])).await.unwrap();
    fleet.activate().await.unwrap();
    let job = fleet.invocation_rows(&command).await.unwrap()[0].job_id.clone();
    let at = fleet.clock().now();
    let begun = ToServerBody::StepStarted { job_id: job.clone(), step: STEP.to_owned(), at };
    let answers = fleet.say(0, 0, begun).await.unwrap();
    (command, job, answers)
}

fn chunk(job: &JobId, stream: OutputStream, from: u64, text: &str) -> ToServerBody {
    let (until, text) = (from + text.len() as u64, text.to_owned());
    ToServerBody::Output(OutputChunk { job_id: job.clone(), step: STEP.to_owned(), stream, from, until, text })
}

async fn send(fleet: &mut SimulatedFleet, body: ToServerBody) {
    assert_eq!(fleet.say(0, 0, body).await.unwrap(), [], "nothing is answered to output");
}

/// Standard output and standard error as somebody sees them who looks for the first time.
async fn seen(fleet: &SimulatedFleet, command: &CommandId) -> [String; 2] {
    let context = fleet.context().unwrap();
    let node = node(fleet, 0);
    let found = new_output(&context, command.as_str(), &node, &OutputPosition::default()).await.unwrap();
    let of = |stream| found.pieces.iter().filter(|piece| piece.stream == stream).map(|p| p.text.as_str()).collect();
    commands::OutputStream::ALL.map(of)
}

async fn rows(fleet: &SimulatedFleet, command: &CommandId) -> usize {
    let node = fleet.agents()[0].node_id().unwrap();
    fleet.server().store.live_output_list(&home(), command, node).await.unwrap().len()
}

fn result(job: &JobId, command: &CommandId, stdout: &str) -> ToServerBody {
    ToServerBody::JobFinished(JobReport {
        job_id: job.clone(),
        command_id: command.clone(),
        steps: vec![StepReport {
            name: STEP.to_owned(),
            status: StepStatus::Success,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            stdout: stdout.to_owned(),
            stderr: String::new(),
            stdout_truncated: false,
            stderr_truncated: false,
        }],
        finished_at: Timestamp::EPOCH,
    })
}

async fn output_is_shown_while_the_script_runs_and_replaced_by_the_result(fleet: &mut SimulatedFleet) {
    let (command, job, windows) = begun(fleet).await;
    let opened: Vec<_> = windows
        .iter()
        .map(|window| match window {
            FromServer::OutputWindow(window) => (window.step.as_str(), window.stream, window.from),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(opened, [(STEP, OutputStream::Stdout, Some(0)), (STEP, OutputStream::Stderr, Some(0))]);
    send(fleet, chunk(&job, OutputStream::Stdout, 0, "one\n")).await;
    send(fleet, chunk(&job, OutputStream::Stderr, 0, "oh\n")).await;
    fleet.activate().await.unwrap();
    send(fleet, chunk(&job, OutputStream::Stdout, 4, "two\n")).await;
    assert_eq!(seen(fleet, &command).await, ["one\n", "oh\n"], "it is written down with the next look");
    fleet.activate().await.unwrap();
    assert_eq!(seen(fleet, &command).await, ["one\ntwo\n", "oh\n"]);

    // The API says nothing before the step is over, as AWS does.
    let node = fleet.agents()[0].node_id().unwrap().clone();
    assert_eq!(fleet.server().store.step_output_list(&home(), &command, &node).await.unwrap(), []);

    fleet.say(0, 900, result(&job, &command, "one\ntwo\nthree\n")).await.unwrap();
    assert_eq!(seen(fleet, &command).await, ["one\ntwo\nthree\n", ""]);
    assert_eq!(rows(fleet, &command).await, 0);
    // Too late, and said twice.
    send(fleet, chunk(&job, OutputStream::Stdout, 8, "late")).await;
    fleet.activate().await.unwrap();
    assert_eq!(rows(fleet, &command).await, 0);
}

async fn what_was_not_asked_for_is_dropped(fleet: &mut SimulatedFleet) {
    let (command, job, _) = begun(fleet).await;
    let mut other_step = chunk(&job, OutputStream::Stdout, 0, "x");
    if let ToServerBody::Output(chunk) = &mut other_step {
        chunk.step = "other".to_owned();
    }
    let mut too_long = chunk(&job, OutputStream::Stdout, 0, &"x".repeat(100));
    if let ToServerBody::Output(chunk) = &mut too_long {
        chunk.until = 1;
    }
    let nobodys = JobId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    for body in [
        other_step,
        too_long,
        chunk(&nobodys, OutputStream::Stdout, 0, "x"),
        chunk(&job, OutputStream::Stdout, 5, "a gap"),
        chunk(&job, OutputStream::Stdout, u64::MAX - 10, "far"),
        chunk(&job, OutputStream::Stdout, 0, &"x".repeat(100_000)),
    ] {
        send(fleet, body).await;
    }
    // Another node speaks of it.
    assert_eq!(fleet.say(1, 0, chunk(&job, OutputStream::Stdout, 0, "forged")).await.unwrap(), []);
    fleet.activate().await.unwrap();
    assert_eq!(rows(fleet, &command).await, 0);
    send(fleet, chunk(&job, OutputStream::Stdout, 0, "true\n")).await;
    send(fleet, chunk(&job, OutputStream::Stdout, 0, "true\n")).await;
    fleet.activate().await.unwrap();
    assert_eq!(seen(fleet, &command).await, ["true\n", ""]);
    // Nobody may read it who may not read the command.
    let elsewhere = crate::support::context_in(fleet, "eu-west-1");
    let node = node(fleet, 0);
    assert!(new_output(&elsewhere, command.as_str(), &node, &OutputPosition::default()).await.is_err());
}

async fn after_a_break_it_goes_on_where_it_ended(fleet: &mut SimulatedFleet) {
    let (command, job, _) = begun(fleet).await;
    send(fleet, chunk(&job, OutputStream::Stdout, 0, "kept ")).await;
    fleet.activate().await.unwrap();
    // This was received and not written down when the connection broke.
    send(fleet, chunk(&job, OutputStream::Stdout, 5, "lost ")).await;
    fleet.sever(0).unwrap();
    fleet.clock().advance_seconds(200);
    assert!(fleet.connect(0).await.unwrap());
    // The server says from where it wants more: from there it is told again.
    send(fleet, chunk(&job, OutputStream::Stdout, 10, "beyond ")).await;
    send(fleet, chunk(&job, OutputStream::Stdout, 5, "lost and found")).await;
    fleet.activate().await.unwrap();
    assert_eq!(seen(fleet, &command).await, ["kept lost and found", ""]);
}

async fn a_flood_is_held_to_the_window_and_to_the_bound(fleet: &mut SimulatedFleet) {
    let (command, job, _) = begun(fleet).await;
    let text = "y".repeat(1 << 10);
    let mut at = 0;
    for look in 0..1_000 {
        // Everything that fits and much more: what is beyond the window is dropped.
        for piece in 0..64_u64 {
            send(fleet, chunk(&job, OutputStream::Stdout, at + piece * 1024, &text)).await;
        }
        fleet.activate().await.unwrap();
        let [stdout, _] = seen(fleet, &command).await;
        assert!(stdout.len() as u64 - at <= OUTPUT_WINDOW_BYTES, "look {look}");
        at = stdout.len() as u64;
        if at == LIVE_BYTES_MAX {
            break;
        }
    }
    assert_eq!(at, LIVE_BYTES_MAX);
    fleet.say(0, 900, result(&job, &command, "the end")).await.unwrap();
    assert_eq!(seen(fleet, &command).await, ["the end", ""], "a result is never held up");
}
