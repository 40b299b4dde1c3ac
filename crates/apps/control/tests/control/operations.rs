//! Every operation passes `authorise`, and every change leaves exactly one audit record.

use access::Principal;
use aws_wire::ssm::Operation;
use serde_json::{Value, json};
use store::AuditQuery;
use testkit::fleet::{FleetDatabase, SimulatedFleet};

use crate::support::{ask, ask_any, call, context_in, home, node, on_both, root, with_fleet};

/// What an operation does to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Changes,
}

/// The ids of a server in which every operation has something to be about.
struct Furnished {
    node: String,
    activation: String,
    command: String,
    /// Registered for the group `web`.
    baseline: String,
    /// Used nowhere.
    spare: String,
}

async fn furnish(fleet: &mut SimulatedFleet) -> Furnished {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let node = node(fleet, 0);
    let baseline = json!({"Name": "web-baseline", "OperatingSystem": "DEBIAN"});
    let baseline = text(&call(fleet, Operation::CreatePatchBaseline, baseline).await["BaselineId"]);
    let spare = json!({"Name": "spare-baseline", "OperatingSystem": "DEBIAN"});
    let spare = text(&call(fleet, Operation::CreatePatchBaseline, spare).await["BaselineId"]);
    let group = json!({"BaselineId": baseline, "PatchGroup": "web"});
    call(fleet, Operation::RegisterPatchBaselineForPatchGroup, group).await;
    let tags = json!([{"Key": "PatchGroup", "Value": "web"}]);
    let tags = json!({"ResourceType": "ManagedInstance", "ResourceId": node, "Tags": tags});
    call(fleet, Operation::AddTagsToResource, tags).await;
    let activation = call(fleet, Operation::CreateActivation, json!({"IamRole": "service-role/Fleet"})).await;
    let command = json!({
        "DocumentName": "AWS-RunShellScript", "InstanceIds": [node], "Parameters": {"commands": ["true"]},
    });
    let command = text(&call(fleet, Operation::SendCommand, command).await["Command"]["CommandId"]);
    Furnished { node, activation: text(&activation["ActivationId"]), command, baseline, spare }
}

/// A request for each operation of the model; a new one does not compile without its line.
fn request(operation: Operation, of: &Furnished) -> (Value, Effect) {
    use Effect::{Changes, Reads};
    use Operation as O;
    let Furnished { node, activation, command, baseline, spare } = of;
    let tagged = json!({"ResourceType": "ManagedInstance", "ResourceId": node});
    let with = |extra: Value| {
        let mut all = tagged.clone();
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all
    };
    match operation {
        O::AddTagsToResource => (with(json!({"Tags": [{"Key": "stage", "Value": "test"}]})), Changes),
        O::RemoveTagsFromResource => (with(json!({"TagKeys": ["PatchGroup"]})), Changes),
        O::ListTagsForResource => (tagged, Reads),
        O::CreateActivation => (json!({"IamRole": "service-role/Fleet"}), Changes),
        O::DeleteActivation => (json!({"ActivationId": activation}), Changes),
        O::DescribeActivations => (json!({}), Reads),
        O::DescribeInstanceInformation => (json!({}), Reads),
        O::DeregisterManagedInstance => (json!({"InstanceId": node}), Changes),
        O::UpdateManagedInstanceRole => (json!({"InstanceId": node, "IamRole": "service-role/Other"}), Changes),
        O::SendCommand => {
            let parameters = json!({"commands": ["true"]});
            let body = json!({"DocumentName": "AWS-RunShellScript", "InstanceIds": [node], "Parameters": parameters});
            (body, Changes)
        }
        O::CancelCommand => (json!({"CommandId": command}), Changes),
        O::ListCommands | O::ListCommandInvocations => (json!({}), Reads),
        O::GetCommandInvocation => (json!({"CommandId": command, "InstanceId": node}), Reads),
        O::CreatePatchBaseline => (json!({"Name": "another", "OperatingSystem": "DEBIAN"}), Changes),
        O::UpdatePatchBaseline => (json!({"BaselineId": baseline, "Name": "renamed"}), Changes),
        O::GetPatchBaseline => (json!({"BaselineId": baseline}), Reads),
        O::DeletePatchBaseline => (json!({"BaselineId": spare}), Changes),
        O::DescribePatchBaselines | O::DescribePatchGroups => (json!({}), Reads),
        O::RegisterDefaultPatchBaseline => (json!({"BaselineId": baseline}), Changes),
        O::GetDefaultPatchBaseline => (json!({"OperatingSystem": "DEBIAN"}), Reads),
        O::RegisterPatchBaselineForPatchGroup => (json!({"BaselineId": baseline, "PatchGroup": "db"}), Changes),
        O::DeregisterPatchBaselineForPatchGroup => (json!({"BaselineId": baseline, "PatchGroup": "web"}), Changes),
        O::GetPatchBaselineForPatchGroup => (json!({"PatchGroup": "web", "OperatingSystem": "DEBIAN"}), Reads),
        O::DescribeInstancePatchStates => (json!({"InstanceIds": [node]}), Reads),
        O::DescribeInstancePatches => (json!({"InstanceId": node}), Reads),
        O::GetDocument | O::DescribeDocument => (json!({"Name": "AWS-RunShellScript"}), Reads),
        O::DescribeDocumentPermission => (json!({"Name": "AWS-RunShellScript", "PermissionType": "Share"}), Reads),
        O::ListDocuments => (json!({}), Reads),
    }
}

