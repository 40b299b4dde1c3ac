//! The audit log: sealed by the reconciler, verified, and edited by whoever owns the database.

use aws_wire::{Operation, careen, ssm};
use control::{AuditLines, AuditSearch, Context, ExportForm, reconcilers::Retention};
use identifiers::Period;
use serde_json::{Value, json};
use testkit::fleet::{FleetDatabase, SimulatedFleet};

use crate::support::{ask_any, call, context_in, home, node, on_both, with_fleet};

async fn own(context: &Context, operation: careen::Operation, body: Value) -> Value {
    let answer = ask_any(context, Operation::Careen(operation), &body).await;
    answer.unwrap_or_else(|code| panic!("{operation:?}: {code}"))
}

async fn verified(fleet: &SimulatedFleet, body: Value) -> Value {
    own(&fleet.context().unwrap(), careen::Operation::VerifyAuditLog, body).await
}

/// So many records by the administrator.
async fn act(fleet: &SimulatedFleet, times: usize) {
    let node = node(fleet, 0);
    for turn in 0..times {
        let body = json!({"InstanceId": node, "IamRole": format!("service-role/{turn}")});
        call(fleet, ssm::Operation::UpdateManagedInstanceRole, body).await;
    }
}

/// Everything that there is is sealed.
async fn seal(fleet: &mut SimulatedFleet) {
    fleet.pass(11).await.unwrap();
    fleet.activate().await.unwrap();
}

/// What is wrong after an edit that is then undone again.
async fn wrong_after(fleet: &SimulatedFleet, edit: &str) -> Vec<String> {
    let tables = ["audit", "audit_seal"];
    for table in tables {
        fleet.database_owner(&format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}")).unwrap();
    }
    fleet.database_owner(edit).unwrap();
    let found = verified(fleet, json!({})).await;
    for table in tables {
        let undo =
            format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}; DROP TABLE kept_{table};");
        fleet.database_owner(&undo).unwrap();
    }
    assert_eq!(found["Unbroken"], found["Faults"] == json!([]));
    found["Faults"].as_array().unwrap().iter().map(|fault| fault.as_str().unwrap().to_owned()).collect()
}

on_both! {
    old_records_are_removed_in_sealed_batches_and_the_rest_is_verified: 1;
    what_a_database_owner_edits_is_found: 1;
}

async fn old_records_are_removed_in_sealed_batches_and_the_rest_is_verified(fleet: &mut SimulatedFleet) {
    const DAY: i64 = 24 * 60 * 60;
    let retention = Retention { audit: Period::days(30), ..Retention::FOREVER };
    let removed =
        async |fleet: &SimulatedFleet| fleet.server().remove_past(&retention).await.unwrap().count("audit_records");
    act(fleet, 3).await;
    seal(fleet).await;
    fleet.clock().advance_seconds(30 * DAY + 60);
    assert_eq!(removed(fleet).await, 0, "less than a day past its time is not worth a record of its own");
    fleet.clock().advance_seconds(DAY);
    act(fleet, 2).await;
    seal(fleet).await;
    assert!(removed(fleet).await >= 3);
    assert_eq!(removed(fleet).await, 0, "what is younger stays");
    let found = verified(fleet, json!({})).await;
    assert_eq!((&found["Unbroken"], found["PrunedCount"].as_i64() >= Some(3)), (&json!(true), true), "{found}");
    let left = fleet.server().store.backup_source().await.unwrap().check().await.unwrap();
    assert_eq!(left, []);
}

