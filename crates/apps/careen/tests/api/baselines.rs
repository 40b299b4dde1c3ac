use serde_json::{Value, json};

use crate::clients::{Clients, text, texts};
use crate::server::Place;

/// Everything that a baseline for Debian can have.
pub(crate) fn whole_debian_baseline() -> Value {
    json!({
        "Name": "debian-web",
        "OperatingSystem": "DEBIAN",
        "Description": "Web servers",
        "GlobalFilters": {"PatchFilters": [{"Key": "PRODUCT", "Values": ["Debian12", "Debian13"]}]},
        "ApprovalRules": {"PatchRules": [
            {
                "PatchFilterGroup": {"PatchFilters": [
                    {"Key": "PRIORITY", "Values": ["Required", "Important"]},
                    {"Key": "SECTION", "Values": ["net", "*"]},
                ]},
                "ComplianceLevel": "CRITICAL", "ApproveAfterDays": 7, "EnableNonSecurity": true,
            },
            {
                "PatchFilterGroup": {"PatchFilters": [{"Key": "SECTION", "Values": ["web"]}]},
                "ComplianceLevel": "UNSPECIFIED", "ApproveUntilDate": "2026-01-31", "EnableNonSecurity": false,
            },
        ]},
        "ApprovedPatches": ["openssl", "libssl3"],
        "ApprovedPatchesComplianceLevel": "HIGH",
        "ApprovedPatchesEnableNonSecurity": true,
        "RejectedPatches": ["nginx"],
        "RejectedPatchesAction": "BLOCK",
        "Sources": [{
            "Name": "internal", "Products": ["Debian12"],
            "Configuration": "deb https://user:s3cret-of-the-source@packages.example.com/debian bookworm main",
        }],
    })
}

/// Creates a baseline by `--cli-input-json`; gives its id.
#[track_caller]
pub(crate) fn create(clients: &Clients, input: &Value) -> String {
    let made = clients.aws(&["ssm", "create-patch-baseline", "--cli-input-json", &input.to_string()]);
    text(&made["BaselineId"])
}

/// What GetPatchBaseline answers, and apart from it the two dates.
#[track_caller]
fn get(clients: &Clients, id: &str) -> (Value, [f64; 2]) {
    let mut found = clients.aws(&["ssm", "get-patch-baseline", "--baseline-id", id]);
    let object = found.as_object_mut().unwrap();
    let dates = ["CreatedDate", "ModifiedDate"].map(|name| object.remove(name).unwrap().as_f64().unwrap());
    (found, dates)
}

/// `value` with other members.
fn with(value: &Value, members: Value) -> Value {
    let mut changed = value.clone();
    changed.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    changed
}