/// A well-formed request of Careen's own service.
fn own_request(operation: aws_wire::Operation, furnished: &Furnished) -> Value {
    match operation.name() {
        "GetAuditRecord" => json!({"SequenceNumber": 1}),
        "ListPackageChanges" | "GetEffectivePatchBaseline" | "ListPatchReasons" => {
            json!({"InstanceId": furnished.node})
        }
        _ => json!({}),
    }
}

/// The outcomes and actions in the audit records of one request.
async fn audited(fleet: &SimulatedFleet, request_id: &str) -> Vec<(String, String)> {
    let query = AuditQuery { request_id: Some(request_id.to_owned()), ..AuditQuery::all(100) };
    let entries = fleet.server().store.audit_list(&home(), &query).await.unwrap();
    entries.into_iter().map(|entry| (entry.record.action, entry.record.outcome)).collect()
}

async fn events(fleet: &SimulatedFleet) -> usize {
    fleet.server().store.event_list(&home(), 0, 100_000).await.unwrap().len()
}

on_both! {
    strangers_and_nodes_are_denied_everything: 1;
}

async fn strangers_and_nodes_are_denied_everything(fleet: &mut SimulatedFleet) {
    let furnished = furnish(fleet).await;
    let other = root("111111111111");
    let (account, user) = other.user().unwrap();
    let (account, user) = (account.clone(), user.clone());
    let console = Principal::Console { account, user, role: access::Role::Administrator };
    let node = Principal::Node { scope: home(), node_id: fleet.agents()[0].node_id().unwrap().clone() };
    let before = events(fleet).await;
    for principal in [other.clone(), console, node] {
        for operation in Operation::ALL {
            let (body, _) = request(*operation, &furnished);
            let context = fleet.server().context(home(), principal.clone(), "198.51.100.9".to_owned());
            let answer = ask(&context, *operation, &body).await;
            assert_eq!(answer, Err("AccessDeniedException".to_owned()), "{operation:?} by {principal}");
            let action = aws_wire::Operation::Ssm(*operation).action();
            let records = audited(fleet, context.request_id.as_str()).await;
            assert_eq!(records.len(), 1, "{operation:?} by {principal}");
            assert_eq!(records[0].0, action);
            assert!(records[0].1.starts_with("refused: "), "{records:?}");
        }
        for operation in aws_wire::careen::Operation::ALL {
            let context = fleet.server().context(home(), principal.clone(), "198.51.100.9".to_owned());
            let operation = aws_wire::Operation::Careen(*operation);
            let answer = ask_any(&context, operation, &own_request(operation, &furnished)).await;
            assert_eq!(answer, Err("AccessDeniedException".to_owned()), "{operation:?} by {principal}");
            assert_eq!(audited(fleet, context.request_id.as_str()).await[0].0, operation.action());
        }
        for (operation, form) in crate::people::queries() {
            let context = fleet.server().context(home(), principal.clone(), String::new());
            let answer = control::operations::answer_query(&context, operation, &form).await;
            assert_eq!(answer.unwrap_err().code, "AccessDeniedException", "{operation:?} by {principal}");
            assert_eq!(audited(fleet, context.request_id.as_str()).await.len(), 1);
        }
    }
    assert_eq!(events(fleet).await, before, "nothing happened");
}

