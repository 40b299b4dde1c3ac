//! Many agents at once: their memory, their heartbeats, a command to all of them, a server that starts under them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testkit::sockets::{Behaviour, Reconnect, RequestConnection, SocketFleet};

use crate::process::{Server, cpu_seconds, kernel_kib};
use crate::{Options, median};

/// How long anything here may take.
const BOUND: Duration = Duration::from_secs(300);
/// No more handshakes at once than this where the load is not the point.
const CALLING_MAX: usize = 128;
/// Idle: no heartbeat comes in between.
const SELDOM: Duration = Duration::from_secs(3600);
/// As often as the server writes.
const OFTEN: Duration = Duration::from_millis(250);
/// The pause after which memory is read.
const SETTLE: Duration = Duration::from_secs(3);

fn idle_agents(reconnect: Option<Reconnect>) -> Behaviour {
    Behaviour { heartbeat: None, reconnect }
}

async fn connected(options: &Options, behaviour: Behaviour) -> anyhow::Result<(Server<'_>, SocketFleet)> {
    let server = Server::start(options, options.tls).await?;
    let begun = Instant::now();
    let mut fleet = server.fleet(options.agents).await?;
    println!("{} agents registered in {:.1} s", options.agents, begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    fleet.run(options.agents, behaviour, CALLING_MAX);
    fleet.counts().until_connected(options.agents, BOUND).await?;
    println!("{} agents connected in {:.1} s", options.agents, begun.elapsed().as_secs_f64());
    Ok((server, fleet))
}

/// Resident memory of the server for each idle agent, from a fifth of the agents to all.
pub(crate) async fn idle(options: &Options) -> anyhow::Result<()> {
    let server = Server::start(options, options.tls).await?;
    let mut fleet = server.fleet(options.agents).await?;
    let (few, all) = (options.agents / 5, options.agents);
    let behaviour = Behaviour { heartbeat: Some(SELDOM), reconnect: None };
    let mut seen = Vec::new();
    for count in [few, all] {
        fleet.run(count, behaviour, CALLING_MAX);
        fleet.counts().until_connected(count, BOUND).await?;
        tokio::time::sleep(SETTLE).await;
        seen.push((server.resident_kib()?, kernel_kib()?));
    }
    let [(few_kib, few_kernel), (all_kib, all_kernel)] = seen[..] else { return Ok(()) };
    let more = (all - few) as f64;
    println!(
        "idle agents: {:.1} KiB each in the server ({few} agents {:.0} MiB, {all} agents {:.0} MiB); the kernel holds {:.1} KiB more for each pair of sockets",
        (all_kib - few_kib) / more,
        few_kib / 1024.0,
        all_kib / 1024.0,
        (all_kernel - few_kernel) / more
    );
    Ok(())
}

/// Heartbeats acknowledged after their commit. The server writes the newest of each node, four times a second; each agent sends
/// as often, so that few are overtaken unwritten.
pub(crate) async fn heartbeats(options: &Options) -> anyhow::Result<()> {
    let behaviour = Behaviour { heartbeat: Some(OFTEN), reconnect: None };
    let (server, fleet) = connected(options, behaviour).await?;
    let (mut rates, mut written, mut cpu, mut own) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (before, begun) = (fleet.counts().heartbeats(), Instant::now());
        let acknowledgements = fleet.counts().acknowledgements();
        let (cpu_before, own_before) = (server.cpu_seconds()?, cpu_seconds("self")?);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let count = (fleet.counts().heartbeats() - before) as f64;
        let seconds = begun.elapsed().as_secs_f64();
        rates.push(count / seconds);
        written.push((fleet.counts().acknowledgements() - acknowledgements) as f64 / seconds);
        cpu.push((server.cpu_seconds()? - cpu_before) / count * 1e6);
        own.push((cpu_seconds("self")? - own_before) / count * 1e6);
    }
    println!(
        "heartbeats acknowledged after commit: median {:.0}/s from {} agents in {:.0} acknowledgements a second; CPU µs each: server {:.1}, load {:.1} ({} rounds of 5 s)",
        median(rates),
        options.agents,
        median(written),
        median(cpu),
        median(own),
        options.rounds
    );
    Ok(())
}

