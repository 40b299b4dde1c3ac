//! Signed requests a second, over connections that are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::process::{Server, cpu_seconds};
use crate::{Options, median};

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 64;
/// How long each round lasts.
const ROUND: Duration = Duration::from_secs(4);
/// Nodes that the requests ask about.
const NODES: usize = 50;

pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let server = Server::start(options, false).await?;
    let fleet = server.fleet(NODES).await?;
    let node = fleet.registrations().first().map(|node| node.node_id().to_string()).unwrap_or_default();
    let who = format!(r#"{{"Filters":[{{"Key":"InstanceIds","Values":["{node}"]}}]}}"#);
    let tag = format!(
        r#"{{"ResourceType":"ManagedInstance","ResourceId":"{node}","Tags":[{{"Key":"bench","Value":"VALUE"}}]}}"#
    );
    let send = format!(
        r#"{{"DocumentName":"AWS-RunShellScript","InstanceIds":["{node}"],"Parameters":{{"commands":["true"]}}}}"#
    );
    for (what, operation, body) in [
        ("read  (DescribeInstanceInformation, one node)", "DescribeInstanceInformation", &who),
        ("read  (DescribeInstanceInformation, 50 nodes)", "DescribeInstanceInformation", &"{}".to_owned()),
        ("write (AddTagsToResource)", "AddTagsToResource", &tag),
        ("write (SendCommand to one node)", "SendCommand", &send),
    ] {
        let (mut rates, mut server_cpu, mut own_cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let (before, own_before) = (server.cpu_seconds()?, cpu_seconds("self")?);
            let (count, seconds) = round(&server, operation, body).await?;
            rates.push(count / seconds);
            server_cpu.push((server.cpu_seconds()? - before) / count * 1e6);
            own_cpu.push((cpu_seconds("self")? - own_before) / count * 1e6);
        }
        println!(
            "signed requests, {what}: median {:.0}/s; CPU µs a request: server {:.0}, load {:.0} ({} rounds of {} s, {CONNECTIONS} connections)",
            median(rates),
            median(server_cpu),
            median(own_cpu),
            options.rounds,
            ROUND.as_secs()
        );
    }
    Ok(())
}

async fn round(server: &Server<'_>, operation: &'static str, body: &str) -> anyhow::Result<(f64, f64)> {
    let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = server.requests().await?;
        let (over, count, body) = (Arc::clone(&over), Arc::clone(&count), body.to_owned());
        asking.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Another value each time: a write that changes nothing would cost less.
                let number = count.fetch_add(1, Ordering::Relaxed);
                let answer = connection.ask(operation, &body.replace("VALUE", &number.to_string())).await?;
                let throttled = answer.body.windows(10).any(|part| part == b"Throttling");
                ensure!(
                    answer.status == 200 || throttled,
                    "{operation}: {} {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body)
                );
                if throttled {
                    count.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok(())
        });
    }
    tokio::time::sleep(ROUND).await;
    over.store(true, Ordering::Relaxed);
    while let Some(done) = asking.join_next().await {
        done??;
    }
    Ok((count.load(Ordering::Relaxed) as f64, begun.elapsed().as_secs_f64()))
}
