//! Every kind of row comes back as it was put, and only in its own scope.

use crate::support::{Lab, at, audit, event, node, node_id, on_both, scope, scope_of, writes};
use changes::Revision;
use commands::{
    Command, CommandState, Invocation, InvocationState, RateLimit, StepOutcome, StepOutput, StepStatus, Target,
};
use identifiers::{ActivationId, BaselineId, CommandId, DocumentName, JobId, PatchGroupName, SeededIds};
use nodes::{Activation, CodeHash, NodeState, Ping, ResourceType, TagResource, Tags};
use packages::OperatingSystem;
use patching::{
    ApprovalDate, ApprovalRule, AvailableSecurityUpdates, BaselineOwner, ComplianceLevel, DefaultBaseline,
    PatchBaseline, PatchFilter, PatchFilterKey, PatchGroupRegistration, PatchSource, RejectedPatchesAction,
    SourceConfiguration,
};
use std::collections::BTreeMap;
use store::{AuditQuery, IdempotencyRow, NodeQuery, PatchGroupQuery, RecordWrite, ServerKeyRow};

const AWKWARD: &str = "quote ' \" ; -- $1 ? % \u{1f6a2} \u{200b} e\u{301}";

pub(crate) fn activation(number: u64) -> Activation {
    Activation {
        id: ActivationId::generate(&mut SeededIds::new(number)),
        code_secret_hash: CodeHash::new(vec![0, 1, 255, 0]),
        iam_role: "role".into(),
        description: AWKWARD.into(),
        default_instance_name: String::new(),
        registration_limit: u32::MAX,
        registrations_count: 3,
        expires_at: at(86_400),
        created_at: at(0),
        created_by: "key/AKIA".into(),
        tags: Tags::from([("PatchGroup".into(), AWKWARD.into()), ("empty".into(), String::new())]),
    }
}

pub(crate) fn command(number: u64, second: i64) -> Command {
    Command {
        command_id: CommandId::generate(&mut SeededIds::new(number)),
        document_name: DocumentName::parse("AWS-RunPatchBaseline").unwrap(),
        document_version: "$DEFAULT".into(),
        document_version_resolved: "1".into(),
        comment: AWKWARD.into(),
        parameters: BTreeMap::from([("commands".into(), vec![String::new(), AWKWARD.into(), "nul \u{0}".into()])]),
        instance_ids: vec![node_id(1), node_id(2)],
        targets: vec![Target { key: "tag:env".into(), values: vec!["prod".into()] }],
        delivery_timeout_seconds: 600,
        execution_timeout_seconds: 3600,
        requested_at: at(second),
        delivery_until: at(second + 600),
        expires_at: at(second + 4200),
        max_concurrency: RateLimit::Percent(10),
        max_errors: RateLimit::Count(0),
        state: CommandState::InProgress,
        target_count: 2,
        completed_count: 1,
        error_count: 1,
        delivery_timed_out_count: 0,
        cancel_requested_at: None,
        finished_at: None,
        requested_by: "key/AKIA".into(),
        request_id: "r".into(),
    }
}

pub(crate) fn invocation(command: &Command, number: u64) -> Invocation {
    Invocation {
        command_id: command.command_id.clone(),
        node_id: node_id(number),
        instance_name: "host".into(),
        job_id: JobId::generate(&mut SeededIds::new(number)),
        state: InvocationState::PENDING,
        trace: String::new(),
        requested_at: command.requested_at,
        sent_at: Some(at(2)),
        started_at: None,
        finished_at: None,
        delivery_until: command.delivery_until,
        expires_at: command.expires_at,
        steps: vec![StepOutcome {
            name: "PatchLinux".into(),
            plugin: "careen:patch".into(),
            status: StepStatus::InProgress,
            response_code: -1,
            started_at: Some(at(3)),
            finished_at: None,
        }],
    }
}

