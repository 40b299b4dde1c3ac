//! Pages: together they are the whole, each row once, and a token fits its own question alone.

use aws_wire::ssm::Operation;
use patching::{ComplianceLevel, Coverage, PatchRow, PatchState, PatchSummary, Reason, RecordedReport, RowDelta};
use serde_json::{Value, json};
use testkit::fleet::{FleetDatabase, Sending, SimulatedFleet};

use crate::support::{ask, call, context_in, home, node, on_both, with_fleet};

/// A listing: the operation, its input besides the page, the answer's list, and the smallest page it gives.
struct Listing {
    operation: Operation,
    question: Value,
    /// Another question that leads to the same kind of answer.
    other: Value,
    list: &'static str,
    page: usize,
    /// How many rows there are at least.
    rows: usize,
}

fn listings(fleet: &SimulatedFleet) -> Vec<Listing> {
    let first = node(fleet, 0);
    let listing =
        |operation, question, other, list, page, rows| Listing { operation, question, other, list, page, rows };
    let nothing = || json!({});
    let activations = json!({"Filters": [{"FilterKey": "IamRole", "FilterValues": ["x"]}]});
    let online = json!({"Filters": [{"Key": "PingStatus", "Values": ["Online"]}]});
    let debian = json!({"Filters": [{"Key": "OPERATING_SYSTEM", "Values": ["DEBIAN"]}]});
    let groups = json!({"Filters": [{"Key": "NAME_PREFIX", "Values": ["group"]}]});
    let some: Vec<String> = (0..11).map(|agent| node(fleet, agent)).collect();
    let all: Vec<String> = (0..12).map(|agent| node(fleet, agent)).collect();
    let patches = json!({"InstanceId": first, "Filters": [{"Key": "State", "Values": ["Installed"]}]});
    let documents = json!({"Filters": [{"Key": "Owner", "Values": ["Amazon"]}]});
    vec![
        listing(Operation::DescribeActivations, nothing(), activations, "ActivationList", 2, 5),
        listing(Operation::DescribeInstanceInformation, nothing(), online, "InstanceInformationList", 5, 12),
        listing(Operation::DescribePatchBaselines, nothing(), debian, "BaselineIdentities", 4, 10),
        listing(Operation::DescribePatchGroups, nothing(), groups, "Mappings", 2, 5),
        listing(
            Operation::DescribeInstancePatchStates,
            json!({"InstanceIds": all}),
            json!({"InstanceIds": some}),
            "InstancePatchStates",
            10,
            12,
        ),
        listing(Operation::DescribeInstancePatches, json!({"InstanceId": first}), patches, "Patches", 10, 34),
        listing(Operation::ListCommands, nothing(), json!({"InstanceId": first}), "Commands", 2, 5),
        listing(
            Operation::ListCommandInvocations,
            nothing(),
            json!({"InstanceId": first}),
            "CommandInvocations",
            7,
            5 * 12,
        ),
        listing(Operation::ListDocuments, nothing(), documents, "DocumentIdentifiers", 1, 2),
    ]
}

async fn furnish(fleet: &mut SimulatedFleet) {
    for number in 0..5 {
        call(fleet, Operation::CreateActivation, json!({"IamRole": "service-role/Fleet"})).await;
        // Two of one moment: the order must not depend on the instant alone.
        fleet.clock().advance_seconds(number % 2);
        fleet.send(&Sending::shell("true")).await.unwrap();
        let body = json!({"Name": format!("own-{number}"), "OperatingSystem": "DEBIAN"});
        let made = call(fleet, Operation::CreatePatchBaseline, body).await;
        let group = json!({"BaselineId": made["BaselineId"], "PatchGroup": format!("group {number}")});
        call(fleet, Operation::RegisterPatchBaselineForPatchGroup, group).await;
    }
    fleet.send(&Sending::patch("Scan")).await.unwrap();
    for _ in 0..3 {
        fleet.go_well().await.unwrap();
    }
    many_patches(fleet).await;
}

/// A report with more rows than a page has.
async fn many_patches(fleet: &SimulatedFleet) {
    let id = fleet.agents()[0].node_id().unwrap();
    let store = &fleet.server().store;
    let before = store.patch_summary_get(&home(), id).await.unwrap();
    let last = before.row.unwrap();
    let row = |number: usize| PatchRow {
        name: format!("package-{number:02}"),
        architecture: "amd64".to_owned(),
        version: "1".to_owned(),
        classification: String::new(),
        severity: String::new(),
        state: PatchState::Installed,
        installed_at: fleet.clock().now(),
        compliance_level: ComplianceLevel::Unspecified,
        reason: Reason::UpToDate { coverage: Coverage::NoRuleMatches },
        installed_version: "1".to_owned(),
        available_version: None,
    };
    let summary = PatchSummary { ended_at: last.summary.ended_at.plus_seconds(60), ..last.summary };
    let report = RecordedReport {
        node: id.clone(),
        command: last.command_id,
        summary,
        rows: RowDelta { put: (0..30).map(row).collect(), gone: Vec::new() },
        state_changes: Vec::new(),
    };
    let mut changes: changes::Changes<store::Write> = changes::Changes::new();
    changes.writes.push(patching::Write::ReportPut(Box::new(report)).into());
    store.apply(&home(), changes).await.unwrap();
}