#[test]
fn a_baseline_lives_and_dies() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();

    let input = whole_debian_baseline();
    let id = create(&clients, &input);
    assert!(id.len() == 20 && id.starts_with("pb-"), "{id}");
    let whole = with(&input, json!({"BaselineId": id, "PatchGroups": []}));
    let (found, [created_at, modified_at]) = get(&clients, &id);
    assert_eq!(found, whole);
    assert_eq!(created_at, modified_at);
    let arn = format!("arn:aws:ssm:us-east-1:000000000000:patchbaseline/{id}");
    assert_eq!(get(&clients, &arn).0, whole, "an own baseline goes by its ARN too");

    // What an update does not name stays as it is.
    let updated = clients.aws(&[
        "ssm",
        "update-patch-baseline",
        "--baseline-id",
        &id,
        "--description",
        "More",
        "--rejected-patches",
        "apache2",
    ]);
    let (found, [created_again, modified_at]) = get(&clients, &id);
    assert_eq!(found, with(&whole, json!({"Description": "More", "RejectedPatches": ["apache2"]})));
    assert!(created_again == created_at && modified_at > created_at, "{created_at} {modified_at}");
    let same = |name: &str| assert_eq!(updated[name], found[name], "the answer shows the result: {name}");
    ["Description", "RejectedPatches", "ApprovalRules", "Sources", "OperatingSystem", "Name"]
        .iter()
        .for_each(|n| same(n));
    assert!(updated.get("PatchGroups").is_none(), "only GetPatchBaseline has that member");

    // Replace: what is not named goes back to its default.
    let replace = ["ssm", "update-patch-baseline", "--baseline-id", &id, "--replace"];
    clients.refuses(&replace, "ValidationException", "Name");
    clients.aws(&[&replace[..], &["--name", "bare"]].concat());
    let bare = json!({
        "BaselineId": id, "Name": "bare", "OperatingSystem": "DEBIAN", "Description": "",
        "GlobalFilters": {"PatchFilters": []}, "ApprovalRules": {"PatchRules": []},
        "ApprovedPatches": [], "ApprovedPatchesComplianceLevel": "UNSPECIFIED", "ApprovedPatchesEnableNonSecurity": false,
        "RejectedPatches": [], "RejectedPatchesAction": "ALLOW_AS_DEPENDENCY", "PatchGroups": [], "Sources": [],
    });
    assert_eq!(get(&clients, &id).0, bare);

    let windows = create(&clients, &json!({"Name": "win", "AvailableSecurityUpdatesComplianceStatus": "COMPLIANT"}));
    let (found, _) = get(&clients, &windows);
    assert_eq!(found["OperatingSystem"], "WINDOWS", "AWS's default");
    assert_eq!(found["AvailableSecurityUpdatesComplianceStatus"], "COMPLIANT");

    let delete = ["ssm", "delete-patch-baseline", "--baseline-id", &id];
    assert_eq!(clients.aws(&delete), json!({"BaselineId": id}));
    assert_eq!(clients.aws(&delete), json!({"BaselineId": id}), "what is not there is deleted already");
    let unknown = "DoesNotExistException";
    clients.refuses(&["ssm", "get-patch-baseline", "--baseline-id", &id], unknown, "does not exist");
    clients.refuses(
        &["ssm", "update-patch-baseline", "--baseline-id", &id, "--name", "new"],
        unknown,
        "does not exist",
    );

    a_baseline_in_use_stays(&clients);
    baselines_carry_tags(&clients);
    server.stop();
}

fn a_baseline_in_use_stays(clients: &Clients) {
    let id = create(clients, &json!({"Name": "in-use", "OperatingSystem": "UBUNTU"}));
    let delete = ["ssm", "delete-patch-baseline", "--baseline-id", &id];
    let register = ["ssm", "register-patch-baseline-for-patch-group", "--baseline-id", &id, "--patch-group", "web"];
    clients.aws(&register);
    clients.refuses(&delete, "ResourceInUseException", "Patch Group: web");
    clients.aws(&["ssm", "deregister-patch-baseline-for-patch-group", "--baseline-id", &id, "--patch-group", "web"]);

    assert_eq!(
        clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", &id]),
        json!({"BaselineId": id})
    );
    clients.refuses(&delete, "ResourceInUseException", "default");
    let default = ["ssm", "get-default-patch-baseline", "--operating-system", "UBUNTU"];
    assert_eq!(clients.aws(&default), json!({"BaselineId": id, "OperatingSystem": "UBUNTU"}));

    let predefined = "arn:aws:ssm:us-east-1:075727635805:patchbaseline/pb-0c7e89f711c3095f4";
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", predefined]);
    assert_eq!(clients.aws(&default), json!({"BaselineId": predefined, "OperatingSystem": "UBUNTU"}));
    clients.aws(&delete);
    clients.refuses(&["ssm", "register-default-patch-baseline", "--baseline-id", &id], "DoesNotExistException", "");
}

