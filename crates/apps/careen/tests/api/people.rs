//! Users and access keys with the real AWS CLI and `careen admin`; the CLI waits by itself when it asks too much.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::clients::Request;
use crate::server::{Place, Server};

fn of<'v>(answer: &'v Value, path: &str) -> &'v Value {
    answer.pointer(path).unwrap_or_else(|| panic!("no {path} in {answer}"))
}

#[test]
fn users_and_access_keys_by_the_aws_cli() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let made = clients.aws(&["iam", "create-user", "--user-name", "ana", "--tags", "Key=careen:Role,Value=reader"]);
    assert_eq!(of(&made, "/User/Arn"), "arn:aws:iam::000000000000:user/ana");
    clients.refuses(&["iam", "create-user", "--user-name", "ANA"], "EntityAlreadyExists", "");
    let key = clients.aws(&["iam", "create-access-key", "--user-name", "ana"]);
    let text = |path: &str| of(&key, path).as_str().unwrap().to_owned();
    let (id, secret) = (text("/AccessKey/AccessKeyId"), text("/AccessKey/SecretAccessKey"));
    let environment = [("AWS_ACCESS_KEY_ID", &id), ("AWS_SECRET_ACCESS_KEY", &secret)];
    let as_ana = || environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect::<Vec<_>>();

    clients.environment.replace(as_ana());
    let who = clients.aws(&["sts", "get-caller-identity"]);
    assert_eq!(of(&who, "/Arn"), "arn:aws:iam::000000000000:user/ana");
    assert_eq!(of(&who, "/UserId"), of(&made, "/User/UserId"));
    clients.aws(&["ssm", "describe-instance-information"]);
    let words = "is not authorized to perform";
    clients.refuses(&["ssm", "create-activation", "--iam-role", "fleet"], "AccessDeniedException", words);
    clients.refuses(&["iam", "create-access-key", "--user-name", "root"], "AccessDenied", words);

    clients.environment.replace(Vec::new());
    clients.aws(&["iam", "create-access-key", "--user-name", "ana"]);
    clients.refuses(&["iam", "create-access-key", "--user-name", "ana"], "LimitExceeded", "");
    let update = ["iam", "update-access-key", "--user-name", "ana", "--access-key-id", &id, "--status", "Inactive"];
    clients.aws(&update);
    clients.environment.replace(as_ana());
    clients.refuses(&["sts", "get-caller-identity"], "InvalidClientTokenId", "");
    clients.environment.replace(Vec::new());
    let listed = clients.aws(&["iam", "list-access-keys", "--user-name", "ana"]);
    let keys = of(&listed, "/AccessKeyMetadata").as_array().unwrap();
    assert_eq!(keys.len(), 2);
    clients.refuses(&["iam", "delete-user", "--user-name", "ana"], "DeleteConflict", "");
    for key in keys {
        let id = key["AccessKeyId"].as_str().unwrap();
        clients.aws(&["iam", "delete-access-key", "--user-name", "ana", "--access-key-id", id]);
    }
    clients.aws(&["iam", "delete-user", "--user-name", "ana"]);
    clients.refuses(&["iam", "get-user", "--user-name", "ana"], "NoSuchEntity", "");
    let users = clients.aws(&["iam", "list-users"]);
    let names: Vec<&Value> = of(&users, "/Users").as_array().unwrap().iter().map(|user| &user["UserName"]).collect();
    assert_eq!(names, [&json!("root")]);
    let records = server.audit(&["--action", "iam:CreateAccessKey"]);
    assert!(!records.is_empty() && !format!("{records:?}").contains(&secret));
}

