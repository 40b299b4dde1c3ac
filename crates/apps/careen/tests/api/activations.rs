use std::time::SystemTime;

use identifiers::Timestamp;
use serde_json::json;

use crate::clients::{Clients, text, texts};
use crate::server::Place;

const DAY_SECONDS: i64 = 86_400;

/// Seconds since 1970 of an instant so many seconds from now.
fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// An instant so many seconds from now, whole, as the CLI takes it.
pub(crate) fn from_now(seconds: i64) -> String {
    Timestamp::from_seconds(seconds_from_now(seconds)).to_rfc3339_seconds()
}

#[test]
fn a_door_is_opened_found_and_closed() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();

    let expires_at = from_now(10 * DAY_SECONDS);
    let made = clients.aws(&[
        "ssm",
        "create-activation",
        "--iam-role",
        "service-role/Fleet",
        "--description",
        "the web tier",
        "--default-instance-name",
        "web",
        "--registration-limit",
        "5",
        "--expiration-date",
        &expires_at,
        "--tags",
        "Key=PatchGroup,Value=web",
        "Key=Größe,Value=a/b c",
    ]);
    let (id, code) = (text(&made["ActivationId"]), text(&made["ActivationCode"]));
    assert!(id.len() == 36 && (20..=250).contains(&code.len()), "{made}");

    let shown = clients.aws(&["ssm", "describe-activations"]);
    let row = &shown["ActivationList"][0];
    let created_at = row["CreatedDate"].as_f64().unwrap();
    assert!((created_at - seconds_from_now(0) as f64).abs() < 120.0, "{created_at}");
    let expected = json!({
        "ActivationId": id, "Description": "the web tier", "DefaultInstanceName": "web", "IamRole": "service-role/Fleet",
        "RegistrationLimit": 5, "RegistrationsCount": 0, "Expired": false, "CreatedDate": created_at,
        "ExpirationDate": Timestamp::parse(&expires_at).unwrap().as_wire_seconds(),
        "Tags": [{"Key": "Größe", "Value": "a/b c"}, {"Key": "PatchGroup", "Value": "web"}],
    });
    assert_eq!(shown, json!({"ActivationList": [expected]}), "and never the code");

    assert_eq!(clients.aws(&["ssm", "delete-activation", "--activation-id", &id]), json!(null));
    assert_eq!(clients.aws(&["ssm", "describe-activations"]), json!({"ActivationList": []}));
    // Terraform takes exactly this code for "gone already".
    clients.refuses(&["ssm", "delete-activation", "--activation-id", &id], "InvalidActivation", "");
    clients.refuses(&["ssm", "delete-activation", "--activation-id", "no-id"], "ValidationException", "activationId");

    let minimal = clients.aws(&["ssm", "create-activation", "--iam-role", "Fleet"]);
    assert_ne!(minimal["ActivationCode"], made["ActivationCode"]);
    let row = &clients.aws(&["ssm", "describe-activations"])["ActivationList"][0];
    assert_eq!((&row["RegistrationLimit"], &row["Description"], &row["Tags"]), (&json!(1), &json!(""), &json!([])));
    let open_seconds = row["ExpirationDate"].as_f64().unwrap() - row["CreatedDate"].as_f64().unwrap();
    assert!((open_seconds - DAY_SECONDS as f64).abs() < 0.01, "a day where nothing is said: {row}");

    activations_are_filtered_and_paged(&clients);
    what_no_door_can_be_is_refused(&clients);
    server.stop();
}

fn activations_are_filtered_and_paged(clients: &Clients) {
    let create = |role: &str, name: &str| {
        let create = ["ssm", "create-activation", "--iam-role", role, "--default-instance-name", name];
        text(&clients.aws(&create)["ActivationId"])
    };
    let mut made: Vec<String> = (0..3).map(|n| create("Paged", if n == 0 { "db" } else { "web" })).collect();
    let ids = |arguments: &[&str]| {
        let all = [&["ssm", "describe-activations"], arguments].concat();
        let found = clients.query("ActivationList[].ActivationId", &all);
        texts(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, role) = (made[0].clone(), "FilterKey=IamRole,FilterValues=Paged");
    made.sort();
    assert_eq!(ids(&["--filters", role]), made);
    assert_eq!(
        ids(&["--filters", role, "FilterKey=DefaultInstanceName,FilterValues=db,other"]),
        std::slice::from_ref(&first)
    );
    assert_eq!(ids(&["--filters", &format!("FilterKey=ActivationIds,FilterValues={first}")]), [first]);
    assert!(ids(&["--filters", "FilterKey=IamRole,FilterValues=paged"]).is_empty(), "case counts");
    assert_eq!(ids(&["--filters", role, "--page-size", "1"]), made, "the CLI goes through all pages");
    assert_eq!(ids(&["--filters", role, "--no-paginate", "--max-results", "2"]), made[..2]);

    let page = clients.aws(&["ssm", "describe-activations", "--filters", role, "--max-items", "2"]);
    let token = text(&page["NextToken"]);
    assert_eq!(ids(&["--filters", role, "--starting-token", &token]), made[2..]);
    clients.refuses(&["ssm", "describe-activations", "--max-results", "51"], "ValidationException", "maxResults");
    clients.refuses(
        &["ssm", "describe-activations", "--filters", "FilterKey=Tags,FilterValues=x"],
        "ValidationException",
        "filterKey",
    );
}

fn what_no_door_can_be_is_refused(clients: &Clients) {
    let long = "n".repeat(257);
    let cases: [(&[&str], &str, &str); 8] = [
        (&["--iam-role", "arn:aws:iam::000000000000:role/Fleet"], "ValidationException", "iamRole"),
        (&["--iam-role", &long], "ValidationException", "iamRole"),
        (&["--registration-limit", "1001"], "ValidationException", "registrationLimit"),
        (&["--expiration-date", &from_now(-60)], "InvalidParameters", "future"),
        (&["--expiration-date", &from_now(31 * DAY_SECONDS)], "InvalidParameters", "30 days"),
        (&["--default-instance-name", &long], "ValidationException", "defaultInstanceName"),
        (&["--tags", "Key=aws:mine,Value=x"], "ValidationException", "aws:"),
        (&["--registration-metadata", "Key=a,Value=b"], "ValidationException", "RegistrationMetadata"),
    ];
    for (arguments, code, words) in cases {
        let mut all = vec!["ssm", "create-activation"];
        if !arguments.contains(&"--iam-role") {
            all.extend(["--iam-role", "Fleet"]);
        }
        all.extend(arguments);
        clients.refuses(&all, code, words);
    }
}