fn baselines_carry_tags(clients: &Clients) {
    let tagged = json!({"Name": "tagged", "Tags": [{"Key": "Stage", "Value": "test"}, {"Key": "Team", "Value": ""}]});
    let id = create(clients, &tagged);
    let of = |task: &'static str| ["ssm", task, "--resource-type", "PatchBaseline", "--resource-id", &id];
    let list = of("list-tags-for-resource");
    let tags = |pairs: &[(&str, &str)]| {
        let list: Vec<Value> = pairs.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        json!({"TagList": list})
    };
    assert_eq!(clients.aws(&list), tags(&[("Stage", "test"), ("Team", "")]));
    clients.aws(&[&of("add-tags-to-resource")[..], &["--tags", "Key=Stage,Value=live", "Key=New,Value=1"]].concat());
    assert_eq!(clients.aws(&list), tags(&[("New", "1"), ("Stage", "live"), ("Team", "")]));
    clients.aws(&[&of("remove-tags-from-resource")[..], &["--tag-keys", "Team", "New", "never-there"]].concat());
    assert_eq!(clients.aws(&list), tags(&[("Stage", "live")]));

    let many: Vec<String> = (0..50).map(|n| format!("Key=k{n},Value=v")).collect();
    let mut too_many = of("add-tags-to-resource").to_vec();
    too_many.push("--tags");
    too_many.extend(many.iter().map(String::as_str));
    clients.refuses(&too_many, "TooManyTagsError", "50");
    clients.refuses(
        &[&of("add-tags-to-resource")[..], &["--tags", "Key=a;b,Value=v"]].concat(),
        "ValidationException",
        "",
    );

    clients.aws(&["ssm", "delete-patch-baseline", "--baseline-id", &id]);
    clients.refuses(&list, "InvalidResourceId", "");
    let other = |kind: &'static str, id: &'static str| {
        ["ssm", "list-tags-for-resource", "--resource-type", kind, "--resource-id", id]
    };
    clients.refuses(&other("PatchBaseline", "pb-1"), "InvalidResourceId", "");
    clients.refuses(&other("MaintenanceWindow", "mw-0123456789abcdef0"), "InvalidResourceType", "");
    clients.refuses(&other("Nonsense", "x"), "ValidationException", "resourceType");
    // The documents are the system's own.
    let document = "AWS-RunShellScript";
    assert_eq!(clients.aws(&other("Document", document)), json!({"TagList": []}));
    clients.refuses(
        &[
            "ssm",
            "add-tags-to-resource",
            "--resource-type",
            "Document",
            "--resource-id",
            document,
            "--tags",
            "Key=a,Value=b",
        ],
        "InvalidResourceId",
        "",
    );
}