#[test]
fn the_model_has_no_operation_that_these_tests_do_not_know() {
    let known = Operation::ALL.len() + aws_wire::careen::Operation::ALL.len() + crate::people::queries().len();
    assert_eq!(control::operations::all().len(), known, "all of SSM's, STS's, IAM's and our own");
}

#[test]
fn every_change_leaves_one_record_and_a_question_none() {
    for operation in Operation::ALL {
        with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
            let furnished = furnish(fleet).await;
            let (body, effect) = request(*operation, &furnished);
            let context = fleet.context().unwrap();
            let before = events(fleet).await;
            ask(&context, *operation, &body).await.unwrap_or_else(|code| panic!("{operation:?}: {code}"));
            let done = (aws_wire::Operation::Ssm(*operation).action(), "done".to_owned());
            let expected = if effect == Effect::Changes { vec![done] } else { Vec::new() };
            assert_eq!(audited(fleet, context.request_id.as_str()).await, expected, "{operation:?}");
            if effect == Effect::Reads {
                assert_eq!(events(fleet).await, before, "{operation:?} changed something");
            }
        });
    }
}

#[test]
fn what_is_refused_leaves_no_record_and_no_trace() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let nobody = Furnished {
            node: "mi-00000000000000000".to_owned(),
            activation: "00000000-0000-4000-8000-000000000000".to_owned(),
            command: "00000000-0000-4000-8000-000000000000".to_owned(),
            baseline: "pb-00000000000000000".to_owned(),
            spare: "pb-00000000000000000".to_owned(),
        };
        let mut refused = 0;
        for operation in Operation::ALL {
            let (body, effect) = request(*operation, &nobody);
            let context = fleet.context().unwrap();
            let before = events(fleet).await;
            if ask(&context, *operation, &body).await.is_ok() {
                continue;
            }
            refused += usize::from(effect == Effect::Changes);
            assert_eq!(audited(fleet, context.request_id.as_str()).await, [], "{operation:?}");
            assert_eq!(events(fleet).await, before, "{operation:?}");
        }
        assert!(refused >= 9, "{refused} changes were refused");
    });
}

#[test]
fn an_audit_record_says_who_from_where_and_what_changed() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let node = node(fleet, 0);
        let context = fleet.context().unwrap();
        let body = json!({"InstanceId": node, "IamRole": "service-role/Other"});
        ask(&context, Operation::UpdateManagedInstanceRole, &body).await.unwrap();
        let query = AuditQuery { request_id: Some(context.request_id.to_string()), ..AuditQuery::all(1) };
        let record = fleet.server().store.audit_list(&home(), &query).await.unwrap().remove(0).record;
        assert_eq!(record.principal, "key/AKIAFLEETFLEETFLEET0");
        assert_eq!(record.source_address, "192.0.2.10");
        assert_eq!(record.resource, home().ssm_arn(&format!("managed-instance/{node}")));
        assert_eq!((record.before, record.after), (json!("service-role/Fleet"), json!("service-role/Other")));
        assert_eq!(record.at, fleet.clock().now());
    });
}

