//! Figures, not verdicts: `cargo test --release -p store --test store -- --ignored --nocapture throughput`.

use crate::support::{Lab, event, node, node_id, run, scope, writes};
use changes::Revision;
use std::time::Instant;

/// How many decisions, and by how many callers at once.
const DECISIONS: u64 = 20_000;

#[test]
#[ignore = "measures; nothing can fail"]
fn throughput_of_apply() {
    run(async {
        for callers in [1_u64, 16, 256] {
            let lab = Lab::sqlite().await;
            let each = DECISIONS / callers / if callers == 1 { 10 } else { 1 };
            let start = Instant::now();
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let store = lab.store.clone();
                    tokio::spawn(async move {
                        for n in 0..each {
                            let number = caller * 1_000_000 + n;
                            let mut changes = writes([nodes::Write::NodePut(Box::new(node(number)))]);
                            changes.update(nodes::node_aggregate(&node_id(number)), Revision(0));
                            changes.events.push(event("written", "x"));
                            store.apply(&scope(), changes).await.unwrap();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let rate = (each * callers) as f64 / start.elapsed().as_secs_f64();
            println!("{callers} callers: {rate:.0} durable decisions a second (revision, row, event each)");
            lab.end().await;
        }
    });
}
