use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::run_bounded;

use crate::baselines::{create, whole_debian_baseline};
use crate::clients::{Clients, Request, aws_program, isolate, text, texts};
use crate::server::Place;

const BOUND: Duration = Duration::from_secs(60);
/// The predefined baseline of Debian.
const DEBIAN: &str = "arn:aws:ssm:us-east-1:075727635805:patchbaseline/pb-09a5f8eb62bde80b1";

/// Everything that the API tells, of all that can exist without nodes.
fn everything(clients: &Clients, baseline: &str) -> Vec<Value> {
    [
        &["ssm", "describe-patch-baselines"][..],
        &["ssm", "get-patch-baseline", "--baseline-id", baseline],
        &["ssm", "get-default-patch-baseline", "--operating-system", "DEBIAN"],
        &["ssm", "describe-patch-groups"],
        &["ssm", "describe-activations"],
        &["ssm", "list-tags-for-resource", "--resource-type", "PatchBaseline", "--resource-id", baseline],
        &["ssm", "list-commands"],
        &["sts", "get-caller-identity"],
    ]
    .map(|arguments| clients.aws(arguments))
    .to_vec()
}

#[test]
fn what_was_made_outlives_the_server() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let mode = fs::metadata(place.data().join("credentials")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = place.key();

    let baseline = create(&clients, &whole_debian_baseline());
    let tag = ["--resource-type", "PatchBaseline", "--resource-id", &baseline, "--tags", "Key=a,Value=b"];
    clients.aws(&[&["ssm", "add-tags-to-resource"][..], &tag].concat());
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", &baseline]);
    clients.aws(&[
        "ssm",
        "register-patch-baseline-for-patch-group",
        "--baseline-id",
        &baseline,
        "--patch-group",
        "web",
    ]);
    clients.aws(&["ssm", "create-activation", "--iam-role", "Fleet"]);
    let once = ["ssm", "create-patch-baseline", "--name", "once", "--client-token", "token"];
    let first = clients.aws(&once);
    let page = ["ssm", "describe-patch-baselines", "--no-paginate", "--max-results", "3"];
    let token = text(&clients.aws(&page)["NextToken"]);
    let before = everything(&clients, &baseline);
    server.kill();

    let server = place.start();
    let clients = server.clients();
    assert_eq!(place.key(), key);
    assert_eq!(everything(&clients, &baseline), before, "after a loss of power");
    assert_eq!(clients.aws(&once), first);
    clients.aws(&[&page[..], &["--next-token", &token]].concat());

    // One SQLite file serves one server.
    let second = place.refused_start(&[]);
    assert!(second.code == Some(1) && second.stderr_text().contains("in use by another server"), "{second:?}");
    assert_eq!(everything(&clients, &baseline), before, "the first one goes on");
    server.stop();

    another_key_file_opens_nothing(&place);
    let server = place.start();
    assert_eq!(everything(&server.clients(), &baseline), before, "after an orderly end and a key that was put back");
    as_a_person_types_it(&place, &server.address());
    server.stop();
}