#[test]
fn secrets_are_in_no_audit_record() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let made = call(fleet, Operation::CreateActivation, json!({"IamRole": "service-role/Fleet"})).await;
        let code = made["ActivationCode"].as_str().unwrap().to_owned();
        let body = json!({
            "DocumentName": "AWS-RunShellScript", "InstanceIds": [node(fleet, 0)],
            "Parameters": {"commands": ["echo hunter2"]},
        });
        call(fleet, Operation::SendCommand, body).await;
        let source =
            json!([{"Name": "own", "Products": ["*"], "Configuration": "deb https://u:hunter3@example.net x"}]);
        let body = json!({"Name": "sources", "OperatingSystem": "DEBIAN", "Sources": source});
        call(fleet, Operation::CreatePatchBaseline, body).await;
        let records = fleet.server().store.audit_list(&home(), &AuditQuery::all(1000)).await.unwrap();
        let text = format!("{records:?}");
        assert!(records.len() >= 4);
        for secret in [code.as_str(), code.split('.').next().unwrap(), "hunter2", "hunter3"] {
            assert!(!text.contains(secret), "{secret}");
        }
    });
}

on_both! {
    requests_that_meet_are_done_one_after_the_other: 1;
}

async fn requests_that_meet_are_done_one_after_the_other(fleet: &mut SimulatedFleet) {
    let node = node(fleet, 0);
    let mut contexts = Vec::new();
    let mut bodies = Vec::new();
    for number in 0..4 {
        contexts.push(fleet.context().unwrap());
        let tags = json!([{"Key": format!("key-{number}"), "Value": "v"}]);
        bodies.push(json!({"ResourceType": "ManagedInstance", "ResourceId": node, "Tags": tags}));
    }
    let tag = |at: usize| ask(&contexts[at], Operation::AddTagsToResource, &bodies[at]);
    let answers = tokio::join!(tag(0), tag(1), tag(2), tag(3));
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        answer.unwrap();
    }
    let query = AuditQuery { action: Some("ssm:AddTagsToResource".to_owned()), ..AuditQuery::all(100) };
    let mut records = fleet.server().store.audit_list(&home(), &query).await.unwrap();
    records.reverse();
    let sizes: Vec<usize> = records.iter().map(|entry| entry.record.before.as_object().unwrap().len()).collect();
    assert_eq!(sizes, [0, 1, 2, 3], "each decision was made on what the one before had left");
}

#[test]
fn of_many_requests_that_meet_each_is_done_or_said_to_be_worth_another_try() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let node = node(fleet, 0);
        let server = fleet.server().clone();
        let mut tasks = Vec::new();
        for number in 0..30 {
            let context = fleet.context().unwrap();
            let tags = json!([{"Key": format!("key-{number}"), "Value": "v"}]);
            let body = json!({"ResourceType": "ManagedInstance", "ResourceId": node, "Tags": tags});
            tasks.push(tokio::spawn(async move { ask(&context, Operation::AddTagsToResource, &body).await }));
        }
        let mut done = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => done += 1,
                Err(code) => assert_eq!(code, "ThrottlingException"),
            }
        }
        let query = AuditQuery { action: Some("ssm:AddTagsToResource".to_owned()), ..AuditQuery::all(100) };
        let records = server.store.audit_list(&home(), &query).await.unwrap().len();
        let body = json!({"ResourceType": "ManagedInstance", "ResourceId": node});
        let tags = call(fleet, Operation::ListTagsForResource, body).await["TagList"].as_array().unwrap().len();
        assert_eq!((records, tags), (done, done), "a record for each that was done, and for no other");
        assert!(done >= 5);
    });
}

#[test]
fn what_another_account_or_region_has_is_not_there() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let furnished = furnish(fleet).await;
        let elsewhere = context_in(fleet, "eu-west-1");
        let mut asked = 0;
        for operation in Operation::ALL {
            let (body, effect) = request(*operation, &furnished);
            let answer = ask(&elsewhere, *operation, &body).await;
            let text = match &answer {
                Ok(value) => value.to_string(),
                Err(code) => code.clone(),
            };
            let told = [&furnished.node, &furnished.activation, &furnished.command]
                .iter()
                .any(|id| text.contains(id.as_str()));
            assert!(!told, "{operation:?} told {text}");
            asked += usize::from(effect == Effect::Reads);
        }
        assert!(asked > 10);
        let node = json!({"InstanceInformationFilterList": [{"key": "InstanceIds", "valueSet": [furnished.node]}]});
        let here = call(fleet, Operation::DescribeInstanceInformation, node).await;
        assert_eq!(here["InstanceInformationList"].as_array().unwrap().len(), 1, "and here it is untouched");
    });
}
