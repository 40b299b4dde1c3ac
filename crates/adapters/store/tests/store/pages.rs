//! Pages cover everything exactly once, whatever their size, and filters hold.

use crate::rows::{activation, baseline, command, invocation};
use crate::support::{Lab, at, audit, node, node_id, on_both, scope, scope_of, writes};
use changes::Changes;
use commands::{Command, CommandState, EndState, Invocation, InvocationState};
use nodes::NodeState;
use std::collections::BTreeSet;
use store::{AuditOutcome, AuditQuery, CommandKey, CommandQuery, InvocationKey, InvocationQuery, NodeQuery, Order};

on_both! {
    async fn nodes_are_paged_by_id(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let rows = (0..23_u64).map(|n| {
            let mut row = node(n);
            row.state = if n % 5 == 0 { NodeState::Deregistered } else { NodeState::Registered };
            nodes::Write::NodePut(Box::new(row))
        });
        store.apply(&scope, writes(rows)).await.unwrap();
        let elsewhere = writes((100..105).map(|n| nodes::Write::NodePut(Box::new(node(n)))));
        store.apply(&scope_of("000000000000", "eu-west-1"), elsewhere).await.unwrap();
        for limit in [1, 4, 18, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let query = NodeQuery { deregistered: false, node_ids: None, after: after.clone(), limit };
                let page = store.node_list(&scope, &query).await.unwrap();
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                after = Some(last.node.row.node_id.clone());
                seen.extend(page.into_iter().map(|l| l.node.row.node_id));
            }
            assert_eq!(seen, (0..23).filter(|n| n % 5 != 0).map(node_id).collect::<Vec<_>>());
        }
        let some = NodeQuery { deregistered: true, node_ids: Some(vec![node_id(5), node_id(6), node_id(100)]), after: None, limit: 10 };
        assert_eq!(store.node_list(&scope, &some).await.unwrap().len(), 2);
        let none = NodeQuery { node_ids: Some(vec![]), ..some };
        assert!(store.node_list(&scope, &none).await.unwrap().is_empty());
    }
}

on_both! {
    async fn activations_and_baselines_are_paged_by_id(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        store.apply(&scope, writes((0..7).map(|n| nodes::Write::ActivationPut(Box::new(activation(n)))))).await.unwrap();
        store.apply(&scope, writes((0..7).map(|n| patching::Write::BaselinePut(Box::new(baseline(n)))))).await.unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        while let Some(row) = store.activation_list(&scope, after.as_ref(), 1).await.unwrap().pop() {
            after = Some(row.row.id.clone());
            seen.push(row.row.id);
        }
        assert_eq!(seen, (0..7).map(|n| activation(n).id).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        let (mut seen, mut after) = (Vec::new(), None);
        while let Some(row) = store.baseline_list(&scope, None, after.as_ref(), 1).await.unwrap().pop() {
            after = Some(row.row.id.clone());
            seen.push(row.row.id);
        }
        assert_eq!(seen, (0..7).map(|n| baseline(n).id).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    }
}

/// Twelve commands, four to each second, each on three nodes.
async fn commands_sent(lab: &Lab) -> Vec<Command> {
    let states = [CommandState::Pending, CommandState::InProgress, CommandState::Success, CommandState::Cancelled];
    let rows: Vec<Command> =
        (0..12_u64).map(|n| Command { state: states[n as usize % 4], ..command(n, n as i64 / 4) }).collect();
    let mut changes = Changes::new();
    for (index, row) in rows.iter().enumerate() {
        changes.append(writes([commands::Write::CommandPut(Box::new(row.clone()))]));
        for n in 0..3 {
            let state = if n == 0 { InvocationState::Ended(EndState::Success) } else { InvocationState::PENDING };
            let row = Invocation { state, ..invocation(row, index as u64 + n) };
            changes.append(writes([commands::Write::InvocationPut(Box::new(row))]));
        }
    }
    lab.store.apply(&scope(), changes).await.unwrap();
    rows
}

on_both! {
    async fn commands_are_paged_newest_first(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let mut rows = commands_sent(lab).await;
        rows.sort_by(|a, b| (b.requested_at, &b.command_id).cmp(&(a.requested_at, &a.command_id)));
        for limit in [1, 3, 5, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let query = CommandQuery { after, ..CommandQuery::all(limit) };
                let page = store.command_list(&scope, &query).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(CommandKey { requested_at: last.row.requested_at, command_id: last.row.command_id.clone() });
                seen.extend(page.into_iter().map(|v| v.row));
            }
            assert_eq!(seen, rows, "by {limit}");
        }
        let count = async |query: CommandQuery| store.command_list(&scope, &query).await.unwrap().len();
        let all = CommandQuery::all(100);
        assert_eq!(count(CommandQuery { requested_after: Some(at(0)), ..all.clone() }).await, 8);
        assert_eq!(count(CommandQuery { requested_before: Some(at(1)), ..all.clone() }).await, 4);
        assert_eq!(count(CommandQuery { states: vec![CommandState::Success, CommandState::Pending], ..all.clone() }).await, 6);
        assert_eq!(count(CommandQuery { node_id: Some(node_id(0)), ..all.clone() }).await, 1);
        assert_eq!(count(CommandQuery { node_id: Some(node_id(2)), ..all.clone() }).await, 3);
        assert_eq!(count(CommandQuery { command_id: Some(rows[3].command_id.clone()), ..all.clone() }).await, 1);
        let name = identifiers::DocumentName::parse("AWS-RunShellScript").unwrap();
        assert_eq!(count(CommandQuery { document_name: Some(name), ..all }).await, 0);
        let open = store.command_list_open(&scope, None, 100).await.unwrap();
        assert_eq!(open.len(), 6);
        assert!(open.iter().all(|v| !v.row.state.is_ended()));
    }
}

on_both! {
    async fn invocations_are_paged_newest_first(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let rows = commands_sent(lab).await;
        for limit in [1, 7, 100] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = store.invocation_list(&scope, &InvocationQuery { after, ..InvocationQuery::all(limit) }).await.unwrap();
                let Some(last) = page.last().map(|v| &v.row) else { break };
                after = Some(InvocationKey { requested_at: last.requested_at, command_id: last.command_id.clone(), node_id: last.node_id.clone() });
                seen.extend(page.into_iter().map(|v| (v.row.requested_at, v.row.command_id, v.row.node_id)));
            }
            let distinct: BTreeSet<_> = seen.iter().cloned().collect();
            assert_eq!((seen.len(), distinct.len()), (36, 36), "by {limit}");
            assert!(seen.is_sorted_by(|a, b| a > b), "by {limit}");
        }
        let list = async |query: InvocationQuery| store.invocation_list(&scope, &query).await.unwrap();
        let all = InvocationQuery::all(100);
        assert_eq!(list(InvocationQuery { command_id: Some(rows[0].command_id.clone()), ..all.clone() }).await.len(), 3);
        assert_eq!(list(InvocationQuery { node_ids: Some(vec![node_id(0), node_id(1)]), ..all.clone() }).await.len(), 3);
        assert_eq!(list(InvocationQuery { states: vec![InvocationState::PENDING], ..all.clone() }).await.len(), 24);
        assert_eq!(list(InvocationQuery { requested_after: Some(at(1)), ..all }).await.len(), 12);
        assert_eq!(store.invocation_list_open(&scope, None, None, 100).await.unwrap().len(), 24);
        assert_eq!(store.invocation_list_open(&scope, Some(vec![node_id(1)]), None, 100).await.unwrap().len(), 1);
    }
}

