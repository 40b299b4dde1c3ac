//! The service `careen` through unmodified clients, and the audit log sealed, exported and verified as a person does it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use testkit::{Finished, run_bounded, wait_for};

use crate::clients::{Clients, Request, aws_program, isolate, text};
use crate::server::{Place, Server};

const BOUND: Duration = Duration::from_secs(60);

fn careen(place: &Place, arguments: &[&str]) -> Finished {
    run_bounded(&mut place.careen(arguments), BOUND).unwrap()
}

/// The clients of a server that found the model where botocore looks for it.
fn clients_with_model(place: &Place, server: &Server<'_>) -> Clients {
    let folder = place.path().join(".aws/models").display().to_string();
    let ended = careen(place, &["admin", "aws-model", "--models-folder", &folder]);
    assert!(ended.succeeded() && ended.stderr_text().contains("aws careen list-audit-records"), "{ended:?}");
    server.clients()
}

#[test]
fn unmodified_clients_call_it() {
    let place = Place::new();
    let server = place.start();
    let clients = clients_with_model(&place, &server);
    for name in ["one", "two", "three"] {
        clients.aws(&["ssm", "create-patch-baseline", "--name", name]);
    }
    let listed =
        clients.aws(&["careen", "list-audit-records", "--page-size", "2", "--action", "ssm:CreatePatchBaseline"]);
    let records = listed["Records"].as_array().unwrap();
    assert_eq!(records.len(), 3, "the CLI goes through the pages: {listed}");
    assert_eq!(records[0]["SequenceNumber"], 4);
    assert!(text(&records[0]["After"]).contains("three"), "newest first: {listed}");
    let one = clients.aws(&["careen", "get-audit-record", "--sequence-number", "4"]);
    assert_eq!(one["Record"]["RequestId"], records[0]["RequestId"]);
    let missing = ["careen", "get-audit-record", "--sequence-number", "99"];
    clients.refuses(&missing, "ResourceNotFoundException", "no audit record 99");
    clients.refuses(&["careen", "list-patch-reasons", "--instance-id", "mi-0"], "InvalidInstanceId", "mi-0");
    let server_told = clients.aws(&["careen", "get-server-information"]);
    assert_eq!((&server_told["DatabaseKind"], &server_told["Incarnation"]), (&json!("SQLite"), &json!(1)));
    assert_eq!(server_told["Version"], env!("CARGO_PKG_VERSION"));

    // A request signed for another service, an operation that is not there, an input that the model forbids.
    let key = place.key();
    let own = |operation: &str, body: &str| {
        Request::new(&server.address(), "POST", "/")
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", &format!("Careen.{operation}"))
            .body(body)
            .service("careen")
    };
    assert_eq!(clients.send(&own("ListAuditRecords", "{}").signed(&key)).status, 200);
    let other = own("ListAuditRecords", "{}").service("ssm").signed(&key);
    assert_eq!(clients.send(&other).status, 400);
    assert_eq!(
        clients.send(&own("StealAuditRecords", "{}").signed(&key)).error(),
        (400, "UnknownOperationException".into())
    );
    for body in [r#"{"MaxResults":101}"#, r#"{"Outcome":"Perhaps"}"#, r#"{"Action":""}"#] {
        let refused = clients.send(&own("ListAuditRecords", body).signed(&key));
        assert_eq!(refused.error(), (400, "ValidationException".into()), "{body}");
    }
    botocore_pages_through_it(&place, &server);
    added_by_hand(&place, &server);
    server.stop();
}

/// As boto3 does it: a client of the service by its name, and the paginator of its operation.
fn botocore_pages_through_it(place: &Place, server: &Server<'_>) {
    let program = "
import awscli.clidriver, botocore.session, sys
client = botocore.session.get_session().create_client('careen', region_name='us-east-1', endpoint_url=sys.argv[1])
pages = list(client.get_paginator('list_audit_records').paginate(PaginationConfig={'PageSize': 1}))
print(len(pages), pages[0]['Records'][0]['Action'], client.verify_audit_log()['Unbroken'])
";
    let mut command = Command::new(aws_program().parent().unwrap().join("python3"));
    isolate(&mut command, place.path());
    command.env("AWS_SHARED_CREDENTIALS_FILE", place.data().join("credentials"));
    command.args(["-c", program, &format!("http://{}", server.address())]);
    let ended = run_bounded(&mut command, BOUND).unwrap();
    assert_eq!(ended.stdout_text(), "4 ssm:CreatePatchBaseline True", "{ended:?}");
}

/// `aws configure add-model`, and then the program itself.
fn added_by_hand(place: &Place, server: &Server<'_>) {
    let home = place.path().join("somebody");
    fs::create_dir(&home).unwrap();
    let file = home.join("careen.json").display().to_string();
    let written = careen(place, &["admin", "aws-model", "--output", &file]);
    assert!(written.stderr_text().contains("aws configure add-model --service-name careen"), "{written:?}");
    let aws = |arguments: &[&str]| {
        let mut command = Command::new(aws_program());
        isolate(&mut command, &home);
        command.env("AWS_SHARED_CREDENTIALS_FILE", place.data().join("credentials"));
        command.env("AWS_ENDPOINT_URL", format!("http://{}", server.address())).args(arguments);
        run_bounded(&mut command, BOUND).unwrap().expect_success("aws").unwrap()
    };
    let model = format!("file://{file}");
    aws(&["configure", "add-model", "--service-name", "careen", "--service-model", &model]);
    assert_eq!(aws(&["careen", "verify-audit-log", "--query", "Unbroken", "--output", "text"]).trim(), "True");
}

