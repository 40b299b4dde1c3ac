//! How many decisions a second a database takes: `decisions_per_second URL [TASKS] [DECISIONS]`. Each decision reads and
//! raises one revision, replaces one row, and appends one event and one audit record, and is durable before the next of
//! its task begins.

use changes::{Aggregate, AuditRecord, Changes, Event, Revision};
use identifiers::{AccountId, Region, Scope, Timestamp};
use std::time::Instant;
use store::{RecordWrite, Store, StoreUrl, Write};

fn decision(task: usize, number: i64) -> Changes<Write> {
    let name = format!("task-{task}");
    let mut changes: Changes<Write> = Changes::new();
    changes.update(Aggregate::new("bench", &name), Revision(number));
    changes.writes.push(RecordWrite::MetaPut { name: name.clone(), value: number.to_string() }.into());
    changes.events.push(Event {
        at: Timestamp::from_seconds(number),
        kind: "bench.decided".to_owned(),
        subject: name,
        body: serde_json::json!({ "number": number }),
    });
    changes.audit.push(AuditRecord {
        at: Timestamp::from_seconds(number),
        request_id: "bench".to_owned(),
        principal: "bench".to_owned(),
        source_address: String::new(),
        action: "bench:Decide".to_owned(),
        resource: "bench".to_owned(),
        outcome: "done".to_owned(),
        before: serde_json::Value::Null,
        after: serde_json::Value::Null,
    });
    changes
}

#[allow(clippy::print_stdout)] // Its figure is what it is for.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give the address of an empty database")?;
    let tasks: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let decisions: i64 = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let store = Store::open(&StoreUrl::parse(&url)?).await?;
    let scope = Scope { account: AccountId::parse("000000000000")?, region: Region::parse("us-east-1")? };
    let began = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (store, scope) = (store.clone(), scope.clone());
            tokio::spawn(async move {
                for number in 0..decisions {
                    store.apply(&scope, decision(task, number)).await?;
                }
                Ok::<(), store::ApplyError>(())
            })
        })
        .collect();
    for task in running {
        task.await??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(tasks)?) * f64::from(i32::try_from(decisions)?);
    println!("{tasks} tasks: {count:.0} decisions in {seconds:.2} s, {:.0} a second", count / seconds);
    store.close().await;
    Ok(())
}