/// `careen admin ARGUMENTS` on the server's folder, with a line on standard input: whether it went well, and what was said.
fn admin(place: &Place, arguments: &[&str], input: &str) -> (bool, String) {
    let data = place.data().display().to_string();
    let mut all = vec!["admin"];
    all.extend(arguments);
    all.extend(["--data", &data]);
    let mut command = place.careen(&all);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn users_and_access_keys_by_careen_admin() {
    let place = Place::new();
    let server: Server<'_> = place.start();
    let well = |arguments: &[&str], input: &str| {
        let (well, said) = admin(&place, arguments, input);
        assert!(well, "{arguments:?}: {said}");
        said
    };
    let badly = |arguments: &[&str], input: &str| {
        let (well, said) = admin(&place, arguments, input);
        assert!(!well, "{arguments:?}: {said}");
        said
    };
    well(&["password", "--stdin"], "correct horse battery\n");
    assert!(badly(&["password", "--stdin"], "short\n").contains("at least 12 characters"));
    assert!(badly(&["password", "--stdin"], "").contains("standard input is empty"));
    assert!(badly(&["password"], "correct horse battery\n").contains("give --stdin"));
    assert!(badly(&["password", "nobody", "--stdin"], "correct horse battery\n").contains("cannot be found"));
    well(&["user", "add", "ana", "--role", "administrator"], "");
    assert!(badly(&["user", "add", "a/b"], "").contains("user name must be"));
    assert!(badly(&["user", "disable", "root"], "").contains("way back in"));
    let made = well(&["access-key", "create", "--user", "ana"], "");
    let id = made.lines().find_map(|line| line.strip_prefix("aws_access_key_id = ")).unwrap().to_owned();
    assert!(well(&["access-key", "rotate", &id], "").contains("still works"));
    assert!(badly(&["access-key", "rotate", &id], "").contains("Cannot exceed quota"));
    well(&["access-key", "disable", &id], "");
    assert!(well(&["access-key", "list", "--user", "ana"], "").contains("disabled"));
    well(&["access-key", "delete", &id], "");
    assert!(badly(&["access-key", "delete", &id], "").contains("cannot be found"));
    well(&["user", "role", "ana", "reader"], "");
    well(&["user", "disable", "ana"], "");
    assert!(badly(&["sign-in-link", "--user", "ana"], "").contains("enable it first"));
    let listed = well(&["user", "list"], "");
    assert!(listed.contains("disabled") && listed.contains("reader"), "{listed}");
    // Root's own key: the credentials file follows.
    let before = place.key();
    well(&["access-key", "rotate", &before.0], "");
    assert_ne!(place.key(), before);
    server.clients().aws(&["sts", "get-caller-identity"]);
    let records = format!("{:?}", server.audit(&[]));
    for secret in ["correct horse", "argon2", &place.key().1] {
        assert!(!records.contains(secret) && !server.log().contains(secret), "{secret}");
    }
}

#[test]
fn who_asks_too_much_is_told_so_and_the_cli_waits_by_itself() {
    let place = Place::new();
    let server = place.start_with(&["--requests-per-second", "1"], &[]);
    let (address, key) = (server.address(), place.key());
    let clients = server.clients();
    let ask = || {
        let request = Request::ssm(&address, "CreatePatchBaseline", r#"{"Name":"throttled"}"#);
        clients.send(&request.signed(&key)).error()
    };
    // A burst of ten tokens is two changes.
    let answers: Vec<_> = (0..6).map(|_| ask()).collect();
    let throttled = (400, "ThrottlingException".to_owned());
    assert!(answers.contains(&throttled), "{answers:?}");
    let form = "Action=ListUsers&Version=2010-05-08";
    let query = Request::new(&address, "POST", "/").service("iam").body(form);
    let query = query.header("Content-Type", "application/x-www-form-urlencoded").signed(&key);
    let answers: Vec<_> = (0..40).map(|_| clients.send(&query)).collect();
    let refused = answers.iter().find(|answer| answer.status == 400).expect("a Query request is throttled too");
    assert!(refused.body.contains("<Code>Throttling</Code>") && refused.body.contains("Rate exceeded"), "{refused:?}");
    clients.environment.replace(vec![("AWS_MAX_ATTEMPTS".to_owned(), "10".to_owned())]);
    clients.aws(&["iam", "list-users"]);
    let metrics = server.get("/metrics").unwrap();
    assert!(metrics.contains(r#"code="ThrottlingException""#), "{metrics}");
}
