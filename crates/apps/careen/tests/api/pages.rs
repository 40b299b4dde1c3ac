use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::baselines::create;
use crate::clients::{Clients, text, texts};
use crate::server::Place;

#[test]
fn a_page_token_is_good_for_its_question_alone() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    for n in 0..4 {
        create(&clients, &json!({"Name": format!("own-{n}"), "OperatingSystem": "DEBIAN"}));
    }
    every_baseline_is_on_one_page(&clients);

    let listing = ["ssm", "describe-patch-baselines", "--no-paginate", "--filters", "Key=OWNER,Values=AWS"];
    let page = clients.aws(&[&listing[..], &["--max-results", "5"]].concat());
    let token = text(&page["NextToken"]);
    let next = |arguments: &[&'static str], token: &str| {
        let words = arguments.iter().map(|word| (*word).to_owned());
        words.chain(["--no-paginate".into(), "--next-token".into(), token.to_owned()]).collect::<Vec<String>>()
    };
    let refused = |arguments: &[&'static str], token: &str, code: &str| {
        let all = next(arguments, token);
        clients.refuses(&all.iter().map(String::as_str).collect::<Vec<_>>(), code, "token");
    };
    let rest = clients.aws(&[&listing[..], &["--next-token", &token]].concat());
    assert_eq!(rest["BaselineIdentities"].as_array().unwrap().len(), 12, "another page size is no other question");
    assert!(rest.get("NextToken").is_none());

    // AWS models no error of their own for bad tokens of these two.
    let invalid = "ValidationException";
    let baselines = ["ssm", "describe-patch-baselines"];
    refused(&baselines, &token, invalid);
    refused(&["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=Self"], &token, invalid);
    let elsewhere = ["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=AWS", "--region", "eu-west-1"];
    refused(&elsewhere, &token, invalid);
    refused(&["ssm", "describe-patch-groups", "--filters", "Key=OWNER,Values=AWS"], &token, invalid);
    let tampered: String = token.chars().rev().collect();
    refused(&["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=AWS"], &tampered, invalid);
    for operation in [
        "describe-activations",
        "list-documents",
        "list-commands",
        "list-command-invocations",
        "describe-instance-information",
    ] {
        refused(&["ssm", operation], &token, "InvalidNextToken");
        refused(&["ssm", operation], "AAAA", "InvalidNextToken");
    }
    server.stop();
}

fn every_baseline_is_on_one_page(clients: &Clients) {
    let identities = |arguments: &[&str]| {
        let all = [&["ssm", "describe-patch-baselines"], arguments].concat();
        clients.aws(&all)["BaselineIdentities"].as_array().unwrap().clone()
    };
    let whole = identities(&[]);
    assert_eq!(whole.len(), 21);
    for page_size in ["1", "4", "20", "21"] {
        assert_eq!(identities(&["--page-size", page_size]), whole, "{page_size} at a time");
    }
    let names = |rows: &[Value]| rows.iter().map(|row| text(&row["BaselineName"])).collect::<BTreeSet<_>>();
    assert_eq!(names(&whole).len(), 21);

    let found =
        |filters: &[&str]| names(&identities(&[&["--filters"], filters].concat())).into_iter().collect::<Vec<_>>();
    let own = ["own-0", "own-1", "own-2", "own-3"];
    assert_eq!(found(&["Key=OWNER,Values=Self"]), own);
    assert_eq!(found(&["Key=OWNER,Values=All", "Key=NAME_PREFIX,Values=own-1,own-3"]), ["own-1", "own-3"]);
    assert_eq!(
        found(&["Key=OPERATING_SYSTEM,Values=DEBIAN", "Key=OWNER,Values=AWS"]),
        ["AWS-DebianDefaultPatchBaseline"]
    );
    assert_eq!(found(&["Key=OPERATING_SYSTEM,Values=WINDOWS"]).len(), 3);
    assert_eq!(found(&["Key=OPERATING_SYSTEM,Values=PLAN9"]), [""; 0]);
    clients.refuses(
        &["ssm", "describe-patch-baselines", "--filters", "Key=COLOUR,Values=red"],
        "ValidationException",
        "COLOUR",
    );
    clients.refuses(&["ssm", "describe-patch-baselines", "--max-results", "101"], "ValidationException", "maxResults");
    let two =
        clients.query("BaselineIdentities[].BaselineName", &["ssm", "describe-patch-baselines", "--max-items", "2"]);
    assert_eq!(texts(&two).len(), 2);
}
