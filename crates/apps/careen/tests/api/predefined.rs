use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::baselines::create;
use crate::clients::{Clients, text, texts};
use crate::server::Place;

const OWNER: &str = "075727635805";

fn arn(region: &str, id: &str) -> String {
    format!("arn:aws:ssm:{region}:{OWNER}:patchbaseline/{id}")
}

#[test]
fn every_region_has_the_predefined_baselines() {
    let place = Place::new();
    let server = place.start();
    let clients = server.clients();
    for region in ["us-east-1", "eu-west-1", "xx-test-1"] {
        let listed = clients.aws(&["ssm", "describe-patch-baselines", "--region", region]);
        let rows = listed["BaselineIdentities"].as_array().unwrap();
        assert_eq!(rows.len(), 17, "{region}");
        let ubuntu = json!({
            "BaselineId": arn(region, "pb-0c7e89f711c3095f4"), "BaselineName": "AWS-UbuntuDefaultPatchBaseline",
            "OperatingSystem": "UBUNTU", "BaselineDescription": "Default Patch Baseline for Ubuntu Provided by AWS.",
            "DefaultBaseline": true,
        });
        assert!(rows.contains(&ubuntu), "{listed}");
        let defaults: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row["DefaultBaseline"] == true)
            .map(|row| row["OperatingSystem"].as_str().unwrap())
            .collect();
        assert_eq!(defaults.len(), 15, "one for each operating system: {defaults:?}");
    }
    let default = |arguments: &[&str]| clients.aws(&[&["ssm", "get-default-patch-baseline"], arguments].concat());
    let windows = json!({"BaselineId": arn("xx-test-1", "pb-09ca3fb51f0412ec3"), "OperatingSystem": "WINDOWS"});
    assert_eq!(default(&["--region", "xx-test-1"]), windows, "Windows where nothing is said");
    let debian = json!({"BaselineId": arn("us-east-1", "pb-09a5f8eb62bde80b1"), "OperatingSystem": "DEBIAN"});
    assert_eq!(default(&["--operating-system", "DEBIAN"]), debian);

    predefined_baselines_say_what_aws_says(&clients);
    a_predefined_baseline_is_named_by_its_regions_arn(&clients);
    regions_know_nothing_of_each_other(&clients);
    server.stop();
}

fn predefined_baselines_say_what_aws_says(clients: &Clients) {
    let get = |id: &str| {
        let mut found = clients.aws(&["ssm", "get-patch-baseline", "--baseline-id", &arn("us-east-1", id)]);
        let object = found.as_object_mut().unwrap();
        assert_eq!(object.remove("CreatedDate"), object.remove("ModifiedDate"));
        found
    };
    let group = |filters: &[(&str, &[&str])]| {
        let filters: Vec<Value> = filters.iter().map(|(key, values)| json!({"Key": key, "Values": values})).collect();
        json!({"PatchFilters": filters})
    };
    let rule = |filters: &[(&str, &[&str])], non_security: bool| {
        json!({
            "PatchFilterGroup": group(filters), "ComplianceLevel": "UNSPECIFIED", "ApproveAfterDays": 7,
            "EnableNonSecurity": non_security,
        })
    };
    let whole = |id: &str, name: &str, os: &str, of: &str, global: Value, rules: &[Value]| {
        json!({
            "BaselineId": arn("us-east-1", id), "Name": name, "OperatingSystem": os,
            "Description": format!("Default Patch Baseline {of}Provided by AWS."), "GlobalFilters": global,
            "ApprovalRules": {"PatchRules": rules}, "ApprovedPatches": [],
            "ApprovedPatchesComplianceLevel": "UNSPECIFIED", "ApprovedPatchesEnableNonSecurity": false,
            "RejectedPatches": [], "RejectedPatchesAction": "ALLOW_AS_DEPENDENCY", "PatchGroups": [], "Sources": [],
        })
    };
    let every: &[(&str, &[&str])] = &[("PRODUCT", &["*"])];
    let priorities: &[&str] = &["Required", "Important", "Standard", "Optional", "Extra"];
    let (id, name) = ("pb-09a5f8eb62bde80b1", "AWS-DebianDefaultPatchBaseline");
    let debian = rule(&[("PRIORITY", priorities)], false);
    assert_eq!(get(id), whole(id, name, "DEBIAN", "for Debian ", group(every), &[debian]));
    let (id, name) = ("pb-03e3f588eec25344c", "AWS-CentOSDefaultPatchBaseline");
    assert_eq!(get(id), whole(id, name, "CENTOS", "for CentOS ", group(&[]), &[rule(every, true)]));
    let (id, name) = ("pb-06bff38e95fe85c02", "AWS-OracleLinuxDefaultPatchBaseline");
    let oracle = [
        rule(&[("CLASSIFICATION", &["Security"]), ("SEVERITY", &["Critical", "Important", "Moderate"])], false),
        rule(&[("CLASSIFICATION", &["Enhancement", "Bugfix"])], false),
    ];
    assert_eq!(get(id), whole(id, name, "ORACLE_LINUX", "for Oracle Linux Server ", group(every), &oracle));
    let (id, name) = ("pb-09ca3fb51f0412ec3", "AWS-DefaultPatchBaseline");
    let classes: &[&str] = &["CriticalUpdates", "SecurityUpdates"];
    let windows = rule(&[("CLASSIFICATION", classes), ("MSRC_SEVERITY", &["Critical", "Important"])], false);
    let mut expected = whole(id, name, "WINDOWS", "", group(every), &[windows]);
    expected["AvailableSecurityUpdatesComplianceStatus"] = "NON_COMPLIANT".into();
    assert_eq!(get(id), expected);
}

