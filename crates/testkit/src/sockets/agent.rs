//! One agent of the fleet, from one connection to the next.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_wire::{
    FromServer, HEARTBEAT_ID_MIN, Job, JobReport, Order, OrderBody, StepReport, StepStatus, ToServer, ToServerBody,
};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::conversation::{Conversation, connect};
use super::{Behaviour, Counts, Endpoint, Reconnect, Registration};

/// The longest pause of the real agent before it calls again.
const PAUSE_SECONDS_MAX: u32 = 60;

/// Counts an agent as connected while it lives.
struct Connected<'a>(&'a Counts);

impl<'a> Connected<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.connected.send_modify(|count| *count += 1);
        Self(counts)
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.send_modify(|count| *count = count.saturating_sub(1));
    }
}

pub(super) async fn run(
    server: Endpoint,
    node: &Registration,
    behaviour: Behaviour,
    counts: &Counts,
    calling: &Semaphore,
) {
    let mut failures = 0;
    loop {
        let called = {
            let Ok(_turn) = calling.acquire().await else { return };
            connect(server, node).await
        };
        match called {
            Ok((conversation, heartbeat_seconds)) => {
                failures = 0;
                let asked = Duration::from_secs(u64::from(heartbeat_seconds));
                let connected = Connected::new(counts);
                // Whatever ends a connection, the agent calls again or is done.
                let _ = serve(conversation, node, behaviour.heartbeat.unwrap_or(asked), counts).await;
                drop(connected);
            }
            Err(_) => {
                counts.failed_calls.fetch_add(1, Ordering::Relaxed);
                failures += 1;
            }
        }
        match behaviour.reconnect {
            None => return,
            Some(Reconnect::AtOnce) => sleep(Duration::from_millis(50)).await,
            Some(Reconnect::AsTheAgent) => sleep(pause(failures)).await,
        }
    }
}

/// As the real agent pauses (`pause.rs` there): up to half a minute after a session, then a bound that doubles.
fn pause(failures: u32) -> Duration {
    let bound = match failures {
        0 => 30.0,
        failures => f64::from(2_u32.saturating_pow((failures + 3).min(6) + 1).min(PAUSE_SECONDS_MAX)),
    };
    let random = identity::random_bytes().map_or(u32::MAX / 2, u32::from_le_bytes);
    Duration::from_secs_f64(0.5 + (bound - 0.5) * f64::from(random) / f64::from(u32::MAX))
}

async fn serve(
    mut conversation: Conversation,
    node: &Registration,
    heartbeat: Duration,
    counts: &Counts,
) -> anyhow::Result<()> {
    let heartbeat = heartbeat.max(Duration::from_millis(1));
    let mut beats = interval_at(Instant::now() + heartbeat, heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let boot_id = format!("boot-{:05}", node.place);
    let (mut next, mut results) = (1, Vec::new());
    let (mut beats_sent, mut beats_acknowledged) = (0, 0);
    loop {
        tokio::select! {
            heard = conversation.hear::<FromServer>() => match heard? {
                FromServer::Order(signed) => {
                    counts.note_order();
                    let order = agent_wire::read::<Order>(&signed.payload)?;
                    if let OrderBody::Run(job) = order.body {
                        for body in answers(&job, order.issued_at) {
                            if matches!(body, ToServerBody::JobFinished(_)) {
                                results.push(next);
                            }
                            conversation.send(&ToServer { id: next, body }).await?;
                            next += 1;
                        }
                    }
                }
                // It speaks for those before it.
                FromServer::Acknowledged { id } if id >= HEARTBEAT_ID_MIN => {
                    let acknowledged = (id - HEARTBEAT_ID_MIN).clamp(beats_acknowledged, beats_sent);
                    counts.heartbeats.fetch_add(acknowledged - beats_acknowledged, Ordering::Relaxed);
                    counts.acknowledgements.fetch_add(1, Ordering::Relaxed);
                    beats_acknowledged = acknowledged;
                }
                FromServer::Acknowledged { id } => {
                    if let Some(at) = results.iter().position(|result| *result == id) {
                        results.swap_remove(at);
                        counts.finished.send_modify(|count| *count += 1);
                    }
                }
                _ => {}
            },
            _ = beats.tick() => {
                beats_sent += 1;
                let body = ToServerBody::Heartbeat { boot_id: boot_id.clone() };
                conversation.send(&ToServer { id: HEARTBEAT_ID_MIN + beats_sent, body }).await?;
            }
        }
    }
}

/// The job is accepted and at once over, all well.
fn answers(job: &Job, at: identifiers::Timestamp) -> Vec<ToServerBody> {
    let done = |step: &agent_wire::Step| StepReport {
        name: step.name.clone(),
        status: StepStatus::Success,
        exit_code: 0,
        started_at: Some(at),
        finished_at: Some(at),
        stdout: "done\n".to_owned(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
    };
    let report = JobReport {
        job_id: job.job_id.clone(),
        command_id: job.command_id.clone(),
        steps: job.steps.iter().map(done).collect(),
        finished_at: at,
    };
    vec![ToServerBody::JobAccepted { job_id: job.job_id.clone() }, ToServerBody::JobFinished(report)]
}
