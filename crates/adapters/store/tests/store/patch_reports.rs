//! Reports are appended, only what changed is kept, and the current view follows in the same transaction.

use crate::support::{Lab, at, node, node_id, on_both, scope, writes};
use changes::{Changes, Revision, Versioned};
use identifiers::{BaselineId, CommandId, NodeId, SeededIds, Timestamp};
use patching::{
    ComplianceLevel, PatchOperation, PatchReport, PatchRow, PatchState, PatchSummary, PreviousReport, Reason,
    RebootOption, record_report,
};
use std::collections::BTreeMap;
use store::{ApplyError, NodeQuery, Order, PatchQuery, PatchStateChanged, Store, Write};

fn command(number: u64) -> CommandId {
    CommandId::generate(&mut SeededIds::new(number))
}

fn summary(operation: PatchOperation, ended_at: Timestamp, rows: &[PatchRow]) -> PatchSummary {
    let count = |state| rows.iter().filter(|row| row.state == state).count() as u32;
    PatchSummary {
        notes: Vec::new(),
        operation,
        baseline_id: BaselineId::parse("pb-00112233445566778").unwrap(),
        patch_group: "web".into(),
        snapshot_id: String::new(),
        reboot_option: RebootOption::ALL[0],
        started_at: at(0),
        ended_at,
        last_no_reboot_install_at: None,
        installed_count: count(PatchState::Installed),
        installed_other_count: count(PatchState::InstalledOther),
        installed_pending_reboot_count: 0,
        installed_rejected_count: 0,
        missing_count: count(PatchState::Missing),
        failed_count: count(PatchState::Failed),
        critical_non_compliant_count: 0,
        security_non_compliant_count: 0,
        other_non_compliant_count: 0,
    }
}

pub(crate) fn row(name: &str, state: PatchState) -> PatchRow {
    PatchRow {
        name: name.into(),
        architecture: "amd64".into(),
        version: "1:2.0-1~deb12u1".into(),
        classification: if state == PatchState::Missing { "Security".into() } else { String::new() },
        severity: String::new(),
        state,
        installed_at: at(5),
        compliance_level: ComplianceLevel::Critical,
        reason: Reason::ApprovedByRule { rule: 3 },
        installed_version: "1:1.0-1".into(),
        available_version: Some("1:2.0-1~deb12u1".into()),
    }
}

async fn previous(store: &Store, node: &NodeId) -> Versioned<Option<PreviousReport>> {
    let last = store.patch_summary_get(&scope(), node).await.unwrap();
    let rows = store.patch_list(&scope(), node, &PatchQuery::all(u32::MAX)).await.unwrap();
    Versioned::new(last.revision, last.row.map(|last| PreviousReport { summary: last.summary, rows }))
}

/// Records a run as the server does: read, decide, apply.
pub(crate) async fn report(store: &Store, number: u64, second: i64, rows: &[PatchRow]) -> Changes<Write> {
    let node = node_id(1);
    let report =
        PatchReport { summary: summary(PatchOperation::Scan, at(second), rows), rows: rows.to_vec(), notes: vec![] };
    let changes = record_report(&node, &command(number), &previous(store, &node).await, &report).map(Write::from);
    store.apply(&scope(), changes.clone()).await.unwrap();
    changes
}

pub(crate) async fn all_rows(store: &Store) -> Vec<PatchRow> {
    store.patch_list(&scope(), &node_id(1), &PatchQuery::all(u32::MAX)).await.unwrap()
}