async fn send_to_all(requests: &mut RequestConnection) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let body = r#"{"DocumentName":"AWS-RunShellScript","Targets":[{"Key":"InstanceIds","Values":["*"]}],"MaxConcurrency":"100%","Parameters":{"commands":["true"]}}"#;
    let sent = requests.ask("SendCommand", body).await?;
    ensure!(sent.status == 200, "SendCommand: {}", String::from_utf8_lossy(&sent.body));
    Ok(begun.elapsed().as_secs_f64())
}

/// One command to all agents.
pub(crate) async fn broadcast(options: &Options) -> anyhow::Result<()> {
    let (server, fleet) = connected(options, idle_agents(None)).await?;
    let mut requests = server.requests().await?;
    let (mut answered, mut ordered, mut finished, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut orders, mut results) = (0, 0);
    for _ in 0..options.rounds {
        let (begun, cpu_before) = (Instant::now(), server.cpu_seconds()?);
        answered.push(send_to_all(&mut requests).await?);
        orders += options.agents;
        results += options.agents;
        fleet.counts().until_ordered(orders, BOUND).await?;
        ordered.push(fleet.counts().last_order().duration_since(begun).as_secs_f64());
        fleet.counts().until_finished(results, BOUND).await?;
        finished.push(begun.elapsed().as_secs_f64());
        cpu.push(server.cpu_seconds()? - cpu_before);
        // Not one of them twice.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (now, sent) = (fleet.counts().orders(), orders);
        orders = now.max(orders);
        if now > sent {
            println!("{} orders were said again", now - sent);
        }
    }
    println!(
        "broadcast to {} agents: SendCommand answered after {:.2} s, last order received after {:.2} s, all results acknowledged after {:.2} s; server CPU {:.2} s (medians of {})",
        options.agents,
        median(answered),
        median(ordered),
        median(finished),
        median(cpu),
        options.rounds
    );
    Ok(())
}

/// The server is killed and started again.
pub(crate) async fn restart(options: &Options) -> anyhow::Result<()> {
    for (what, reconnect) in [("at once", Reconnect::AtOnce), ("with the agent's own pauses", Reconnect::AsTheAgent)] {
        let (mut server, fleet) = connected(options, idle_agents(Some(reconnect))).await?;
        let (mut times, mut slowest, mut middle, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds.min(3) {
            let begun = server.kill_and_start().await?;
            let counts = fleet.counts();
            let mut latencies = Vec::new();
            let back = counts.until_connected(options.agents, BOUND);
            tokio::pin!(back);
            let mut requests = server.requests().await?;
            loop {
                tokio::select! {
                    back = &mut back => { back?; break }
                    asked = ask(&mut requests) => latencies.push(asked?),
                }
            }
            times.push(begun.elapsed().as_secs_f64());
            cpu.push(server.cpu_seconds()?);
            slowest.push(latencies.iter().copied().fold(0.0, f64::max));
            middle.push(median(latencies));
        }
        println!(
            "restart under {} agents that call {what}: all connected after {:.1} s; meanwhile a request took {:.0} ms (median), {:.0} ms (slowest); server CPU {:.1} s (medians of {})",
            options.agents,
            median(times),
            median(middle) * 1e3,
            median(slowest) * 1e3,
            median(cpu),
            options.rounds.min(3)
        );
    }
    Ok(())
}

/// One request, after a pause; how long it took.
async fn ask(requests: &mut RequestConnection) -> anyhow::Result<f64> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    let answer = requests.ask("DescribeInstanceInformation", r#"{"MaxResults":10}"#).await.context("a request")?;
    ensure!(answer.status == 200, "DescribeInstanceInformation: {}", answer.status);
    Ok(begun.elapsed().as_secs_f64())
}