fn with(question: &Value, extra: Value) -> Value {
    let mut body = question.clone();
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// All pages of a listing.
async fn paged(fleet: &SimulatedFleet, listing: &Listing) -> (Vec<Value>, Vec<String>) {
    let (mut rows, mut tokens) = (Vec::new(), Vec::<String>::new());
    loop {
        let mut body = with(&listing.question, json!({"MaxResults": listing.page}));
        if let Some(token) = tokens.last() {
            body = with(&body, json!({"NextToken": token}));
        }
        let answer = call(fleet, listing.operation, body).await;
        let page = answer[listing.list].as_array().unwrap();
        assert!(page.len() <= listing.page, "{:?} gives {} rows", listing.operation, page.len());
        rows.extend(page.clone());
        match answer["NextToken"].as_str() {
            Some(token) => tokens.push(token.to_owned()),
            None => return (rows, tokens),
        }
        assert_eq!(page.len(), listing.page, "{:?}: a page before the last is full", listing.operation);
        assert!(tokens.len() < 100, "{:?} comes to no end", listing.operation);
    }
}

fn sorted(rows: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

on_both! {
    pages_are_the_whole_each_row_once: 12;
}

async fn pages_are_the_whole_each_row_once(fleet: &mut SimulatedFleet) {
    furnish(fleet).await;
    for listing in listings(fleet) {
        let name = format!("{:?}", listing.operation);
        let whole = call(fleet, listing.operation, with(&listing.question, json!({"MaxResults": 50}))).await;
        let whole = whole[listing.list].as_array().unwrap().clone();
        let (rows, tokens) = paged(fleet, &listing).await;
        assert!(rows.len() >= listing.rows, "{name}: {} rows", rows.len());
        assert_eq!(tokens.len(), (rows.len() - 1) / listing.page, "{name}: no empty last page");
        if rows.len() <= 50 {
            assert_eq!(rows, whole, "{name}: the pages in their order are the whole");
        }
        let mut once = sorted(&rows);
        once.dedup();
        assert_eq!(once.len(), rows.len(), "{name}: each row once");
    }
}

#[test]
fn a_token_fits_its_own_question_alone() {
    with_fleet(12, FleetDatabase::Sqlite, async |fleet| {
        furnish(fleet).await;
        let listings = listings(fleet);
        let mut tokens = Vec::new();
        for listing in &listings {
            tokens.push(paged(fleet, listing).await.1.remove(0));
        }
        for (at, listing) in listings.iter().enumerate() {
            let name = format!("{:?}", listing.operation);
            let page = json!({"MaxResults": listing.page});
            let own = with(&with(&listing.question, page.clone()), json!({"NextToken": tokens[at]}));
            call(fleet, listing.operation, own.clone()).await;
            let invalid = ["InvalidNextToken", "ValidationException"];
            let mut refused = Vec::new();
            // Another operation's, a broken one, nonsense, the same operation with other filters, another region.
            for token in
                [&tokens[(at + 1) % tokens.len()], &tokens[at][..tokens[at].len() - 1].to_owned(), &"x".to_owned()]
            {
                let body = with(&with(&listing.question, page.clone()), json!({"NextToken": token}));
                refused.push(ask(&fleet.context().unwrap(), listing.operation, &body).await);
            }
            let body = with(&with(&listing.other, page), json!({"NextToken": tokens[at]}));
            refused.push(ask(&fleet.context().unwrap(), listing.operation, &body).await);
            refused.push(ask(&context_in(fleet, "eu-west-1"), listing.operation, &own).await);
            for (case, answer) in refused.into_iter().enumerate() {
                let code = answer.expect_err(&format!("{name}, case {case}"));
                assert!(invalid.contains(&code.as_str()), "{name}, case {case}: {code}");
            }
        }
        // A token outlives the server that gave it.
        fleet.restart_server().await.unwrap();
        for (listing, token) in listings.iter().zip(&tokens) {
            let body = with(&listing.question, json!({"MaxResults": listing.page, "NextToken": token}));
            call(fleet, listing.operation, body).await;
        }
    });
}

#[test]
fn what_comes_while_someone_reads_pages_moves_nothing() {
    with_fleet(3, FleetDatabase::Sqlite, async |fleet| {
        for _ in 0..4 {
            fleet.send(&Sending::shell("true")).await.unwrap();
            fleet.clock().advance_seconds(1);
        }
        let before: Vec<String> = fleet.commands().iter().rev().map(ToString::to_string).collect();
        let first = call(fleet, Operation::ListCommands, json!({"MaxResults": 2})).await;
        fleet.send(&Sending::shell("true")).await.unwrap();
        let body = json!({"MaxResults": 2, "NextToken": first["NextToken"]});
        let second = call(fleet, Operation::ListCommands, body).await;
        let ids = |page: &Value| -> Vec<String> {
            let commands = page["Commands"].as_array().unwrap();
            commands.iter().map(|command| command["CommandId"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!([ids(&first), ids(&second)].concat(), before);
    });
}
