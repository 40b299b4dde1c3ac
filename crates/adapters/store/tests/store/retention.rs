//! What is past its time goes, in bounded batches; what is current or unfinished stays.

use crate::inventory::{apply, changes, delta, inventory, whole};
use crate::patch_reports::{all_rows, report, row};
use crate::rows::{command, invocation};
use crate::support::{Lab, at, event, node, node_id, on_both, scope, scope_of, writes};
use changes::Changes;
use commands::{Command, CommandState, EndState, InvocationState, StepOutput, Write as CommandWrite};
use identifiers::Timestamp;
use nodes::NodeState;
use patching::PatchState;
use store::{InvocationQuery, RecordKind, RecordWrite, Store, Write};

async fn remove_once(store: &Store, kind: RecordKind, before: Timestamp) {
    store.apply(&scope(), writes([RecordWrite::PastRemove { kind, before }])).await.unwrap();
    let source = store.backup_source().await.unwrap().check().await.unwrap();
    assert_eq!(source, [], "half of what is removed leaves the rest in order");
}

/// Removes until nothing is left to remove; how many batches that took.
async fn remove_all(store: &Store, kind: RecordKind, before: Timestamp) -> usize {
    let mut batches = 0;
    while store.past_count(&scope(), kind, before, 1000).await.unwrap() > 0 {
        remove_once(store, kind, before).await;
        batches += 1;
        assert!(batches < 20, "it ends");
    }
    batches
}

/// A command with so many invocations and an output of the first.
async fn put_command(store: &Store, number: u64, second: i64, finished_at: Option<Timestamp>, count: u64) -> Command {
    let mut sent = command(number, second);
    if let Some(at) = finished_at {
        sent.state = CommandState::Success;
        sent.finished_at = Some(at);
    }
    let mut all: Vec<Write> = vec![CommandWrite::CommandPut(Box::new(sent.clone())).into()];
    for node in 0..count {
        let mut row = invocation(&sent, node);
        row.job_id = identifiers::JobId::generate(&mut identifiers::SeededIds::new(number * 10_000 + node));
        if finished_at.is_some() {
            row.state = InvocationState::Ended(EndState::Success);
            row.finished_at = finished_at;
        }
        all.push(CommandWrite::InvocationPut(Box::new(row)).into());
    }
    let output = StepOutput {
        command_id: sent.command_id.clone(),
        node_id: node_id(0),
        step: "PatchLinux".into(),
        stdout: "out".into(),
        stderr: String::new(),
        stdout_truncated: false,
        stderr_truncated: false,
    };
    all.push(CommandWrite::StepOutputPut(Box::new(output)).into());
    let mut changes: Changes<Write> = writes(all);
    changes.touched.push(commands::command_aggregate(&sent.command_id));
    store.apply(&scope(), changes).await.unwrap();
    sent
}

async fn invocations(store: &Store, command: &Command) -> usize {
    let query = InvocationQuery { command_id: Some(command.command_id.clone()), ..InvocationQuery::all(10_000) };
    store.invocation_list(&scope(), &query).await.unwrap().len()
}

on_both! {
    async fn ended_commands_go_in_batches_and_others_stay(lab: &Lab) {
        let store = &lab.store;
        let old = put_command(store, 1, 0, Some(at(100)), 700).await;
        let unfinished = put_command(store, 2, 0, None, 3).await;
        let late = put_command(store, 3, 0, Some(at(6000)), 3).await;
        let before = at(5000);
        assert_eq!(store.past_count(&scope(), RecordKind::Commands, before, 10_000).await.unwrap(), 701);
        assert_eq!(store.past_count(&scope_of("123456789012", "x"), RecordKind::Commands, before, 10).await.unwrap(), 0);
        remove_once(store, RecordKind::Commands, before).await;
        assert_eq!(invocations(store, &old).await, 200, "a batch and no more");
        assert!(remove_all(store, RecordKind::Commands, before).await <= 2);
        let left = async |command: &Command| store.command_get(&scope(), &command.command_id).await.unwrap();
        assert!(left(&old).await.row.is_none());
        assert_eq!(left(&old).await.revision.0, 0);
        assert!(store.step_output_list(&scope(), &old.command_id, &node_id(0)).await.unwrap().is_empty());
        for kept in [&unfinished, &late] {
            assert!(left(kept).await.row.is_some());
            assert_eq!(invocations(store, kept).await, 3);
            assert_eq!(store.step_output_list(&scope(), &kept.command_id, &node_id(0)).await.unwrap().len(), 1);
        }
    }
}