pub(crate) fn baseline(number: u64) -> PatchBaseline {
    PatchBaseline {
        id: BaselineId::generate(&mut SeededIds::new(number)),
        owner: BaselineOwner::Own,
        name: AWKWARD.into(),
        operating_system: OperatingSystem::Debian,
        description: String::new(),
        global_filters: vec![PatchFilter { key: PatchFilterKey::Product, values: vec!["*".into()] }],
        approval_rules: vec![ApprovalRule {
            filters: vec![PatchFilter { key: PatchFilterKey::Section, values: vec!["libs".into(), "*".into()] }],
            compliance_level: ComplianceLevel::Critical,
            approve_after_days: Some(7),
            approve_until_date: Some(ApprovalDate::parse("2026-01-31").unwrap()),
            enable_non_security: true,
        }],
        approved_patches: vec!["openssl".into()],
        approved_patches_compliance_level: ComplianceLevel::High,
        approved_patches_enable_non_security: true,
        rejected_patches: vec!["linux*".into()],
        rejected_patches_action: RejectedPatchesAction::Block,
        sources: vec![PatchSource {
            name: "own".into(),
            products: vec!["Debian12".into()],
            configuration: SourceConfiguration::new("deb https://user:hush@example.org x y".into()),
        }],
        available_security_updates_compliance_status: Some(AvailableSecurityUpdates::ALL[0]),
        created_at: at(1),
        modified_at: at(2),
    }
}

fn ping(number: u64, epoch: i64, second: i64) -> Ping {
    Ping {
        node_id: node_id(number),
        last_ping_at: at(second),
        connected: true,
        epoch,
        replica: "replica-1".into(),
        boot_id: "6f3c2cf2".into(),
        last_boot_at: Some(at(-100)),
    }
}

on_both! {
    async fn nodes_come_back_as_they_were_put(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let mut changed = node(1);
        store.apply(&scope, writes([nodes::Write::NodePut(Box::new(node(1)))])).await.unwrap();
        assert_eq!(store.node_get(&scope, &node_id(1)).await.unwrap().row, Some(node(1)));
        changed.state = NodeState::Deregistered;
        changed.deregistered_at = Some(at(9));
        changed.inventory_digest = Some("digest".into());
        changed.inventory_at = Some(at(8));
        changed.name = AWKWARD.into();
        store.apply(&scope, writes([nodes::Write::NodePut(Box::new(changed.clone()))])).await.unwrap();
        assert_eq!(store.node_get(&scope, &node_id(1)).await.unwrap().row, Some(changed));
        assert_eq!(store.node_scope_get(&node_id(1)).await.unwrap(), Some(scope.clone()));
        assert_eq!(store.node_scope_get(&node_id(2)).await.unwrap(), None);

        let elsewhere = scope_of("000000000000", "eu-west-1");
        let other_account = scope_of("111111111111", "us-east-1");
        for other in [elsewhere, other_account] {
            assert_eq!(store.node_get(&other, &node_id(1)).await.unwrap().row, None);
            store.apply(&other, writes([nodes::Write::NodeForget(node_id(1))])).await.unwrap();
        }
        assert!(store.node_get(&scope, &node_id(1)).await.unwrap().row.is_some(), "forgotten from another scope");
    }
}

on_both! {
    async fn a_text_that_postgresql_cannot_hold_is_kept_with_a_picture_of_it(lab: &Lab) {
        let mut row = node(1);
        row.name = "a\u{0}b".into();
        lab.store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(row))])).await.unwrap();
        let read = lab.store.node_get(&scope(), &node_id(1)).await.unwrap().row.unwrap();
        assert_eq!(read.name, "a\u{2400}b");
    }
}

on_both! {
    async fn a_ping_counts_if_it_came_over_the_nodes_newest_connection(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let put = async |pings: Vec<Ping>| {
            store.pings_put(pings.into_iter().map(|p| (scope.clone(), p)).collect()).await.unwrap()
        };
        let get = async || store.ping_get(&scope, &node_id(1)).await.unwrap();
        let nobody: [identifiers::NodeId; 0] = [];
        assert_eq!(get().await, None);
        assert_eq!(put(vec![]).await, nobody);
        assert_eq!(put(vec![ping(1, 2, 20), ping(1, 2, 30), ping(1, 1, 99), ping(2, 1, 5)]).await, nobody);
        assert_eq!(get().await, Some(ping(1, 2, 30)));
        assert_eq!(put(vec![ping(1, 1, 100), ping(2, 1, 6)]).await, [node_id(1)], "of an older connection");
        let stranger = Ping { replica: "replica-2".into(), ..ping(1, 2, 31) };
        assert_eq!(put(vec![stranger]).await, [node_id(1)], "this connection is another replica's");
        assert_eq!(get().await, Some(ping(1, 2, 30)));
        assert_eq!(put(vec![ping(1, 2, 29)]).await, nobody, "the server's clock was set back");
        assert_eq!(get().await, Some(ping(1, 2, 29)));
        let closed = Ping { connected: false, last_boot_at: None, ..ping(1, 2, 90) };
        assert_eq!(put(vec![closed.clone()]).await, nobody);
        assert_eq!(get().await, Some(closed));
        assert_eq!(put(vec![ping(1, 3, 1)]).await, nobody);
        assert_eq!(get().await, Some(ping(1, 3, 1)));
        // More than fit into one statement.
        put((10..300).map(|n| ping(n, 1, 1)).collect()).await;
        assert_eq!(store.ping_get(&scope, &node_id(299)).await.unwrap(), Some(ping(299, 1, 1)));

        let nodes = writes([1, 3].map(|n| nodes::Write::NodePut(Box::new(node(n)))));
        store.apply(&scope, nodes).await.unwrap();
        let query = NodeQuery { deregistered: false, node_ids: None, after: None, limit: 10 };
        let listed = store.node_list(&scope, &query).await.unwrap();
        assert_eq!(listed.iter().map(|l| (l.node.row.clone(), l.ping.clone())).collect::<Vec<_>>(), [(node(1), Some(ping(1, 3, 1))), (node(3), None)]);
        store.apply(&scope, writes([nodes::Write::NodeForget(node_id(1))])).await.unwrap();
        assert_eq!(store.ping_get(&scope, &node_id(1)).await.unwrap(), None);
    }
}

