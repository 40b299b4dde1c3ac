//! Decisions made on old snapshots are refused, members of one batch do not disturb each other, logs have no gaps.

use crate::rows::{command, invocation};
use crate::support::{Lab, at, audit, event, node, node_id, on_both, scope, scope_of, writes};
use changes::{Changes, Revision};
use commands::{Invocation, invocation_aggregate};
use nodes::node_aggregate;
use std::collections::BTreeSet;
use store::{ApplyError, AuditQuery, IdempotencyRow, InvocationQuery, RecordWrite, Write};

fn renamed(number: u64, name: &str) -> Write {
    let mut row = node(number);
    row.name = name.into();
    nodes::Write::NodePut(Box::new(row)).into()
}

fn update(number: u64, revision: i64, name: &str) -> Changes<Write> {
    let mut changes = writes([renamed(number, name)]);
    changes.update(node_aggregate(&node_id(number)), Revision(revision));
    changes.events.push(event("node.renamed", name));
    changes.audit.push(audit("test:Rename", "key/A", name, 1));
    changes
}

fn token(token: &str) -> RecordWrite {
    RecordWrite::IdempotencyPut(IdempotencyRow {
        operation: "SendCommand".into(),
        token: token.into(),
        request_digest: "d".into(),
        result: serde_json::json!({ "first": true }),
        at: at(0),
    })
}

on_both! {
    async fn a_decision_on_an_old_snapshot_conflicts_and_leaves_nothing(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        store.apply(&scope, update(1, 0, "one")).await.unwrap();
        let read = store.node_get(&scope, &node_id(1)).await.unwrap();
        assert_eq!(read.revision, Revision(1));
        store.apply(&scope, update(1, 1, "two")).await.unwrap();

        match store.apply(&scope, update(1, 1, "late")).await {
            Err(ApplyError::Conflict { aggregate, expected, found }) => {
                assert_eq!((aggregate, expected, found), (node_aggregate(&node_id(1)), Revision(1), Revision(2)));
            }
            other => panic!("{other:?}"),
        }
        let read = store.node_get(&scope, &node_id(1)).await.unwrap();
        assert_eq!((read.revision, read.row.unwrap().name.as_str()), (Revision(2), "two"));
        let events: Vec<_> = store.event_list(&scope, 0, 10).await.unwrap().into_iter().map(|e| (e.seq, e.event.subject)).collect();
        assert_eq!(events, [(1, "one".to_owned()), (2, "two".to_owned())]);
        assert_eq!(store.audit_list(&scope, &AuditQuery::all(10)).await.unwrap().len(), 2);
    }
}

on_both! {
    async fn what_was_only_read_must_still_hold(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let reading = |revision| {
            let mut changes = writes([renamed(2, "depends on one")]);
            changes.read.push((node_aggregate(&node_id(1)), Revision(revision)));
            changes
        };
        // Read as absent, twice: reading alone does not change it.
        store.apply(&scope, reading(0)).await.unwrap();
        store.apply(&scope, reading(0)).await.unwrap();
        store.apply(&scope, update(1, 0, "one")).await.unwrap();
        let refused = store.apply(&scope, reading(0)).await.unwrap_err();
        assert!(matches!(refused, ApplyError::Conflict { found: Revision(1), .. }), "{refused:?}");
        store.apply(&scope, reading(1)).await.unwrap();
    }
}

on_both! {
    async fn a_blind_touch_makes_older_decisions_conflict(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        store.apply(&scope, update(1, 0, "one")).await.unwrap();
        let mut changes = Changes::new();
        changes.touched.push(node_aggregate(&node_id(1)));
        changes.events.push(event("node.touched", "one"));
        store.apply(&scope, changes).await.unwrap();
        assert!(matches!(store.apply(&scope, update(1, 1, "late")).await, Err(ApplyError::Conflict { .. })));
        assert_eq!(store.revision_get(&scope, &node_aggregate(&node_id(1))).await.unwrap(), Revision(2));
        assert_eq!(store.revision_get(&scope, &node_aggregate(&node_id(9))).await.unwrap(), Revision(0));
    }
}