on_both! {
    async fn history_goes_and_the_current_view_stays(lab: &Lab) {
        let store = &lab.store;
        store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(node(1)))])).await.unwrap();
        report(store, 1, 10, &[row("bash", PatchState::Missing), row("curl", PatchState::Missing)]).await;
        report(store, 2, 20, &[row("bash", PatchState::Installed)]).await;
        let (first, second) = (inventory(&[("bash", "1"), ("curl", "1")]), inventory(&[("bash", "2")]));
        apply(store, whole(&node_id(1), at(10), &first)).await.unwrap();
        apply(store, delta(&node_id(1), at(20), &first, &second)).await.unwrap();
        let rows = all_rows(store).await;
        let changed = changes(store, &node_id(1)).await.len();
        assert!(changed > 0);
        for kind in [RecordKind::PatchHistory, RecordKind::PackageHistory] {
            assert_eq!(remove_all(store, kind, at(5)).await, 0, "nothing is so old");
            assert_eq!(remove_all(store, kind, at(1000)).await, 1);
            assert_eq!(remove_all(store, kind, at(1000)).await, 0);
        }
        assert_eq!(all_rows(store).await, rows);
        assert!(store.patch_summary_get(&scope(), &node_id(1)).await.unwrap().row.is_some());
        assert_eq!(changes(store, &node_id(1)).await, []);
        // The next delta goes on from what is present.
        apply(store, delta(&node_id(1), at(2000), &second, &first)).await.unwrap();
        assert_eq!(changes(store, &node_id(1)).await.len(), 2);
    }
}

on_both! {
    async fn events_go_and_later_ones_keep_their_numbers(lab: &Lab) {
        let store = &lab.store;
        let mut changes: Changes<Write> = Changes::new();
        for second in 0..1200 {
            let mut event = event("kind", "subject");
            event.at = at(second);
            changes.events.push(event);
        }
        store.apply(&scope(), changes).await.unwrap();
        assert_eq!(remove_all(store, RecordKind::Events, at(1100)).await, 3);
        let left = store.event_list(&scope(), 0, 1000).await.unwrap();
        assert_eq!((left.len(), left[0].seq), (100, 1101));
    }
}

on_both! {
    async fn a_deregistered_node_goes_with_all_that_is_known_of_it(lab: &Lab) {
        let store = &lab.store;
        for number in 1..=8 {
            let mut row = node(number);
            if number != 2 {
                row.state = NodeState::Deregistered;
                row.deregistered_at = Some(at(if number == 1 { 6000 } else { 100 }));
            }
            store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(row))])).await.unwrap();
            apply(store, whole(&node_id(number), at(10), &inventory(&[("bash", "1")]))).await.unwrap();
        }
        assert_eq!(store.past_count(&scope(), RecordKind::DeregisteredNodes, at(5000), 100).await.unwrap(), 6);
        assert_eq!(remove_all(store, RecordKind::DeregisteredNodes, at(5000)).await, 2);
        for number in 1..=8 {
            let there = store.node_get(&scope(), &node_id(number)).await.unwrap().row.is_some();
            assert_eq!(there, number <= 2, "{number}");
            let head = store.inventory_head_get(&scope(), &node_id(number)).await.unwrap().is_some();
            assert_eq!(head, number <= 2, "{number}");
        }
    }
}