async fn what_a_database_owner_edits_is_found(fleet: &mut SimulatedFleet) {
    act(fleet, 5).await;
    let young = verified(fleet, json!({})).await;
    assert_eq!((&young["Unbroken"], &young["SealCount"]), (&json!(true), &json!(0)), "{young}");
    fleet.activate().await.unwrap();
    assert_eq!(verified(fleet, json!({})).await["SealCount"], 0, "ten seconds have not passed");
    seal(fleet).await;
    let first = verified(fleet, json!({})).await;
    assert_eq!((&first["SealCount"], &first["UnsealedCount"]), (&json!(1), &json!(0)), "{first}");
    act(fleet, 4).await;
    seal(fleet).await;
    act(fleet, 2).await;
    let whole = verified(fleet, json!({"Head": first["Head"]})).await;
    assert_eq!(
        (&whole["Unbroken"], &whole["SealCount"], &whole["UnsealedCount"]),
        (&json!(true), &json!(2), &json!(2))
    );
    let total = whole["RecordCount"].as_i64().unwrap();
    let sealed = total - 6;
    let last = total - 2;

    for (edit, fault) in [
        (
            "UPDATE audit SET principal = 'system' WHERE seq = 2",
            "record 2 was changed after it was sealed (seal 1)".to_owned(),
        ),
        ("UPDATE audit SET state_after = state_after || ' ' WHERE seq = 3", "record 3 was changed".to_owned()),
        ("UPDATE audit SET at = at - 1 WHERE seq = 1", "record 1 was changed".to_owned()),
        ("DELETE FROM audit WHERE seq = 2", "record 2 is removed after being sealed (seal 1)".to_owned()),
        ("DELETE FROM audit WHERE seq <= 2", "records 1 to 2 are removed".to_owned()),
        ("UPDATE audit SET seq = 0 WHERE seq = 2", "record 0 stands where none was sealed".to_owned()),
        ("DELETE FROM audit_seal WHERE number = 1", "seal 1 is missing".to_owned()),
        ("UPDATE audit_seal SET sealed_at = sealed_at + 1 WHERE number = 2", "seal 2 was changed".to_owned()),
        ("UPDATE audit_seal SET digest = records_digest WHERE number = 2", "seal 2 was changed".to_owned()),
        (
            "UPDATE audit_seal SET signature = (SELECT s.signature FROM audit_seal s WHERE s.number = 1) WHERE number = 2",
            "seal 2 is not signed with the audit key".to_owned(),
        ),
        (
            "UPDATE audit_seal SET public_key = records_digest WHERE number = 1",
            "seal 1 is not signed with the audit key".to_owned(),
        ),
        (
            "DELETE FROM audit WHERE seq <= 3; UPDATE audit_seal SET record_digests = signature WHERE number = 1",
            "seal 1 cannot be read".to_owned(),
        ),
        ("UPDATE audit SET state_before = '{' WHERE seq = 4", "record 4 was changed".to_owned()),
    ] {
        let found = wrong_after(fleet, edit).await;
        assert!(found.iter().any(|found| found.contains(&fault)), "{edit}: {found:?}");
    }
    let tail = wrong_after(fleet, &format!("DELETE FROM audit WHERE seq = {total}")).await;
    assert_eq!(tail, [format!("record {total} is missing")], "the count of records tells of the newest");
    let removed = wrong_after(fleet, &format!("DELETE FROM audit WHERE seq > {sealed} AND seq <= {last}")).await;
    assert_eq!(removed, [format!("records {} to {last} are removed after being sealed (seal 2)", sealed + 1)]);
    assert_eq!(verified(fleet, json!({"Head": whole["Head"]})).await["Unbroken"], true, "and all is as it was");
    let strange = verified(fleet, json!({"Head": "0".repeat(64)})).await;
    assert!(strange["Faults"][0].as_str().unwrap().contains("is not in the chain"), "{strange}");
}

on_both! {
    a_chain_that_was_cut_off_is_not_sealed_over: 1;
}

async fn a_chain_that_was_cut_off_is_not_sealed_over(fleet: &mut SimulatedFleet) {
    act(fleet, 3).await;
    seal(fleet).await;
    let head = verified(fleet, json!({})).await["Head"].clone();
    // Without its seals the log could be changed and sealed anew: the running server knows better.
    fleet.database_owner("DELETE FROM audit_seal; UPDATE audit SET principal = 'system'").unwrap();
    act(fleet, 2).await;
    seal(fleet).await;
    let found = verified(fleet, json!({})).await;
    assert_eq!(found["SealCount"], 0, "{found}");
    // One that is started anew knows nothing, but whoever kept the head does.
    fleet.restart_server().await.unwrap();
    seal(fleet).await;
    assert_eq!(verified(fleet, json!({})).await["Unbroken"], true);
    let found = verified(fleet, json!({"Head": head})).await;
    assert!(found["Faults"][0].as_str().unwrap().contains("is not in the chain"), "{found}");
}

#[test]
fn a_thousand_records_and_more_are_sealed_in_batches() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        // As an upgrade finds them: never sealed.
        let row = "SELECT account, region, 1000000 + value, 1000000 * value, 'r', 'system', '', 'a:Old', 'x', 'done', 'null', 'null'";
        let many = format!(
            "INSERT INTO audit {row} FROM generate_series(1, 2500);
            DELETE FROM audit WHERE seq < 1000000; UPDATE audit SET seq = seq - 1000000;
            UPDATE scope_sequence SET last = 2500 WHERE name = 'audit'"
        );
        let many =
            many.replace(" FROM generate_series", " FROM (SELECT account, region FROM audit LIMIT 1), generate_series");
        fleet.database_owner(&many).unwrap();
        fleet.activate().await.unwrap();
        let found = verified(fleet, json!({})).await;
        assert_eq!(
            (&found["Unbroken"], &found["RecordCount"], &found["SealCount"]),
            (&json!(true), &json!(2500), &json!(3)),
            "{found}"
        );
        assert_eq!(found["LateSealNumbers"], json!([1, 2, 3]), "they lay open for long");
        let record =
            own(&fleet.context().unwrap(), careen::Operation::GetAuditRecord, json!({"SequenceNumber": 1001})).await;
        assert_eq!(
            (&record["Record"]["Sealed"], &record["Record"]["SealNumber"]),
            (&json!(true), &json!(2)),
            "{record}"
        );
    });
}