on_both! {
    async fn of_many_decisions_on_one_snapshot_exactly_one_applies(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        for round in 0..5 {
            let tries = (0..12).map(|n| {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::spawn(async move { store.apply(&scope, update(1, round, &format!("{round}/{n}"))).await })
            });
            let mut applied = 0;
            for task in tries.collect::<Vec<_>>() {
                match task.await.unwrap() {
                    Ok(_) => applied += 1,
                    Err(ApplyError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(applied, 1, "in round {round}");
        }
    }
}

on_both! {
    async fn a_taken_natural_key_is_told_and_what_was_first_stays(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        store.apply(&scope, writes([token("t")])).await.unwrap();
        let both = writes([renamed(1, "must not stay"), token("t").into()]);
        match store.apply(&scope, both).await {
            Err(ApplyError::Duplicate { kind, id }) => assert_eq!((kind, id.as_str()), ("client token", "t of SendCommand")),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.node_get(&scope, &node_id(1)).await.unwrap().row, None);
        assert!(store.idempotency_get(&scope, "SendCommand", "t").await.unwrap().is_some());
    }
}

on_both! {
    async fn a_failing_member_takes_no_other_with_it(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        store.apply(&scope, writes([token("taken")])).await.unwrap();
        // All at once, so that on SQLite they share transactions.
        let tasks: Vec<_> = (0..200_u64)
            .map(|n| {
                let (store, scope) = (store.clone(), scope.clone());
                let changes = match n % 4 {
                    0 => writes([renamed(n, "gone"), token("taken").into()]),
                    1 if n % 8 == 1 => update(n, 7, "never read at 7"),
                    1 => {
                        // The first of its aggregates is fine, so its revision must be taken back.
                        let mut changes = update(n, 0, "half");
                        changes.read.push((changes::Aggregate::new("zebra", "1"), Revision(3)));
                        changes
                    }
                    _ => update(n, 0, "kept"),
                };
                tokio::spawn(async move { (n, store.apply(&scope, changes).await) })
            })
            .collect();
        for task in tasks {
            let (n, outcome) = task.await.unwrap();
            match n % 4 {
                0 => assert!(matches!(outcome, Err(ApplyError::Duplicate { .. })), "{n}: {outcome:?}"),
                1 => assert!(matches!(outcome, Err(ApplyError::Conflict { .. })), "{n}: {outcome:?}"),
                _ => assert!(outcome.is_ok(), "{n}: {outcome:?}"),
            }
            let row = store.node_get(&scope, &node_id(n)).await.unwrap();
            assert_eq!(row.row.is_some(), n % 4 > 1, "{n}");
            assert_eq!(row.revision, Revision(i64::from(n % 4 > 1)), "{n}");
        }
    }
}

on_both! {
    async fn a_follower_of_the_log_misses_nothing_while_many_write(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let elsewhere = scope_of("000000000000", "eu-west-1");
        store.apply(&elsewhere, update(1, 0, "elsewhere")).await.unwrap();
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let (store, scope) = (store.clone(), scope.clone());
                tokio::spawn(async move {
                    for n in 0..25_u64 {
                        // Every third conflicts; its numbers must be given again.
                        let number = 1000 * writer + n;
                        let outcome = store.apply(&scope, update(number, i64::from(n % 3 == 0), "x")).await;
                        assert_eq!(outcome.is_err(), n % 3 == 0);
                    }
                })
            })
            .collect();
        let expected = 8 * 16;
        let mut seen = 0;
        while seen < expected {
            for entry in store.event_list(&scope, seen, 7).await.unwrap() {
                assert_eq!(entry.seq, seen + 1, "a number was skipped or came late");
                seen = entry.seq;
            }
            tokio::task::yield_now().await;
            if writers.iter().all(|w| w.is_finished()) {
                let rest = store.event_list(&scope, 0, 1000).await.unwrap();
                assert_eq!(rest.len() as i64, expected);
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let audit: BTreeSet<i64> =
            store.audit_list(&scope, &AuditQuery::all(1000)).await.unwrap().into_iter().map(|entry| entry.seq).collect();
        assert_eq!(audit, (1..=expected).collect());
        assert_eq!(store.event_list(&elsewhere, 0, 10).await.unwrap()[0].seq, 1);
    }
}

on_both! {
    async fn applying_tells_the_places_in_the_logs(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let applied = store.apply(&scope, update(1, 0, "a")).await.unwrap();
        assert_eq!((applied.events, applied.audit), (1..2, 1..2));
        let mut changes = update(1, 1, "b");
        changes.events.push(event("second", "b"));
        let applied = store.apply(&scope, changes).await.unwrap();
        assert_eq!((applied.events, applied.audit), (2..4, 2..3));
        let applied = store.apply(&scope, writes([renamed(1, "c")])).await.unwrap();
        assert!(applied.events.is_empty() && applied.audit.is_empty());
    }
}

on_both! {
    async fn deadlocks_between_decisions_are_resolved(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let tasks: Vec<_> = (0..40_u64)
            .map(|n| {
                let (store, scope) = (store.clone(), scope.clone());
                // The same rows in both orders, without revisions that would sort them.
                let order: Vec<u64> = if n % 2 == 0 { (0..20).collect() } else { (0..20).rev().collect() };
                let changes = writes(order.into_iter().map(|number| renamed(number, &format!("by {n}"))));
                tokio::spawn(async move { store.apply(&scope, changes).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let names: BTreeSet<String> = {
            let mut names = BTreeSet::new();
            for number in 0..20 {
                names.insert(store.node_get(&scope, &node_id(number)).await.unwrap().row.unwrap().name);
            }
            names
        };
        assert_eq!(names.len(), 1, "one of them wrote last, and all its rows: {names:?}");
    }
}

on_both! {
    async fn a_decision_about_hundreds_is_one_decision(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let sent = command(1, 1);
        let all = |revision: &dyn Fn(u64) -> i64, trace: &str| {
            let mut changes: Changes<Write> = Changes::new();
            for number in 1..=300 {
                let row = Invocation { trace: trace.into(), ..invocation(&sent, number) };
                changes.update(invocation_aggregate(&row.command_id, &row.node_id), Revision(revision(number)));
                changes.writes.push(commands::Write::InvocationPut(Box::new(row)).into());
            }
            changes
        };
        let traces = async || -> BTreeSet<(i64, String)> {
            let rows = store.invocation_list(&scope, &InvocationQuery::all(1000)).await.unwrap();
            assert_eq!(rows.len(), 300);
            rows.into_iter().map(|found| (found.revision.0, found.row.trace)).collect()
        };
        store.apply(&scope, all(&|_| 0, "sent")).await.unwrap();
        assert_eq!(traces().await, BTreeSet::from([(1, "sent".to_owned())]));
        // One of them is not what it was.
        let refused = store.apply(&scope, all(&|number| if number == 299 { 0 } else { 1 }, "late")).await.unwrap_err();
        assert!(matches!(refused, ApplyError::Conflict { expected: Revision(0), found: Revision(1), .. }), "{refused:?}");
        assert_eq!(traces().await, BTreeSet::from([(1, "sent".to_owned())]));
        // The last row of an invocation is what counts.
        let mut twice = all(&|_| 1, "first");
        twice.append(all(&|_| 1, "last"));
        store.apply(&scope, twice).await.unwrap();
        assert_eq!(traces().await, BTreeSet::from([(2, "last".to_owned())]));
    }
}