on_both! {
    async fn audit_records_are_paged_in_both_orders_and_filtered(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        for n in 0..12 {
            let mut changes = Changes::new();
            changes.audit.push(audit(["a:One", "a:Two"][n % 2], ["key/A", "key/B", "system"][n % 3], &format!("r{}", n % 4), n as i64));
            store.apply(&scope, changes).await.unwrap();
        }
        for (order, expected) in [(Order::OldestFirst, (1..=12).collect::<Vec<i64>>()), (Order::NewestFirst, (1..=12).rev().collect())] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = store.audit_list(&scope, &AuditQuery { order, after, ..AuditQuery::all(5) }).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some((last.record.at, last.seq));
                seen.extend(page.into_iter().map(|entry| entry.seq));
            }
            assert_eq!(seen, expected);
        }
        let count = async |query: AuditQuery| store.audit_list(&scope, &query).await.unwrap().len();
        let all = AuditQuery::all(100);
        assert_eq!(count(AuditQuery { action: Some("a:One".into()), ..all.clone() }).await, 6);
        assert_eq!(count(AuditQuery { principal: Some("key/A".into()), ..all.clone() }).await, 4);
        assert_eq!(count(AuditQuery { resource: Some("r1".into()), action: Some("a:Two".into()), ..all.clone() }).await, 3);
        assert_eq!(count(AuditQuery { from: Some(at(3)), until: Some(at(5)), ..all.clone() }).await, 2);
        assert_eq!(count(AuditQuery { request_id: Some("request-7".into()), ..all.clone() }).await, 1);
        assert_eq!(count(AuditQuery { outcome: Some(AuditOutcome::Done), ..all.clone() }).await, 12);
        assert_eq!(count(AuditQuery { outcome: Some(AuditOutcome::Refused), ..all.clone() }).await, 0);
        assert_eq!(count(AuditQuery { source_address: Some("10.9.9.9".into()), ..all.clone() }).await, 0);
        assert_eq!(count(AuditQuery { principal: Some("' OR 1=1 --".into()), ..all }).await, 0);
    }
}