/// Waits until the newest record is sealed; what `verify` then prints.
fn sealed(place: &Place, data: &str) -> String {
    wait_for("the records to be sealed", BOUND, || {
        let printed = careen(place, &["audit", "verify", "--data", data]).expect_success("verify").unwrap();
        (!printed.contains("not sealed yet")).then_some(printed)
    })
    .unwrap()
}

fn word_after(printed: &str, label: &str) -> String {
    let rest =
        printed.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("{label}: {printed}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_log_is_verified_here_and_elsewhere() {
    let place = Place::new();
    let server = place.start();
    let data = place.data().display().to_string();
    server.clients().aws(&["ssm", "create-patch-baseline", "--name", "first"]);
    let printed = sealed(&place, &data);
    assert!(printed.starts_with("2 records, "), "{printed}");
    let (head, key) = (word_after(&printed, "head: "), word_after(&printed, "signed with: "));

    let file = place.path().join("audit.jsonl");
    let path = file.display().to_string();
    careen(&place, &["audit", "export", "--data", &data, "--seals", "--output", &path])
        .expect_success("export")
        .unwrap();
    let again = careen(&place, &["audit", "export", "--data", &data, "--seals", "--output", &path]);
    assert!(
        again.code == Some(1) && again.stderr_text().contains("cannot be made"),
        "nothing is overwritten: {again:?}"
    );
    let verify = |more: &[&str]| careen(&place, &[&["audit", "verify", "--file", &path][..], more].concat());
    let whole = verify(&["--public-key", &key, "--head", &head]).expect_success("the file").unwrap();
    assert!(whole.contains("3 records, ") && whole.contains("the newest record is not sealed yet"), "{whole}");
    assert!(verify(&[]).expect_success("the file").unwrap().contains("the file itself names that key"));
    let other = verify(&["--public-key", &"0".repeat(64)]);
    assert!(other.code == Some(1) && other.stdout_text().contains("is not signed with the audit key"), "{other:?}");
    files_that_are_not_as_they_were(&file, &head, &verify);

    server.stop();
    let server = place.start();
    let seals = sealed(&place, &data);
    assert!(seals.contains("unbroken"), "over an end and a start: {seals}");
    let csv = careen(&place, &["audit", "export", "--data", &data, "--format", "csv", "--outcome", "done"]);
    assert!(csv.stdout_text().starts_with("seq,at,principal,"), "{csv:?}");
    edited_behind_the_servers_back(&place, &data, &head);
    server.stop();
}

fn files_that_are_not_as_they_were(file: &Path, head: &str, verify: &impl Fn(&[&str]) -> Finished) {
    let whole = fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let record = lines.iter().position(|line| line.contains("CreatePatchBaseline")).unwrap();
    let without = |index: usize| {
        lines.iter().enumerate().filter(move |(at, _)| *at != index).map(|(_, line)| format!("{line}\n"))
    };
    for (text, words) in [
        (whole.replace("\"first\"", "\"other\""), "record 2 was changed"),
        (without(record).collect(), "record 2 is removed"),
        (without(lines.len() - 1).collect(), "record 3 is missing"),
        (without(0).collect(), "has no header"),
        (String::new(), "has no header"),
        (whole.clone() + "nonsense\n", "is no line of an audit export"),
    ] {
        fs::write(file, &text).unwrap();
        let ended = verify(&[]);
        let said = ended.stdout_text() + &ended.stderr_text();
        assert!(ended.code == Some(1) && said.contains(words), "{words}: {ended:?}");
    }
    // Without its newest seal nothing contradicts itself; who kept the head knows.
    fs::write(file, without(1).collect::<String>()).unwrap();
    assert!(verify(&[]).stdout_text().contains("the 3 newest records are not sealed yet"));
    let cut = verify(&["--head", head]);
    assert!(cut.code == Some(1) && cut.stdout_text().contains("is not in the chain"), "{cut:?}");
    fs::write(file, whole).unwrap();
}

/// The owner of the file needs no server to change it, and sqlite3 asks nobody.
fn edited_behind_the_servers_back(place: &Place, data: &str, head: &str) {
    let whole = ["audit", "verify", "--data", data, "--head", head];
    careen(place, &whole).expect_success("with the head").unwrap();
    let sql = "UPDATE audit SET source_address = '10.0.0.1' WHERE seq = 2";
    let mut sqlite = Command::new("sqlite3");
    sqlite.args(["-cmd", ".timeout 10000"]).arg(place.data().join("careen.db")).arg(sql);
    run_bounded(&mut sqlite, BOUND).unwrap().expect_success("sqlite3").unwrap();
    let ended = careen(place, &whole);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout_text().contains("wrong: record 2 was changed after it was sealed (seal "), "{ended:?}");
    assert!(ended.stderr_text().contains("not as it was sealed"), "{ended:?}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let place = Place::new();
    let server = place.start();
    let data = place.data().display().to_string();
    for (arguments, words) in [
        (&["audit", "--since", "yesterday"][..], "--since"),
        (&["audit", "verify", "--head", "abc"], "64 hexadecimal digits"),
        (&["audit", "export", "--outcome", "perhaps"], "possible values"),
        (&["audit", "export", "--seals", "--action", "x"], "cannot be used with"),
        (&["audit", "verify", "--public-key", "x"], "--file"),
    ] {
        let ended = careen(&place, &[arguments, &["--data", &data]].concat());
        assert!(!ended.succeeded() && ended.stderr_text().contains(words), "{arguments:?}: {ended:?}");
    }
    server.stop();
    let ended = careen(&place, &["audit", "verify", "--data", &data]);
    assert!(ended.code == Some(1) && ended.stderr_text().contains("no server is running"), "{ended:?}");
}