fn another_key_file_opens_nothing(place: &Place) {
    let path = place.data().join("key");
    let right = fs::read(&path).unwrap();
    let other = Place::new();
    other.start().stop();
    let database = fs::read(place.data().join("careen.db")).unwrap();
    for (key, words) in [
        (fs::read(other.data().join("key")).unwrap(), "key file is not the one this database was made with"),
        (b"nonsense\n".to_vec(), "does not hold 32 bytes"),
    ] {
        fs::write(&path, key).unwrap();
        let ended = place.refused_start(&[]);
        assert!(ended.code == Some(1) && ended.stderr_text().contains(words), "{ended:?}");
    }
    fs::write(&path, &right).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ended = place.refused_start(&[]);
    assert!(ended.code == Some(1) && ended.stderr_text().contains("may be read by others"), "{ended:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read(place.data().join("careen.db")).unwrap(), database, "a refused start changes nothing");
}

/// The program itself, in a process of its own, with two variables and nothing else.
fn as_a_person_types_it(place: &Place, address: &str) {
    let mut command = Command::new(aws_program());
    isolate(&mut command, place.path());
    command.env("AWS_SHARED_CREDENTIALS_FILE", place.data().join("credentials"));
    command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
    command.args(["ssm", "describe-instance-information", "--output", "text"]);
    let ended = run_bounded(&mut command, BOUND).unwrap();
    assert_eq!((ended.code, ended.stdout_text().as_str(), ended.stderr_text().as_str()), (Some(0), "", ""));
}

#[test]
fn the_administrators_key_can_come_from_outside() {
    let place = Place::new();
    let (id, secret) = ("AKIACAREENTEST000001", "a secret from outside, forty characters.");
    let pair = [("CAREEN_ROOT_ACCESS_KEY_ID", id), ("CAREEN_ROOT_SECRET_ACCESS_KEY", secret)];
    for one in pair {
        let ended = place.refused_start(&[one]);
        assert!(ended.code == Some(1) && ended.stderr_text().contains("go together"), "{ended:?}");
    }
    let ended = place.refused_start(&[("CAREEN_ROOT_ACCESS_KEY_ID", "no key"), pair[1]]);
    assert!(ended.code == Some(1) && ended.stderr_text().contains("CAREEN_ROOT_ACCESS_KEY_ID"), "{ended:?}");
    assert!(!ended.stderr_text().contains(secret), "{ended:?}");

    let server = place.start_with(&["--account", "123456789012", "--region", "eu-central-1"], &pair);
    assert_eq!(place.key(), (id.to_owned(), secret.to_owned()));
    let clients = server.clients();
    let who = json!({"UserId": "123456789012", "Account": "123456789012", "Arn": "arn:aws:iam::123456789012:root"});
    assert_eq!(clients.aws(&["sts", "get-caller-identity"]), who);
    let default = clients.query("BaselineId", &["ssm", "get-default-patch-baseline"]);
    assert_eq!(
        default, "arn:aws:ssm:eu-central-1:075727635805:patchbaseline/pb-09ca3fb51f0412ec3",
        "the file's region"
    );
    server.stop();

    // A new secret for the same key counts from the next start; without the variables it is still the key.
    let changed = [pair[0], ("CAREEN_ROOT_SECRET_ACCESS_KEY", "another secret from outside")];
    place.start_with(&["--account", "123456789012"], &changed).stop();
    let server = place.start_with(&["--account", "123456789012"], &[]);
    assert_eq!(place.key(), (id.to_owned(), "another secret from outside".to_owned()));
    let clients = server.clients();
    assert_eq!(clients.aws(&["sts", "get-caller-identity"]), who);
    clients.with_environment(&[("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)], || {
        clients.refuses(&["ssm", "list-commands"], "InvalidSignatureException", "");
    });
    server.stop();
}

#[test]
fn every_change_is_written_down_and_no_secret_is() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let key = place.key();

    let made = clients.aws(&["ssm", "create-activation", "--iam-role", "Fleet"]);
    let (activation, code) = (text(&made["ActivationId"]), text(&made["ActivationCode"]));
    let id = changes_of_every_kind(&clients);
    clients.refuses(&["ssm", "get-patch-baseline", "--baseline-id", &id], "DoesNotExistException", "");
    let delete = Request::ssm(&server.address(), "DeleteActivation", &json!({"ActivationId": activation}).to_string());
    let last = clients.send(&delete.signed(&key));
    assert_eq!((last.status, last.body.as_str()), (200, "{}"));

    let all = server.audit(&[]);
    assert_eq!((&all[0]["action"], &all[0]["principal"]), (&json!("careen:PutAccessKey"), &json!("system")), "{all:?}");
    let records = &all[1..];
    let arn = format!("arn:aws:ssm:us-east-1:000000000000:patchbaseline/{id}");
    each_is_there_with_before_and_after(records, &arn);
    for record in records {
        assert_eq!((&record["principal"], &record["outcome"]), (&json!(format!("key/{}", key.0)), &json!("done")));
        assert_eq!(record["source_address"], "127.0.0.1");
    }
    assert_eq!(text(&records[11]["request_id"]), last.headers["x-amzn-requestid"], "the id that the caller got");
    audit_is_filtered(&server, records, &arn);

    let printed = all.iter().map(Value::to_string).collect::<String>() + &server.log();
    server.stop();
    for secret in [&key.1, &code, "s3cret-of-the-source", "the-password-in-a-script"] {
        assert!(!printed.contains(secret), "{secret} is in the audit or in the log");
    }
    let database = place.database_bytes();
    let holds = |bytes: &[u8]| database.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(key.0.as_bytes()) && holds(activation.as_bytes()), "the search finds what is there");
    // Scripts and sources are kept to be run; keys and codes are not kept in clear.
    let shown_once = agent_wire::ActivationCode::parse(&code).unwrap();
    let secret = shown_once.secret();
    for (what, bytes) in [
        ("the secret key", key.1.as_bytes()),
        ("the code", &code.as_bytes()[..20]),
        ("the code's bytes", secret),
        ("the code's digest, which is as good", identity::sha256(secret).as_slice()),
    ] {
        assert!(!holds(bytes), "{what} is in the database");
    }
}

