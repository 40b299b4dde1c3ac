use serde_json::{Value, json};

use crate::baselines::create;
use crate::clients::{Answer, Clients, Request, text, texts};
use crate::server::Place;

fn governs(clients: &Clients, group: &str, arguments: &[&str]) -> Value {
    let all = [&["ssm", "get-patch-baseline-for-patch-group", "--patch-group", group], arguments].concat();
    clients.aws(&all)
}

#[test]
fn a_patch_group_has_one_baseline_for_each_operating_system() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let debian =
        create(&clients, &json!({"Name": "debian", "OperatingSystem": "DEBIAN", "Description": "Debian hosts"}));
    let other = create(&clients, &json!({"Name": "other", "OperatingSystem": "DEBIAN"}));
    let windows = create(&clients, &json!({"Name": "windows"}));
    let register = |id: &str, group: &str| {
        let all = ["ssm", "register-patch-baseline-for-patch-group", "--baseline-id", id, "--patch-group", group];
        all.map(str::to_owned)
    };
    let registered = |id: &str, group: &str| {
        let all = register(id, group);
        assert_eq!(clients.aws(&all.each_ref().map(String::as_str)), json!({"BaselineId": id, "PatchGroup": group}));
    };
    registered(&debian, "web servers");
    registered(&debian, "web servers");
    registered(&windows, "web servers");
    registered(&debian, "db");
    clients.refuses(
        &register(&other, "web servers").each_ref().map(String::as_str),
        "AlreadyExistsException",
        "already has a baseline registered for OperatingSystem DEBIAN",
    );
    clients.refuses(&register("pb-00000000000000000", "x").each_ref().map(String::as_str), "DoesNotExistException", "");
    clients.refuses(
        &register("not-the-id-of-any-baseline", "x").each_ref().map(String::as_str),
        "InvalidResourceId",
        "",
    );
    clients.refuses(&register(&debian, "a;b").each_ref().map(String::as_str), "ValidationException", "patchGroup");

    let on = ["--operating-system", "DEBIAN"];
    let answer =
        |id: &str, group: &str, os: &str| json!({"BaselineId": id, "PatchGroup": group, "OperatingSystem": os});
    assert_eq!(governs(&clients, "web servers", &on), answer(&debian, "web servers", "DEBIAN"));
    assert_eq!(governs(&clients, "web servers", &[]), answer(&windows, "web servers", "WINDOWS"));
    let groups = clients.query("PatchGroups", &["ssm", "get-patch-baseline", "--baseline-id", &debian]);
    assert_eq!(groups, json!(["db", "web servers"]));

    groups_are_listed(&clients, &debian, &windows);
    where_nothing_is_registered_the_default_governs(&clients, &debian, &other);
    server.stop();
}

#[test]
fn many_changes_at_once_are_all_made() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let id = create(&clients, &json!({"Name": "busy", "OperatingSystem": "DEBIAN"}));
    // As many as Terraform sends at a time, all about one baseline.
    let requests: Vec<Request> = (0..10)
        .map(|n| json!({"BaselineId": id, "PatchGroup": format!("group-{n}")}).to_string())
        .map(|body| Request::ssm(&server.address(), "RegisterPatchBaselineForPatchGroup", &body).signed(&place.key()))
        .collect();
    // Who loses too often against the others is told to come again, which every SDK does by itself.
    let mut open = requests;
    for _ in 0..10 {
        let answers = clients.send_all(&open, 0);
        let again = |answer: &Answer| answer.error().1 == "ThrottlingException";
        assert!(answers.iter().all(|answer| answer.status == 200 || again(answer)), "{answers:?}");
        open = open.into_iter().zip(&answers).filter(|(_, answer)| answer.status != 200).map(|(r, _)| r).collect();
        if open.is_empty() {
            break;
        }
    }
    let groups = clients.query("PatchGroups", &["ssm", "get-patch-baseline", "--baseline-id", &id]);
    assert_eq!(texts(&groups).len(), 10);
    assert_eq!(server.audit(&["--action", "ssm:RegisterPatchBaselineForPatchGroup"]).len(), 10, "each of them once");
    server.stop();
}

fn groups_are_listed(clients: &Clients, debian: &str, windows: &str) {
    let row = |group: &str, id: &str, name: &str, os: &str, description: &str| {
        json!({"PatchGroup": group, "BaselineIdentity": {
            "BaselineId": id, "BaselineName": name, "OperatingSystem": os, "BaselineDescription": description,
            "DefaultBaseline": false,
        }})
    };
    let db = row("db", debian, "debian", "DEBIAN", "Debian hosts");
    let web = row("web servers", debian, "debian", "DEBIAN", "Debian hosts");
    let web_windows = row("web servers", windows, "windows", "WINDOWS", "");
    let list = |arguments: &[&str]| clients.aws(&[&["ssm", "describe-patch-groups"], arguments].concat());
    let all = json!({"Mappings": [db, web, web_windows]});
    assert_eq!(list(&[]), all);
    assert_eq!(list(&["--page-size", "1"]), all);
    assert_eq!(list(&["--filters", "Key=NAME_PREFIX,Values=web"]), json!({"Mappings": [web, web_windows]}));
    assert_eq!(list(&["--filters", "Key=OPERATING_SYSTEM,Values=DEBIAN"]), json!({"Mappings": [db, web]}));
    let both = ["--filters", "Key=OPERATING_SYSTEM,Values=WINDOWS", "Key=NAME_PREFIX,Values=d,w"];
    assert_eq!(list(&both), json!({"Mappings": [web_windows]}));
    let unknown = ["ssm", "describe-patch-groups", "--filters", "Key=OWNER,Values=Self"];
    clients.refuses(&unknown, "ValidationException", "OWNER");
}

fn where_nothing_is_registered_the_default_governs(clients: &Clients, debian: &str, other: &str) {
    let on = ["--operating-system", "DEBIAN"];
    let governing = |group: &str| text(&governs(clients, group, &on)["BaselineId"]);
    let predefined = "arn:aws:ssm:us-east-1:075727635805:patchbaseline/pb-09a5f8eb62bde80b1";
    assert_eq!(governing("never heard of"), predefined);
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", other]);
    assert_eq!(governing("never heard of"), other);
    assert_eq!(governing("db"), debian, "a registration goes before the default");

    let deregister = |id: &str| {
        let all = ["ssm", "deregister-patch-baseline-for-patch-group", "--baseline-id", id, "--patch-group", "db"];
        clients.aws(&all)
    };
    assert_eq!(deregister(other), json!({"BaselineId": other, "PatchGroup": "db"}), "not registered: nothing to do");
    assert_eq!(governing("db"), debian);
    assert_eq!(deregister(debian), json!({"BaselineId": debian, "PatchGroup": "db"}));
    assert_eq!(governing("db"), other);
    assert_eq!(governing("web servers"), debian, "the other group keeps its baseline");
}