async fn lines(mut lines: AuditLines) -> Vec<String> {
    let mut all = String::new();
    while let Some(some) = lines.next().await.unwrap() {
        all.push_str(&some);
    }
    all.lines().map(str::to_owned).collect()
}

on_both! {
    records_are_found_by_what_they_say: 1;
}

async fn records_are_found_by_what_they_say(fleet: &mut SimulatedFleet) {
    act(fleet, 7).await;
    let context = fleet.context().unwrap();
    let list = async |body: Value| {
        let answer = own(&context, careen::Operation::ListAuditRecords, body).await;
        let seqs = answer["Records"].as_array().unwrap().iter().map(|row| row["SequenceNumber"].as_i64().unwrap());
        (seqs.collect::<Vec<_>>(), answer["NextToken"].clone())
    };
    let (all, _) = list(json!({"MaxResults": 100})).await;
    assert!(all.is_sorted_by(|one, other| one > other) && all.len() >= 8, "{all:?}");
    let mut paged = Vec::new();
    let mut token = Value::Null;
    loop {
        let (some, next) = list(json!({"MaxResults": 3, "NextToken": token})).await;
        paged.extend(some);
        token = next;
        if token.is_null() {
            break;
        }
    }
    assert_eq!(paged, all);
    let role = json!({"Action": "ssm:UpdateManagedInstanceRole", "MaxResults": 5});
    let (some, next) = list(role.clone()).await;
    assert_eq!(some.len(), 5);
    let other = json!({"Action": "ssm:SendCommand", "MaxResults": 5, "NextToken": next});
    let refused = ask_any(&context, Operation::Careen(careen::Operation::ListAuditRecords), &other).await;
    assert_eq!(refused, Err("InvalidNextToken".to_owned()));
    for (filter, count) in [
        (json!({"Action": "ssm:UpdateManagedInstanceRole", "SourceAddress": "192.0.2.10", "Outcome": "Done"}), 7),
        (json!({"Principal": "key/AKIAFLEETFLEETFLEET0", "Action": "ssm:UpdateManagedInstanceRole"}), 7),
        (
            json!({"Resource": home().ssm_arn(&format!("managed-instance/{}", node(fleet, 0))), "Action": "ssm:UpdateManagedInstanceRole"}),
            7,
        ),
        (json!({"Outcome": "Refused"}), 0),
        (json!({"From": 4_102_444_800_i64}), 0),
        (json!({"Until": 0}), 0),
        (json!({"RequestId": "none"}), 0),
    ] {
        assert_eq!(list(filter.clone()).await.0.len(), count, "{filter}");
    }
    assert_eq!(
        own(&context_in(fleet, "eu-west-1"), careen::Operation::ListAuditRecords, json!({})).await["Records"],
        json!([])
    );

    let found = lines(AuditLines::list(&context, AuditSearch::default()).await.unwrap()).await;
    assert_eq!(found.len(), all.len(), "looking writes nothing");
    let search = AuditSearch { action: Some("ssm:UpdateManagedInstanceRole".to_owned()), ..AuditSearch::default() };
    let csv = lines(AuditLines::export(&context, search, ExportForm::Csv).await.unwrap()).await;
    assert_eq!(csv.len(), 1 + 7);
    let (exports, _) = list(json!({"Action": "careen:ExportAuditRecords"})).await;
    assert_eq!(exports.len(), 1, "an export is written down");

    seal(fleet).await;
    act(fleet, 1).await;
    let sealed = lines(AuditLines::export(&context, AuditSearch::default(), ExportForm::Sealed).await.unwrap()).await;
    let key = fleet.server().keys.audit.public_key();
    let mut verifier = audit::Verifier::new(home(), vec![key], identity::verify_ed25519);
    for line in &sealed {
        match audit::export::parse_line(line).unwrap() {
            audit::export::Line::Header { scope, .. } => assert_eq!(scope, home()),
            audit::export::Line::Seal(seal) => verifier.seal(*seal),
            audit::export::Line::Record(record) => verifier.record(&record.digest(&home())),
        }
    }
    let found = verifier.finish(None);
    assert_eq!((found.faults.as_slice(), found.seals, found.unsealed), (&[][..], 1, 2), "{sealed:?}");
    assert_eq!(found.records, all.len() as u64 + 3);
}
