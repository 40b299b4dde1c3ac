//! Client tokens: one request said twice is one request.

use aws_wire::ssm::Operation;
use serde_json::{Value, json};
use store::AuditQuery;
use testkit::fleet::SimulatedFleet;

use crate::support::{ask, call, context_in, home, on_both};

fn baseline(name: &str, token: &str) -> Value {
    json!({"Name": name, "OperatingSystem": "DEBIAN", "ClientToken": token})
}

async fn own_baselines(fleet: &SimulatedFleet) -> Vec<String> {
    let own = json!({"Filters": [{"Key": "OWNER", "Values": ["Self"]}]});
    let answer = call(fleet, Operation::DescribePatchBaselines, own).await;
    let rows = answer["BaselineIdentities"].as_array().unwrap();
    rows.iter().map(|row| row["BaselineId"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    the_same_request_at_the_same_moment_makes_one_baseline: 0;
    a_token_gives_the_first_answer_again: 0;
}

async fn the_same_request_at_the_same_moment_makes_one_baseline(fleet: &mut SimulatedFleet) {
    let body = baseline("one", "token-1");
    let contexts: Vec<_> = (0..4).map(|_| fleet.context().unwrap()).collect();
    let make = |at: usize| ask(&contexts[at], Operation::CreatePatchBaseline, &body);
    let answers = tokio::join!(make(0), make(1), make(2), make(3));
    let first = answers.0.unwrap();
    for answer in [answers.1, answers.2, answers.3] {
        assert_eq!(answer.unwrap(), first);
    }
    assert_eq!(own_baselines(fleet).await, [first["BaselineId"].as_str().unwrap()]);
    let query = AuditQuery { action: Some("ssm:CreatePatchBaseline".to_owned()), ..AuditQuery::all(10) };
    let records = fleet.server().store.audit_list(&home(), &query).await.unwrap();
    assert_eq!(records.len(), 1, "one baseline, one record");
}

async fn a_token_gives_the_first_answer_again(fleet: &mut SimulatedFleet) {
    let first = call(fleet, Operation::CreatePatchBaseline, baseline("one", "token-1")).await;
    fleet.restart_server().await.unwrap();
    assert_eq!(call(fleet, Operation::CreatePatchBaseline, baseline("one", "token-1")).await, first);
    let other = ask(&fleet.context().unwrap(), Operation::CreatePatchBaseline, &baseline("two", "token-1")).await;
    assert_eq!(other, Err("IdempotentParameterMismatch".to_owned()));
    assert_eq!(own_baselines(fleet).await.len(), 1);
    let other_token = call(fleet, Operation::CreatePatchBaseline, baseline("one", "token-2")).await;
    assert_ne!(other_token, first);
    let elsewhere = context_in(fleet, "eu-west-1");
    let there = ask(&elsewhere, Operation::CreatePatchBaseline, &baseline("one", "token-1")).await.unwrap();
    assert_ne!(there, first, "a token means something in its own region only");
    assert_eq!(own_baselines(fleet).await.len(), 2);
}