on_both! {
    async fn the_current_view_is_that_of_the_last_report_and_history_holds_the_changes(lab: &Lab) {
        let store = &lab.store;
        use PatchState::{Failed, Installed, Missing};
        let first = [row("apt", Installed), row("bash", Missing), row("curl", Missing)];
        report(store, 1, 10, &first).await;
        assert_eq!(all_rows(store).await, first);
        let second = [row("apt", Installed), row("bash", Installed), row("dash", Failed)];
        report(store, 2, 20, &second).await;
        assert_eq!(all_rows(store).await, second);

        let list = async |order, after, limit| {
            store.patch_state_change_list(&scope(), &node_id(1), order, after, limit).await.unwrap()
        };
        let changes = list(Order::OldestFirst, None, 100).await;
        let told: Vec<_> = changes.iter().map(|c| (c.at, c.change.kb_id.as_str(), c.change.from, c.change.to)).collect();
        assert_eq!(told, [
            (at(10), "apt.amd64", None, Some(Installed)),
            (at(10), "bash.amd64", None, Some(Missing)),
            (at(10), "curl.amd64", None, Some(Missing)),
            (at(20), "bash.amd64", Some(Missing), Some(Installed)),
            (at(20), "curl.amd64", Some(Missing), None),
            (at(20), "dash.amd64", None, Some(Failed)),
        ]);
        let mut backwards: Vec<PatchStateChanged> = Vec::new();
        loop {
            let after = backwards.last().map(|c| (c.at, c.change.kb_id.clone(), c.command_id.clone()));
            let page = list(Order::NewestFirst, after, 2).await;
            if page.is_empty() { break }
            backwards.extend(page);
        }
        backwards.reverse();
        assert_eq!(backwards, changes);

        let reports = store.patch_report_list(&scope(), &node_id(1), None, 10).await.unwrap();
        assert_eq!(reports.iter().map(|r| r.summary.ended_at).collect::<Vec<_>>(), [at(20), at(10)]);
        assert_eq!(reports[1].summary.missing_count, 2);
        let older = store.patch_report_list(&scope(), &node_id(1), Some((at(20), command(2))), 10).await.unwrap();
        assert_eq!(older.len(), 1);

        let last = store.patch_summary_get(&scope(), &node_id(1)).await.unwrap();
        assert_eq!((last.revision, last.row.as_ref().map(|r| &r.command_id)), (Revision(2), Some(&command(2))));
        let listed = store.patch_summary_list(&scope(), &[node_id(1), node_id(2)]).await.unwrap();
        assert_eq!(listed, [last.row.unwrap()]);
        store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(node(1)))])).await.unwrap();
        let query = NodeQuery { deregistered: false, node_ids: None, after: None, limit: 10 };
        let listed = store.node_list(&scope(), &query).await.unwrap();
        assert_eq!(listed[0].patch_summary.as_ref().map(|s| s.ended_at), Some(at(20)));
    }
}

on_both! {
    async fn an_unchanged_report_adds_only_its_summary(lab: &Lab) {
        let store = &lab.store;
        let rows: Vec<_> = (0..200).map(|n| row(&format!("package{n:03}"), PatchState::Installed)).collect();
        report(store, 1, 10, &rows).await;
        report(store, 2, 20, &rows).await;
        assert_eq!(all_rows(store).await, rows);
        let changes = store.patch_state_change_list(&scope(), &node_id(1), Order::OldestFirst, None, 1000).await.unwrap();
        assert_eq!(changes.len(), 200);
        assert_eq!(store.patch_report_list(&scope(), &node_id(1), None, 10).await.unwrap().len(), 2);
    }
}

on_both! {
    async fn a_report_sent_twice_is_kept_once(lab: &Lab) {
        let store = &lab.store;
        let mut changes = report(store, 1, 10, &[row("apt", PatchState::Missing)]).await;
        // The decision was made again on the newer snapshot.
        changes.read.clear();
        match store.apply(&scope(), changes).await {
            Err(ApplyError::Duplicate { kind, .. }) => assert_eq!(kind, "patch report"),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.patch_report_list(&scope(), &node_id(1), None, 10).await.unwrap().len(), 1);
        assert_eq!(store.patch_summary_get(&scope(), &node_id(1)).await.unwrap().revision, Revision(1));
    }
}

on_both! {
    async fn patches_are_filtered_and_paged_by_kb_id(lab: &Lab) {
        let store = &lab.store;
        let states = [PatchState::Missing, PatchState::Installed, PatchState::InstalledOther];
        let rows: Vec<_> = (0..30).map(|n| row(&format!("p{n:02}"), states[n % 3])).collect();
        report(store, 1, 10, &rows).await;
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map(PatchRow::kb_id);
            let page = store.patch_list(&scope(), &node_id(1), &PatchQuery { after, ..PatchQuery::all(7) }).await.unwrap();
            if page.is_empty() { break }
            seen.extend(page);
        }
        assert_eq!(seen, rows);
        let all = PatchQuery::all(100);
        let count = async |query| store.patch_list(&scope(), &node_id(1), &query).await.unwrap().len();
        assert_eq!(count(PatchQuery { states: vec![PatchState::Missing], ..all.clone() }).await, 10);
        assert_eq!(count(PatchQuery { states: vec![PatchState::Missing, PatchState::Installed], ..all.clone() }).await, 20);
        assert_eq!(count(PatchQuery { kb_ids: vec!["p07.amd64".into(), "nothing".into()], ..all.clone() }).await, 1);
        assert_eq!(count(PatchQuery { classifications: vec!["Security".into()], ..all.clone() }).await, 10);
        assert_eq!(count(PatchQuery { severities: vec!["High".into()], ..all }).await, 0);
        assert!(store.patch_list(&scope(), &node_id(2), &PatchQuery::all(5)).await.unwrap().is_empty());
        let by_state: BTreeMap<_, usize> = rows.iter().fold(BTreeMap::new(), |mut counts, row| {
            *counts.entry(row.state).or_default() += 1;
            counts
        });
        assert_eq!(by_state.len(), 3);
    }
}