on_both! {
    async fn activations_come_back_as_they_were_put(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let mut changes = writes([nodes::Write::ActivationPut(Box::new(activation(1)))]);
        changes.update(nodes::activation_aggregate(&activation(1).id), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.activation_get(&scope, &activation(1).id).await.unwrap();
        assert_eq!((read.revision, read.row), (Revision(1), Some(activation(1))));
        let listed = store.activation_list(&scope, None, 10).await.unwrap();
        assert_eq!((listed[0].revision, &listed[0].row), (Revision(1), &activation(1)));
        assert_eq!(store.activation_scope_get(&activation(1).id).await.unwrap(), Some(scope.clone()));
        store.apply(&scope, writes([nodes::Write::ActivationDelete(activation(1).id)])).await.unwrap();
        // The row is gone, the revision stays.
        let read = store.activation_get(&scope, &activation(1).id).await.unwrap();
        assert_eq!((read.revision, read.row), (Revision(1), None));
        assert_eq!(store.scope_list().await.unwrap(), [scope]);
    }
}

on_both! {
    async fn tags_are_kept_by_resource(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let resource = TagResource::node(&node_id(1));
        let tag = |n: u64, key: &str, value: &str| nodes::Write::TagPut {
            resource: TagResource::node(&node_id(n)),
            key: key.into(),
            value: value.into(),
        };
        let mut changes = writes([
            tag(1, "env", "prod"), tag(1, "env", "test"), tag(1, AWKWARD, ""), tag(2, "env", "prod"), tag(3, "env", "other"), tag(4, "Env", "prod"),
            nodes::Write::TagPut { resource: TagResource::baseline(&baseline(1).id), key: "env".into(), value: "prod".into() },
        ]);
        changes.update(nodes::tags_aggregate(&resource), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.tags_get(&scope, &resource).await.unwrap();
        let expected = Tags::from([("env".into(), "test".into()), (AWKWARD.into(), String::new())]);
        assert_eq!((read.revision, &read.row), (Revision(1), &expected));
        let none = store.tags_get(&scope, &TagResource::node(&node_id(9))).await.unwrap();
        assert_eq!((none.revision, none.row), (Revision(0), Tags::new()));

        let ids: Vec<String> = [1, 2, 9].map(|n| node_id(n).to_string()).into();
        let listed = store.tags_list(&scope, ResourceType::ManagedInstance, &ids).await.unwrap();
        assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), ids[..2]);
        assert_eq!(listed[&ids[0]], expected);
        assert!(store.tags_list(&scope, ResourceType::ManagedInstance, &[]).await.unwrap().is_empty());

        let tagged = async |values: Option<&[String]>, after: Option<&str>| {
            store.tagged_resource_list(&scope, ResourceType::ManagedInstance, "env", values, after, 10).await.unwrap()
        };
        let name = |n| node_id(n).to_string();
        assert_eq!(tagged(None, None).await, [name(1), name(2), name(3)]);
        assert_eq!(tagged(Some(&["prod".into(), "other".into()]), None).await, [name(2), name(3)]);
        assert_eq!(tagged(None, Some(&name(1))).await, [name(2), name(3)]);

        store.apply(&scope, writes([nodes::Write::TagDelete { resource: resource.clone(), key: "env".into() }])).await.unwrap();
        assert_eq!(store.tags_get(&scope, &resource).await.unwrap().row.len(), 1);
        store.apply(&scope, writes([nodes::Write::TagsForget(resource.clone())])).await.unwrap();
        assert!(store.tags_get(&scope, &resource).await.unwrap().row.is_empty());
    }
}

