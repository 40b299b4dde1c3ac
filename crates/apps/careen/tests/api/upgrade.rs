//! A database of the first schema, with data, under today's program: brought up to date, and everything is still there.

use std::os::unix::fs::PermissionsExt;
use std::{fs, time::Duration};

use serde_json::json;
use testkit::{TestDatabase, run_bounded};

use crate::clients::{Clients, text, texts};
use crate::server::{Place, Server};

const BOUND: Duration = Duration::from_secs(60);
const DATABASE: &[u8] = include_bytes!("first-schema/careen.db.zst");
const KEY: &str = include_str!("first-schema/key");

const WEB: [&str; 2] = ["mi-06a4a6b882fd941b8", "mi-0b73d7f065e41a0f7"];
const BASELINE: &str = "pb-0f40aed484f1ed444";
const GREETING: &str = "f0e08472-3335-4fb2-b01e-cb11db7f42dd";
const FAILED: &str = "d9ce5903-4215-45cb-813b-872f60d405af";
const SCAN: &str = "e679ec14-6303-4b16-a91d-bfe77b643696";
const UNFINISHED: &str = "559ffe67-bce6-403e-bc0c-8be0e1095968";

/// However old the data becomes, it is kept.
const KEEP: [&str; 10] = [
    "--retention-commands",
    "forever",
    "--retention-events",
    "forever",
    "--retention-patch-history",
    "forever",
    "--retention-package-history",
    "forever",
    "--retention-deregistered-nodes",
    "forever",
];

fn first_schema() -> Place {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o700)).unwrap();
    let database = zstd::bulk::decompress(DATABASE, 16 << 20).unwrap();
    for (name, bytes) in [("careen.db", database.as_slice()), ("key", KEY.as_bytes())] {
        fs::write(place.data().join(name), bytes).unwrap();
        fs::set_permissions(place.data().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    place
}

fn careen(place: &Place, arguments: &[&str]) -> String {
    let data = place.data().display().to_string();
    let all = [arguments, &["--data", &data]].concat();
    run_bounded(&mut place.careen(&all), BOUND).unwrap().expect_success("careen").unwrap()
}

/// Everything of the first schema is read through the API.
fn everything_is_there(server: &Server<'_>) -> Clients {
    let clients = server.clients();
    let found = clients.query("sort(InstanceInformationList[].InstanceId)", &["ssm", "describe-instance-information"]);
    assert_eq!(texts(&found), WEB);
    let tags = ["ssm", "list-tags-for-resource", "--resource-type", "ManagedInstance", "--resource-id", WEB[0]];
    assert_eq!(clients.query("length(TagList)", &tags), 3);
    let activations = clients.query("ActivationList[].RegistrationsCount", &["ssm", "describe-activations"]);
    assert_eq!(activations, json!([2]));

    let baseline = clients.aws(&["ssm", "get-patch-baseline", "--baseline-id", BASELINE]);
    assert_eq!((&baseline["Name"], &baseline["RejectedPatches"]), (&json!("web-servers"), &json!(["nginx"])));
    let group = ["ssm", "get-patch-baseline-for-patch-group", "--patch-group", "web", "--operating-system", "DEBIAN"];
    assert_eq!(clients.query("BaselineId", &group), BASELINE);

    let invocation = |command: &str| {
        clients.aws(&["ssm", "get-command-invocation", "--command-id", command, "--instance-id", WEB[0]])
    };
    let greeting = invocation(GREETING);
    assert_eq!((&greeting["Status"], &greeting["StandardOutputContent"]), (&json!("Success"), &json!("hello\n")));
    assert_eq!(greeting["StandardErrorContent"], "trouble\n");
    assert_eq!(invocation(FAILED)["ResponseCode"], 3);
    let commands = clients.query("sort(Commands[].CommandId)", &["ssm", "list-commands"]);
    let mut wanted = [GREETING, FAILED, SCAN, UNFINISHED];
    wanted.sort_unstable();
    assert_eq!(texts(&commands), wanted);

    let patches = ["ssm", "describe-instance-patches", "--instance-id", WEB[0]];
    assert_eq!(clients.query("length(Patches)", &patches), 708);
    let audit = server.audit(&["--action", "ssm:SendCommand"]);
    assert_eq!(audit.len(), 4);
    assert_eq!(audit[0]["after"]["comment"], "from the first schema");
    clients
}

#[test]
fn the_first_schema_is_copied_and_brought_up_to_date_with_everything_in_it() {
    let place = first_schema();
    let before = fs::read(place.data().join("careen.db")).unwrap();
    let server = place.start_with(&KEEP, &[]);
    let clients = everything_is_there(&server);
    // It is not only read: what is old can be changed and used.
    clients.aws(&["ssm", "update-patch-baseline", "--baseline-id", BASELINE, "--name", "renamed"]);
    clients.aws(&["ssm", "cancel-command", "--command-id", UNFINISHED]);
    assert!(careen(&place, &["admin", "check"]).contains("is in order"));
    server.stop();

    // The copy from before is whole, and of the first schema still.
    let copy = place.data().join("careen.db.before-2.backup");
    let other = first_schema();
    fs::copy(&copy, other.data().join("careen.db")).unwrap();
    assert!(fs::metadata(&copy).unwrap().len() <= before.len() as u64);
    assert!(careen(&other, &["admin", "check"]).contains("is in order"), "also without the upgrade");
    let server = other.start_with(&KEEP, &[]);
    everything_is_there(&server);
    server.stop();
}

#[test]
fn the_first_schema_moves_to_postgresql() {
    let place = first_schema();
    let backup = place.path().join("backup").display().to_string();
    // A backup of what no server has brought up to date: it has the first schema.
    careen(&place, &["admin", "backup", &backup]);
    assert!(careen(&place, &["admin", "check", &backup]).contains("schema 1,"));
    let database = TestDatabase::postgres(None).unwrap();
    let url = [("CAREEN_DATABASE", database.url())];
    let url: Vec<(&str, &str)> = url.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let data = place.data().display().to_string();
    let mut restore = place.careen(&["admin", "restore", &backup, "--data", &data]);
    restore.envs(url.iter().copied());
    let said = run_bounded(&mut restore, BOUND).unwrap().expect_success("restore").unwrap();
    assert!(said.contains("1 commands were unfinished"), "{said}");

    let server = place.start_with(&KEEP, &url);
    let clients = everything_is_there(&server);
    let ended = ["ssm", "list-commands", "--command-id", UNFINISHED];
    assert_eq!(text(&clients.query("Commands[0].StatusDetails", &ended)), "Cancelled");
    server.stop();
}