/// One change of each kind, and two that change nothing; gives the id of the baseline, which is gone in the end.
fn changes_of_every_kind(clients: &Clients) -> String {
    let id = create(clients, &whole_debian_baseline());
    clients.aws(&["ssm", "update-patch-baseline", "--baseline-id", &id, "--name", "renamed"]);
    let on = |task: &'static str| ["ssm", task, "--resource-type", "PatchBaseline", "--resource-id", &id];
    for _ in 0..2 {
        clients.aws(&[&on("add-tags-to-resource")[..], &["--tags", "Key=a,Value=1"]].concat());
    }
    clients.aws(&[&on("remove-tags-from-resource")[..], &["--tag-keys", "a"]].concat());
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", &id]);
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", DEBIAN]);
    let group = ["--baseline-id", &id, "--patch-group", "web"];
    clients.aws(&[&["ssm", "register-patch-baseline-for-patch-group"][..], &group].concat());
    clients.aws(&[&["ssm", "deregister-patch-baseline-for-patch-group"][..], &group].concat());
    let script = "commands=echo the-password-in-a-script";
    let send = ["ssm", "send-command", "--document-name", "AWS-RunShellScript", "--parameters", script];
    clients.aws(&[&send[..], &["--targets", "Key=InstanceIds,Values=*"]].concat());
    for _ in 0..2 {
        clients.aws(&["ssm", "delete-patch-baseline", "--baseline-id", &id]);
    }
    id
}

/// Looks at what a record has as before or as after.
type Look = fn(&Value) -> bool;

fn each_is_there_with_before_and_after(records: &[Value], arn: &str) {
    let of_debian: Look = |row| row["operating_system"] == "DEBIAN";
    let of_web: Look = |row| row["patch_group"] == "web";
    let expected: [(&str, &str, Look, Look); 12] = [
        ("CreateActivation", "activation/", Value::is_null, |row| row["iam_role"] == "Fleet"),
        ("CreatePatchBaseline", arn, Value::is_null, |row| row["name"] == "debian-web"),
        ("UpdatePatchBaseline", arn, |row| row["name"] == "debian-web", |row| row["name"] == "renamed"),
        ("AddTagsToResource", arn, |tags| *tags == json!({}), |tags| *tags == json!({"a": "1"})),
        ("RemoveTagsFromResource", arn, |tags| *tags == json!({"a": "1"}), |tags| *tags == json!({})),
        ("RegisterDefaultPatchBaseline", arn, Value::is_null, of_debian),
        ("RegisterDefaultPatchBaseline", DEBIAN, |row| row["predefined"] == false, of_debian),
        ("RegisterPatchBaselineForPatchGroup", arn, Value::is_null, of_web),
        ("DeregisterPatchBaselineForPatchGroup", arn, of_web, Value::is_null),
        ("SendCommand", "command/", Value::is_null, |row| row["document_name"] == "AWS-RunShellScript"),
        ("DeletePatchBaseline", arn, |row| row["name"] == "renamed", Value::is_null),
        ("DeleteActivation", "activation/", |row| row["iam_role"] == "Fleet", Value::is_null),
    ];
    let actions: Vec<String> = records.iter().map(|record| text(&record["action"])).collect();
    let wanted: Vec<String> = expected.iter().map(|(action, ..)| format!("ssm:{action}")).collect();
    assert_eq!(actions, wanted, "each change once, in order; what changed nothing is not there");
    for (record, (action, resource, before, after)) in records.iter().zip(expected) {
        assert!(text(&record["resource"]).contains(resource), "{action}: {record}");
        assert!(before(&record["before"]) && after(&record["after"]), "{action}: {record}");
    }
}

fn audit_is_filtered(server: &crate::server::Server<'_>, records: &[Value], arn: &str) {
    let seqs = |arguments: &[&str]| server.audit(arguments).iter().map(|row| row["seq"].as_i64()).collect::<Vec<_>>();
    let of = |index: usize| records[index]["seq"].as_i64();
    assert_eq!(seqs(&["--action", "ssm:SendCommand"]), [of(9)]);
    assert_eq!(seqs(&["--request-id", records[3]["request_id"].as_str().unwrap()]), [of(3)]);
    assert_eq!(seqs(&["--resource", arn, "--since", records[8]["at"].as_str().unwrap()]), [of(8), of(10)]);
    assert_eq!(seqs(&["--until", records[0]["at"].as_str().unwrap()]), [Some(1)], "the key alone");
    assert_eq!(seqs(&["--region", "eu-west-1"]), [None; 0]);
    let actions: Vec<Value> = server.audit(&["--resource", arn]).iter().map(|row| row["action"].clone()).collect();
    assert_eq!(texts(&json!(actions)).len(), 8);
}