fn a_predefined_baseline_is_named_by_its_regions_arn(clients: &Clients) {
    let here = arn("us-east-1", "pb-09a5f8eb62bde80b1");
    let get = |id: &str| ["ssm", "get-patch-baseline", "--baseline-id", id].map(str::to_owned);
    for other in ["pb-09a5f8eb62bde80b1", &arn("eu-west-1", "pb-09a5f8eb62bde80b1")] {
        clients.refuses(&get(other).each_ref().map(String::as_str), "DoesNotExistException", "does not exist");
    }
    let never = "predefined";
    clients.refuses(&["ssm", "delete-patch-baseline", "--baseline-id", &here], "ValidationException", never);
    let update = ["ssm", "update-patch-baseline", "--baseline-id", &here, "--name", "mine"];
    clients.refuses(&update, "ValidationException", never);
    let groups = ["ssm", "register-patch-baseline-for-patch-group", "--baseline-id", &here, "--patch-group", "all"];
    assert_eq!(clients.aws(&groups), json!({"BaselineId": here, "PatchGroup": "all"}));
    let found = clients.query("PatchGroups", &["ssm", "get-patch-baseline", "--baseline-id", &here]);
    assert_eq!(texts(&found), ["all"]);
    clients.aws(&["ssm", "deregister-patch-baseline-for-patch-group", "--baseline-id", &here, "--patch-group", "all"]);
}

fn regions_know_nothing_of_each_other(clients: &Clients) {
    let id = create(clients, &json!({"Name": "here-only", "OperatingSystem": "DEBIAN"}));
    clients.aws(&["ssm", "register-default-patch-baseline", "--baseline-id", &id]);
    let there = |arguments: &[&'static str], id: &str| {
        let words = arguments.iter().map(|word| (*word).to_owned());
        words.chain([id.to_owned(), "--region".to_owned(), "eu-west-1".to_owned()]).collect::<Vec<_>>()
    };
    let refused = |arguments: &[&'static str], id: &str| {
        let all = there(arguments, id);
        clients.refuses(&all.iter().map(String::as_str).collect::<Vec<_>>(), "DoesNotExistException", "");
    };
    refused(&["ssm", "get-patch-baseline", "--baseline-id"], &id);
    refused(
        &["ssm", "get-patch-baseline", "--baseline-id"],
        &format!("arn:aws:ssm:us-east-1:000000000000:patchbaseline/{id}"),
    );
    let default = ["ssm", "get-default-patch-baseline", "--operating-system", "DEBIAN", "--region", "eu-west-1"];
    assert_eq!(text(&clients.aws(&default)["BaselineId"]), arn("eu-west-1", "pb-09a5f8eb62bde80b1"));
    let own = ["ssm", "describe-patch-baselines", "--region", "eu-west-1", "--filters", "Key=OWNER,Values=Self"];
    assert_eq!(clients.aws(&own), json!({"BaselineIdentities": []}));
}