#[test]
fn what_no_baseline_can_be_is_refused() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let rule = |filters: Value, more: Value| {
        let rule = with(&json!({"PatchFilterGroup": {"PatchFilters": filters}}), more);
        json!({"ApprovalRules": {"PatchRules": [rule]}})
    };
    let product = json!([{"Key": "PRODUCT", "Values": ["*"]}]);
    let source = json!({"Name": "src", "Products": ["*"], "Configuration": "deb http://x.example/ a main"});
    let cases = [
        (json!({"Name": "n".repeat(129)}), "'name'"),
        (json!({"Name": "with space"}), "'name'"),
        (json!({"OperatingSystem": "PLAN9"}), "'operatingSystem'"),
        (json!({"Description": "d".repeat(1025)}), "'description'"),
        (rule(product.clone(), json!({})), "exactly one of ApproveAfterDays and ApproveUntilDate"),
        (rule(product.clone(), json!({"ApproveAfterDays": 1, "ApproveUntilDate": "2026-01-01"})), "exactly one of"),
        (rule(product.clone(), json!({"ApproveAfterDays": 361})), "approveAfterDays"),
        (rule(product.clone(), json!({"ApproveUntilDate": "2026-02-30"})), "2026-02-30"),
        (rule(json!([{"Key": "SECTION", "Values": ["net"]}]), json!({"ApproveAfterDays": 1})), "SECTION"),
        (rule(json!([{"Key": "NONSENSE", "Values": ["x"]}]), json!({"ApproveAfterDays": 1})), "enum value set"),
        (rule(json!([{"Key": "PRODUCT", "Values": ["v".repeat(65)]}]), json!({"ApproveAfterDays": 1})), "64"),
        (json!({"OperatingSystem": "WINDOWS", "ApprovedPatches": ["openssl"]}), "KB2032276"),
        (json!({"OperatingSystem": "DEBIAN", "ApprovedPatches": ["openssl*"]}), "wildcard"),
        (json!({"ApprovedPatches": vec!["CVE-2024-1"; 51]}), "50"),
        (json!({"OperatingSystem": "WINDOWS", "Sources": [source]}), "Sources are for Linux"),
        (json!({"AvailableSecurityUpdatesComplianceStatus": "COMPLIANT"}), "WINDOWS"),
        (json!({"ClientToken": "t".repeat(65)}), "clientToken"),
    ];
    for (members, words) in cases {
        let input = with(&json!({"Name": "refused", "OperatingSystem": "AMAZON_LINUX_2"}), members).to_string();
        clients.refuses(&["ssm", "create-patch-baseline", "--cli-input-json", &input], "ValidationException", words);
    }
    let listed = ["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=Self"];
    assert_eq!(clients.aws(&listed), json!({"BaselineIdentities": []}), "nothing of it was made");

    let unknown = "pb-00000000000000000";
    let cases: [(&[&str], &str); 6] = [
        (&["get-patch-baseline", "--baseline-id", unknown], "DoesNotExistException"),
        (&["get-patch-baseline", "--baseline-id", "twenty-characters-and-more"], "InvalidResourceId"),
        (&["update-patch-baseline", "--baseline-id", unknown, "--name", "new"], "DoesNotExistException"),
        (&["register-default-patch-baseline", "--baseline-id", unknown], "DoesNotExistException"),
        (&["register-default-patch-baseline", "--baseline-id", "twenty-characters-and-more"], "InvalidResourceId"),
        (&["get-default-patch-baseline", "--operating-system", "PLAN9"], "ValidationException"),
    ];
    for (arguments, code) in cases {
        clients.refuses(&[&["ssm"], arguments].concat(), code, "");
    }
    server.stop();
}

#[test]
fn a_client_token_makes_one_baseline() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    let make = |name: &str, region: &str| {
        let token = "01234567-token";
        let arguments = ["ssm", "create-patch-baseline", "--name", name, "--client-token", token, "--region", region];
        arguments.map(str::to_owned)
    };
    let made = |region: &str| {
        let make = make("once", region);
        text(&clients.aws(&make.each_ref().map(String::as_str))["BaselineId"])
    };
    let first = made("us-east-1");
    assert_eq!(made("us-east-1"), first, "the first answer again");
    clients.refuses(
        &make("other", "us-east-1").each_ref().map(String::as_str),
        "IdempotentParameterMismatch",
        "other parameters",
    );
    assert_ne!(made("eu-west-1"), first, "each region has tokens of its own");
    clients.aws(&["ssm", "delete-patch-baseline", "--baseline-id", &first]);
    assert_eq!(made("us-east-1"), first, "the answer is remembered, not the baseline");

    // Impatient clients repeat themselves while the first request still runs.
    let body = json!({"Name": "at-once", "ClientToken": "at-once"}).to_string();
    let request = crate::clients::Request::ssm(&server.address(), "CreatePatchBaseline", &body).signed(&place.key());
    let answers = clients.send_all(&vec![request; 8], 0);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
    let named = ["ssm", "describe-patch-baselines", "--filters", "Key=NAME_PREFIX,Values=at-once"];
    assert_eq!(texts(&clients.query("BaselineIdentities[].BaselineName", &named)), ["at-once"]);
    server.stop();
}