on_both! {
    async fn commands_and_invocations_come_back_as_they_were_put(lab: &Lab) {
        use commands::Write;
        let (store, scope) = (&lab.store, scope());
        let sent = command(1, 1);
        for (state, ..) in CommandState::ALL {
            let row = Command { state, finished_at: Some(at(7)), cancel_requested_at: Some(at(6)), ..sent.clone() };
            store.apply(&scope, writes([Write::CommandPut(Box::new(row.clone()))])).await.unwrap();
            assert_eq!(store.command_get(&scope, &sent.command_id).await.unwrap().row, Some(row));
        }
        store.apply(&scope, writes([Write::CommandPut(Box::new(sent.clone()))])).await.unwrap();
        assert_eq!(store.command_get(&scope, &sent.command_id).await.unwrap().row, Some(sent.clone()));
        let first = invocation(&sent, 1);
        for (state, _) in InvocationState::ALL {
            let row = Invocation { state, started_at: Some(at(4)), finished_at: Some(at(5)), trace: AWKWARD.into(), ..first.clone() };
            store.apply(&scope, writes([Write::InvocationPut(Box::new(row.clone()))])).await.unwrap();
            assert_eq!(store.invocation_get(&scope, &sent.command_id, &node_id(1)).await.unwrap().row, Some(row));
        }
        let mut changes = writes([Write::InvocationPut(Box::new(first.clone()))]);
        changes.update(commands::invocation_aggregate(&sent.command_id, &node_id(1)), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.invocation_get_by_job(&scope, &first.job_id).await.unwrap().unwrap();
        assert_eq!((read.revision, read.row), (Revision(1), first));
        assert!(store.invocation_get_by_job(&scope, &JobId::generate(&mut SeededIds::new(77))).await.unwrap().is_none());

        let output = |step: &str, stdout: &str| StepOutput {
            command_id: sent.command_id.clone(),
            node_id: node_id(1),
            step: step.into(),
            stdout: stdout.into(),
            stderr: AWKWARD.into(),
            stdout_truncated: true,
            stderr_truncated: false,
        };
        let rows = [output("b", "old"), output("a", "nul \u{0} stays"), output("b", "new")];
        store.apply(&scope, writes(rows.map(|row| Write::StepOutputPut(Box::new(row))))).await.unwrap();
        let read = store.step_output_list(&scope, &sent.command_id, &node_id(1)).await.unwrap();
        assert_eq!(read, [output("a", "nul \u{0} stays"), output("b", "new")]);
    }
}

on_both! {
    async fn baselines_and_registrations_come_back_as_they_were_put(lab: &Lab) {
        use patching::Write;
        let (store, scope) = (&lab.store, scope());
        let mut changes = writes([Write::BaselinePut(Box::new(baseline(1)))]);
        changes.update(patching::aggregate::baseline(&baseline(1).id), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.baseline_get(&scope, &baseline(1).id).await.unwrap();
        assert_eq!((read.revision, read.row), (Revision(1), Some(baseline(1))));
        let listed = store.baseline_list(&scope, Some(OperatingSystem::Debian), None, 5).await.unwrap();
        assert_eq!((listed.len(), listed[0].revision, &listed[0].row), (1, Revision(1), &baseline(1)));
        assert!(store.baseline_list(&scope, Some(OperatingSystem::Ubuntu), None, 5).await.unwrap().is_empty());
        assert_eq!(store.baseline_count(&scope).await.unwrap(), 1);

        let default = DefaultBaseline { operating_system: OperatingSystem::Debian, baseline: baseline(1).id, predefined: false };
        let mut changes = writes([Write::DefaultPut(DefaultBaseline { predefined: true, ..default.clone() }), Write::DefaultPut(default.clone())]);
        changes.update(patching::aggregate::default(OperatingSystem::Debian), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.default_baseline_get(&scope, OperatingSystem::Debian).await.unwrap();
        assert_eq!((read.revision, read.row), (Revision(1), Some(default.clone())));
        let listed = store.default_baseline_list(&scope).await.unwrap();
        assert_eq!((listed[0].revision, &listed[0].row), (Revision(1), &default));

        let group = |name: &str, operating_system, predefined| PatchGroupRegistration {
            patch_group: PatchGroupName::parse(name).unwrap(), operating_system, baseline: baseline(1).id, predefined,
        };
        let rows = [group(AWKWARD, OperatingSystem::Debian, false), group("b", OperatingSystem::Ubuntu, true), group("b", OperatingSystem::Debian, false)];
        let mut changes = writes(rows.clone().map(Write::PatchGroupPut));
        changes.update(patching::aggregate::patch_group(&rows[0].patch_group, OperatingSystem::Debian), Revision(0));
        store.apply(&scope, changes).await.unwrap();
        let read = store.patch_group_get(&scope, &rows[0].patch_group, OperatingSystem::Debian).await.unwrap();
        assert_eq!((read.revision, read.row.as_ref()), (Revision(1), Some(&rows[0])));
        let list = async |query: PatchGroupQuery| {
            store.patch_group_list(&scope, &query, 10).await.unwrap().into_iter().map(|v| (v.revision.0, v.row)).collect::<Vec<_>>()
        };
        let all = list(PatchGroupQuery::default()).await;
        let mut sorted = vec![(1, rows[0].clone()), (0, rows[2].clone()), (0, rows[1].clone())];
        sorted.sort_by_key(|(_, row)| (row.patch_group.clone(), row.operating_system.as_str()));
        assert_eq!(all, sorted);
        assert_eq!(list(PatchGroupQuery { patch_group: Some(rows[1].patch_group.clone()), ..Default::default() }).await.len(), 2);
        assert_eq!(list(PatchGroupQuery { operating_system: Some(OperatingSystem::Ubuntu), ..Default::default() }).await.len(), 1);
        assert_eq!(list(PatchGroupQuery { baseline_id: Some(baseline(2).id), ..Default::default() }).await.len(), 0);
        let delete = Write::PatchGroupDelete { patch_group: rows[1].patch_group.clone(), operating_system: OperatingSystem::Ubuntu };
        store.apply(&scope, writes([delete, Write::BaselineDelete(baseline(1).id)])).await.unwrap();
        assert_eq!(list(PatchGroupQuery::default()).await.len(), 2);
        assert_eq!(store.baseline_get(&scope, &baseline(1).id).await.unwrap().row, None);
    }
}

on_both! {
    async fn records_of_the_server_come_back_as_they_were_put(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let put = async |write: RecordWrite| store.apply(&scope, writes([write])).await;
        let server_key = ServerKeyRow { name: "job".into(), public_key: vec![1], secret_sealed: vec![2, 0], created_at: at(3) };
        put(RecordWrite::ServerKeyPut(server_key.clone())).await.unwrap();
        assert_eq!(store.server_key_get("job").await.unwrap(), Some(server_key));
        assert_eq!(store.server_key_get("other").await.unwrap(), None);
        put(RecordWrite::MetaPut { name: "fingerprint".into(), value: "a".into() }).await.unwrap();
        put(RecordWrite::MetaPut { name: "fingerprint".into(), value: AWKWARD.into() }).await.unwrap();
        assert_eq!(store.meta_get("fingerprint").await.unwrap().as_deref(), Some(AWKWARD));

        let token = IdempotencyRow {
            operation: "CreatePatchBaseline".into(), token: "t".into(), request_digest: "d".into(),
            result: serde_json::json!({"id": AWKWARD}), at: at(5),
        };
        put(RecordWrite::IdempotencyPut(token.clone())).await.unwrap();
        assert_eq!(store.idempotency_get(&scope, "CreatePatchBaseline", "t").await.unwrap(), Some(token));
        assert_eq!(store.idempotency_get(&scope, "SendCommand", "t").await.unwrap(), None);
        put(RecordWrite::IdempotencyExpire { before: at(6) }).await.unwrap();
        assert_eq!(store.idempotency_get(&scope, "CreatePatchBaseline", "t").await.unwrap(), None);
    }
}

on_both! {
    async fn audit_records_and_events_come_back_as_they_were_put(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let mut changes = writes([nodes::Write::NodePut(Box::new(node(1)))]);
        changes.audit.push(audit("ssm:SendCommand", "key/AKIA", AWKWARD, 4));
        changes.events.push(event(AWKWARD, "s"));
        store.apply(&scope, changes.clone()).await.unwrap();
        let read = store.audit_list(&scope, &AuditQuery::all(5)).await.unwrap();
        assert_eq!((read[0].seq, &read[0].record), (1, &changes.audit[0]));
        let read = store.event_list(&scope, 0, 5).await.unwrap();
        assert_eq!((read[0].seq, &read[0].event), (1, &changes.events[0]));
        assert!(store.audit_list(&scope_of("000000000000", "r"), &AuditQuery::all(5)).await.unwrap().is_empty());
    }
}
