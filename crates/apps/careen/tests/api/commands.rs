use std::time::Duration;

use serde_json::{Value, json};
use testkit::wait_for;

use crate::clients::{Clients, text, texts};
use crate::server::Place;

#[test]
fn the_documents_that_there_are_can_be_read() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let names = |arguments: &[&str]| {
        let found = clients.query("DocumentIdentifiers[].Name", &[&["ssm", "list-documents"], arguments].concat());
        texts(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let both = ["AWS-RunPatchBaseline", "AWS-RunShellScript"];
    assert_eq!(names(&[]), both);
    assert_eq!(names(&["--page-size", "1"]), both);
    assert_eq!(names(&["--filters", "Key=Owner,Values=Amazon", "Key=Name,Values=AWS-RunP,Other"]), both[..1]);
    assert_eq!(names(&["--filters", "Key=PlatformTypes,Values=MacOS"]), both[1..]);
    assert_eq!(names(&["--document-filter-list", "key=Name,value=AWS-RunS"]), both[1..]);
    assert!(names(&["--filters", "Key=Owner,Values=Self"]).is_empty());
    clients.refuses(&["ssm", "list-documents", "--filters", "Key=Colour,Values=red"], "InvalidFilterKey", "");

    let described = clients.aws(&["ssm", "describe-document", "--name", "AWS-RunPatchBaseline"])["Document"].clone();
    let expected = json!({
        "Name": "AWS-RunPatchBaseline", "Owner": "Amazon", "Status": "Active", "HashType": "Sha256", "DocumentVersion": "1",
        "LatestVersion": "1", "DefaultVersion": "1", "DocumentType": "Command", "DocumentFormat": "JSON",
        "SchemaVersion": "2.2", "PlatformTypes": ["Linux"], "Tags": [],
    });
    for (name, value) in expected.as_object().unwrap() {
        let mut found = described[name].clone();
        let mut value = value.clone();
        for list in [&mut found, &mut value].into_iter().filter_map(Value::as_array_mut) {
            list.sort_by_key(Value::to_string);
        }
        assert_eq!(found, value, "{name}");
    }
    let parameters: Vec<(&str, Option<&str>)> = described["Parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["Name"].as_str().unwrap(), row["DefaultValue"].as_str()))
        .collect();
    let optional = ["AssociationId", "SnapshotId", "InstallOverrideList"].map(|name| (name, Some("")));
    let last = [("RebootOption", Some("RebootIfNeeded")), ("BaselineOverride", Some(""))];
    assert_eq!(parameters, [&[("Operation", None)][..], &optional, &last].concat());

    let got = clients.aws(&["ssm", "get-document", "--name", "AWS-RunPatchBaseline", "--document-version", "$LATEST"]);
    let content: Value = serde_json::from_str(got["Content"].as_str().unwrap()).unwrap();
    let steps: Vec<&str> =
        content["mainSteps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(steps, ["PatchWindows", "PatchMacOS", "PatchLinux"]);
    assert_eq!(content["mainSteps"][2]["action"], "careen:patch");
    assert_eq!((&got["DocumentVersion"], &got["DocumentType"]), (&json!("1"), &json!("Command")));
    let arn = "arn:aws:ssm:us-east-1::document/AWS-RunShellScript";
    assert_eq!(clients.aws(&["ssm", "get-document", "--name", arn])["Name"], "AWS-RunShellScript");
    let permission =
        ["ssm", "describe-document-permission", "--permission-type", "Share", "--name", "AWS-RunShellScript"];
    assert_eq!(clients.aws(&permission), json!({"AccountIds": [], "AccountSharingInfoList": []}));

    for task in ["get-document", "describe-document"] {
        let name = "AWS-RunShellScript";
        clients.refuses(&["ssm", task, "--name", "No-Such-Document"], "InvalidDocument", "No-Such-Document");
        clients.refuses(&["ssm", task, "--name", name, "--document-version", "2"], "InvalidDocumentVersion", "");
        clients.refuses(
            &["ssm", task, "--name", name, "--document-version", "x"],
            "ValidationException",
            "documentVersion",
        );
        clients.refuses(&["ssm", task, "--name", name, "--version-name", "gold"], "InvalidDocumentVersion", "");
    }
    let yaml = ["ssm", "get-document", "--name", "AWS-RunShellScript", "--document-format", "YAML"];
    clients.refuses(&yaml, "ValidationException", "DocumentFormat");
    commands_are_refused_for_what_they_ask(&clients);
    nodes_are_asked_for_by_filters_that_there_are(&clients);
    server.stop();
}

const ALL: &str = "Key=InstanceIds,Values=*";
const UPTIME: &str = "commands=uptime";
const NODE: &str = "mi-0123456789abcdef0";

/// `send-command` of the shell script to all nodes, with `arguments` in place of what they name.
fn send<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["ssm", "send-command"];
    let defaults = [("--document-name", "AWS-RunShellScript"), ("--parameters", UPTIME), ("--targets", ALL)];
    for (name, value) in defaults.into_iter().filter(|(name, _)| !arguments.contains(name)) {
        if !(name == "--targets" && arguments.contains(&"--instance-ids")) {
            all.extend([name, value]);
        }
    }
    all.extend(arguments.iter().filter(|word| !word.is_empty()));
    all
}

fn commands_are_refused_for_what_they_ask(clients: &Clients) {
    let (validation, parameters) = ("ValidationException", "InvalidParameters");
    let patch = "AWS-RunPatchBaseline";
    let comment = "c".repeat(101);
    let large = format!("commands={}", "x".repeat(66_000));
    let alarm = r#"{"Alarms": [{"Name": "a"}]}"#;
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--document-name", "No-Such-Document"], "InvalidDocument", "No-Such-Document"),
        (&["--document-version", "7"], "InvalidDocumentVersion", ""),
        (&["--document-hash", &"0".repeat(64), "--document-hash-type", "Sha256"], "InvalidDocument", "hash"),
        (&["--instance-ids", NODE], "InvalidInstanceId", NODE),
        (&["--instance-ids", NODE, NODE], "DuplicateInstanceId", ""),
        (&["--instance-ids", "i-0123456789abcdef0"], "InvalidInstanceId", "i-0123456789abcdef0"),
        (&["--instance-ids", NODE, "--targets", ALL], validation, "not both"),
        (&["--targets"], validation, "InstanceIds or Targets"),
        (&["--targets", "Key=Colour,Values=red"], validation, "Colour"),
        (&["--targets", "Key=resource-groups:Name,Values=web"], validation, "resource-groups:Name"),
        (&["--parameters", "{}"], parameters, "commands is required"),
        (&["--parameters", "commands=uptime,colour=red"], parameters, "colour"),
        (&["--parameters", "commands=uptime,executionTimeout=soon"], parameters, "executionTimeout must match"),
        (&["--parameters", &large], "MaxDocumentSizeExceeded", "64 KB"),
        (&["--document-name", patch, "--parameters", "{}"], parameters, "Operation is required"),
        (&["--document-name", patch, "--parameters", "Operation=Mend"], parameters, "Scan, Install"),
        (&["--document-name", patch, "--parameters", "Operation=Scan,RebootOption=Never"], parameters, "RebootOption"),
        (&["--document-name", patch, "--parameters", r#"{"Operation": ["Scan", "Install"]}"#], parameters, "one value"),
        (
            &["--document-name", patch, "--parameters", "Operation=Scan,BaselineOverride=https://x.example/b"],
            validation,
            "BaselineOverride",
        ),
        (&["--max-concurrency", "0"], validation, "maxConcurrency"),
        (&["--max-concurrency", "101%"], validation, "maxConcurrency"),
        (&["--max-errors", "ten"], validation, "maxErrors"),
        (&["--timeout-seconds", "2592001"], validation, "timeoutSeconds"),
        (&["--comment", &comment], validation, "comment"),
        (&["--output-s3-bucket-name", "bucket"], validation, "OutputS3BucketName"),
        (&["--output-s3-key-prefix", "prefix"], validation, "OutputS3KeyPrefix"),
        (&["--service-role-arn", "arn:aws:iam::000000000000:role/sns"], validation, "ServiceRoleArn"),
        (&["--notification-config", "NotificationArn=arn:aws:sns:us-east-1:0:t"], validation, "NotificationConfig"),
        (
            &["--notification-config", "NotificationEvents=All,NotificationType=Command"],
            validation,
            "NotificationConfig",
        ),
        (&["--cloud-watch-output-config", "CloudWatchOutputEnabled=true"], validation, "CloudWatchOutputConfig"),
        (&["--alarm-configuration", alarm], validation, "AlarmConfiguration"),
    ];
    for (arguments, code, words) in cases {
        let arguments: &[&str] = if *arguments == ["--targets"] { &["--targets", "[]"] } else { arguments };
        clients.refuses(&send(arguments), code, words);
    }
    assert_eq!(clients.aws(&["ssm", "list-commands"]), json!({"Commands": []}), "nothing of it was sent");

    let id = "01234567-89ab-4cde-8f01-23456789abcd";
    let of = |task: &'static str, more: &[&'static str]| [&["ssm", task, "--command-id", id], more].concat();
    clients.refuses(&of("cancel-command", &[]), "InvalidCommandId", "");
    let invocation = of("get-command-invocation", &["--instance-id", NODE]);
    clients.refuses(&invocation, "InvalidCommandId", "");
    assert_eq!(clients.aws(&of("list-command-invocations", &[])), json!({"CommandInvocations": []}));
    clients.refuses(&["ssm", "list-commands", "--filters", "key=Status,value=Mended"], validation, "Mended");
    clients.refuses(&["ssm", "list-commands", "--max-results", "51"], validation, "maxResults");
    clients.refuses(
        &["ssm", "list-command-invocations", "--filters", "key=ExecutionStage,value=Complete"],
        "InvalidFilterKey",
        "",
    );
    clients.refuses(&["ssm", "describe-instance-patches", "--instance-id", NODE], "InvalidInstanceId", NODE);
    clients.refuses(&["ssm", "deregister-managed-instance", "--instance-id", NODE], "InvalidInstanceId", NODE);
    let role = ["ssm", "update-managed-instance-role", "--instance-id", NODE, "--iam-role", "Fleet"];
    clients.refuses(&role, "InvalidInstanceId", NODE);
    let states = ["ssm", "describe-instance-patch-states", "--instance-ids", NODE];
    assert_eq!(clients.aws(&states), json!({"InstancePatchStates": []}));
}

fn nodes_are_asked_for_by_filters_that_there_are(clients: &Clients) {
    let list = |arguments: &[&'static str]| [&["ssm", "describe-instance-information"], arguments].concat();
    let filters = |filter: &'static str| list(&["--filters", filter]);
    let legacy = "--instance-information-filter-list";
    let none = json!({"InstanceInformationList": []});
    for accepted in [
        list(&[]),
        filters("Key=InstanceIds,Values=mi-0123456789abcdef0"),
        filters("Key=PingStatus,Values=Online,ConnectionLost"),
        filters("Key=tag:PatchGroup,Values=web"),
        filters("Key=ResourceType,Values=ManagedInstance"),
        list(&[legacy, "key=PlatformTypes,valueSet=Linux"]),
        list(&["--page-size", "5"]),
    ] {
        assert_eq!(clients.aws(&accepted), none, "{accepted:?}");
    }
    let (key, value) = ("InvalidFilterKey", "InvalidInstanceInformationFilterValue");
    for (refused, code) in [
        (filters("Key=Colour,Values=red"), key),
        (filters("Key=PingStatus,Values=Sleepy"), value),
        (filters("Key=PlatformTypes,Values=Plan9"), value),
        (list(&["--filters", "Key=tag:a,Values=b", "Key=PingStatus,Values=Online"]), key),
        (
            list(&["--filters", "Key=PingStatus,Values=Online", legacy, "key=PlatformTypes,valueSet=Linux"]),
            "ValidationException",
        ),
        (list(&[legacy, "key=Colour,valueSet=red"]), "ValidationException"),
        (list(&["--max-results", "51"]), "ValidationException"),
    ] {
        clients.refuses(&refused, code, "");
    }
}

#[test]
fn a_command_that_means_nobody_ends_so() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let sent = clients.aws(&send(&[
        "--targets",
        "Key=tag:env,Values=prod,test",
        "--comment",
        "nobody there",
        "--max-concurrency",
        "10%",
        "--max-errors",
        "3",
        "--timeout-seconds",
        "600",
    ]))["Command"]
        .clone();
    let id = text(&sent["CommandId"]);
    let expected = json!({
        "CommandId": id, "DocumentName": "AWS-RunShellScript", "DocumentVersion": "", "Comment": "nobody there",
        "ExpiresAfter": sent["ExpiresAfter"], "Parameters": {"commands": ["uptime"]}, "InstanceIds": [],
        "Targets": [{"Key": "tag:env", "Values": ["prod", "test"]}], "RequestedDateTime": sent["RequestedDateTime"],
        "Status": "Pending", "StatusDetails": "Pending", "OutputS3BucketName": "", "OutputS3KeyPrefix": "",
        "MaxConcurrency": "10%", "MaxErrors": "3", "TargetCount": 0, "CompletedCount": 0, "ErrorCount": 0,
        "DeliveryTimedOutCount": 0, "ServiceRole": "",
        "NotificationConfig": {"NotificationArn": "", "NotificationEvents": [], "NotificationType": ""},
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false}, "TimeoutSeconds": 600,
    });
    assert_eq!(sent, expected);
    let instant = |name: &str| sent[name].as_f64().unwrap();
    let open_seconds = (instant("ExpiresAfter") - instant("RequestedDateTime")).round();
    assert_eq!(open_seconds, 4200.0, "ten minutes to take it and an hour to run it");

    let list = ["ssm", "list-commands", "--command-id", &id];
    let ended = wait_for("the command to end", Duration::from_secs(20), || {
        let command = clients.aws(&list)["Commands"][0].clone();
        (command["StatusDetails"] != "Pending").then_some(command)
    })
    .unwrap();
    assert_eq!((&ended["Status"], &ended["StatusDetails"]), (&json!("Failed"), &json!("NoInstancesInTag")));
    let nobody = ["ssm", "get-command-invocation", "--command-id", &id, "--instance-id", NODE];
    clients.refuses(&nobody, "InvocationDoesNotExist", "");
    let cancel = ["ssm", "cancel-command", "--command-id", &id];
    assert_eq!(clients.aws(&cancel), json!(null), "cancelling what has ended changes nothing");

    let second = text(&clients.aws(&send(&[]))["Command"]["CommandId"]);
    let ids = |arguments: &[&str]| {
        let found = clients.query("Commands[].CommandId", &[&["ssm", "list-commands"], arguments].concat());
        texts(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [second.clone(), id.clone()], "the newest first");
    assert_eq!(ids(&["--page-size", "1"]), [second.clone(), id.clone()]);
    let ended = |id: &str| ids(&["--filters", "key=Status,value=NoInstancesInTag"]).contains(&id.to_owned());
    wait_for("the second command to end", Duration::from_secs(20), || ended(&second).then_some(())).unwrap();
    assert!(ids(&["--filters", "key=ExecutionStage,value=Executing"]).is_empty());
    assert_eq!(ids(&["--filters", "key=DocumentName,value=AWS-RunPatchBaseline"]), [""; 0]);
    assert_eq!(ids(&["--filters", "key=InvokedAfter,value=2999-01-01T00:00:00Z"]), [""; 0]);
    server.stop();
}
