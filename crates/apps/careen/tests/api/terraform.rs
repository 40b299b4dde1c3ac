//! Terraform's AWS provider, with `AWS_ENDPOINT_URL` and the credentials file alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Finished, in_continuous_integration, run_bounded};

use crate::activations::from_now;
use crate::clients::{isolate, text};
use crate::server::Place;

const BOUND: Duration = Duration::from_secs(120);
const TEN_DAYS_SECONDS: i64 = 864_000;

/// The program and its plugins; none where they are absent, which is said aloud and fails continuous integration.
fn terraform() -> Option<(PathBuf, PathBuf)> {
    let read = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let found = read("CAREEN_TEST_TERRAFORM").zip(read("CAREEN_TEST_TERRAFORM_PLUGINS"));
    if found.is_none() {
        eprintln!(
            "TERRAFORM ABSENT: this test tests nothing (CAREEN_TEST_TERRAFORM names none; `cargo xtask test` looks for it)"
        );
        assert!(!in_continuous_integration(), "Terraform is absent");
    }
    found
}

/// A folder with a configuration.
struct Configuration<'p> {
    folder: PathBuf,
    program: PathBuf,
    place: &'p Place,
    endpoint: String,
    expires_at: String,
}

impl Configuration<'_> {
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(&self.program);
        isolate(&mut command, self.place.path());
        command.env("AWS_SHARED_CREDENTIALS_FILE", self.place.data().join("credentials"));
        command.env("AWS_ENDPOINT_URL", &self.endpoint);
        command.env("TF_CLI_CONFIG_FILE", self.folder.join("empty.tfrc")).env("CHECKPOINT_DISABLE", "1");
        command.env("TF_IN_AUTOMATION", "1").env("TF_VAR_expires_at", &self.expires_at);
        command.args(arguments).current_dir(&self.folder);
        run_bounded(&mut command, BOUND).unwrap()
    }

    fn apply(&self, stage: &str) {
        let stage = format!("stage={stage}");
        let apply = ["apply", "-auto-approve", "-input=false", "-no-color", "-var", &stage];
        self.run(&apply).expect_success("terraform apply").unwrap();
    }

    /// A fresh plan finds nothing to do. Code 2 would mean that there is something.
    fn expect_empty_plan(&self, stage: &str) {
        let stage = format!("stage={stage}");
        let plan = self.run(&["plan", "-detailed-exitcode", "-input=false", "-no-color", "-var", &stage]);
        assert_eq!(plan.code, Some(0), "{}\n{}", plan.stdout_text(), plan.stderr_text());
    }

    fn output(&self) -> Value {
        let text = self.run(&["output", "-json", "-no-color"]).expect_success("terraform output").unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn destroy(&self) {
        let destroy = ["destroy", "-auto-approve", "-input=false", "-no-color"];
        self.run(&destroy).expect_success("terraform destroy").unwrap();
    }
}

#[test]
fn terraform_makes_changes_and_removes_what_it_describes() {
    let Some((program, plugins)) = terraform() else { return };
    let place = Place::new();
    let server = place.start();
    let folder = place.path().join("terraform");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("empty.tfrc"), "").unwrap();
    fs::write(folder.join("main.tf"), include_str!("main.tf")).unwrap();
    let endpoint = format!("http://{}", server.address());
    let expires_at = from_now(TEN_DAYS_SECONDS);
    let configuration = Configuration { folder, program, place: &place, endpoint, expires_at };
    let plugins = format!("-plugin-dir={}", Path::new(&plugins).display());
    configuration.run(&["init", "-input=false", "-no-color", &plugins]).expect_success("terraform init").unwrap();

    configuration.apply("first");
    configuration.expect_empty_plan("first");
    let clients = server.clients();
    let output = configuration.output();
    let debian = text(&output["debian"]["value"]);
    let found = clients.aws(&["ssm", "get-patch-baseline", "--baseline-id", &debian]);
    assert_eq!((&found["Description"], &found["PatchGroups"]), (&json!("Debian, first"), &json!(["web"])));
    let ubuntu = "arn:aws:ssm:us-east-1:075727635805:patchbaseline/pb-0c7e89f711c3095f4";
    assert_eq!(output["predefined"]["value"], ubuntu, "the data source finds AWS's own");
    assert_eq!(output["own"]["value"], output["amazon"]["value"], "and ours");

    configuration.apply("second");
    configuration.expect_empty_plan("second");
    let found = clients.aws(&["ssm", "get-patch-baseline", "--baseline-id", &debian]);
    assert_eq!(found["Description"], "Debian, second", "changed in place");
    let tags = ["ssm", "list-tags-for-resource", "--resource-type", "PatchBaseline", "--resource-id", &debian];
    let expected = json!({"TagList": [{"Key": "Stage", "Value": "second"}, {"Key": "second", "Value": "yes"}]});
    assert_eq!(clients.aws(&tags), expected);
    let default = ["ssm", "get-default-patch-baseline", "--operating-system", "DEBIAN"];
    assert_eq!(text(&clients.aws(&default)["BaselineId"]), debian);

    // Someone else was there first: gone is gone, and the default is AWS's again.
    let activation = text(&configuration.output()["activation"]["value"]);
    clients.aws(&["ssm", "delete-activation", "--activation-id", &activation]);
    configuration.destroy();
    let own = ["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=Self"];
    assert_eq!(clients.aws(&own), json!({"BaselineIdentities": []}));
    assert_eq!(clients.aws(&["ssm", "describe-patch-groups"]), json!({"Mappings": []}));
    assert_eq!(clients.aws(&["ssm", "describe-activations"]), json!({"ActivationList": []}));
    assert!(text(&clients.aws(&default)["BaselineId"]).ends_with("pb-09a5f8eb62bde80b1"));

    configuration.apply("third");
    configuration.expect_empty_plan("third");
    server.stop();
}
