//! Tags `careen:*`: only known ones, and what they do.

use agent_wire::StepAction;
use aws_wire::ssm::Operation;
use patching::RebootPolicy;
use serde_json::json;
use testkit::fleet::{Sending, SimulatedFleet};

use crate::support::{ask, call, node, on_both};

on_both! {
    a_reboot_policy_travels_from_tag_to_order: 1;
}

/// The policy in the newest order to patch.
async fn ordered(fleet: &mut SimulatedFleet) -> Option<RebootPolicy> {
    let command = fleet.send(&Sending::patch("Install")).await.unwrap();
    fleet.activate().await.unwrap();
    fleet.exchange(0).await.unwrap();
    let agent = &fleet.agents()[0];
    let job = agent.written_jobs().find(|job| job.command_id == command).expect("the order has arrived").clone();
    while fleet.work(0).await.unwrap() {}
    fleet.exchange(0).await.unwrap();
    let patch = |action: &StepAction| match action {
        StepAction::Patch(step) => Some(step.reboot_policy),
        _ => None,
    };
    job.steps.iter().find_map(|step| patch(&step.action)).expect("a patch step")
}

async fn a_reboot_policy_travels_from_tag_to_order(fleet: &mut SimulatedFleet) {
    let node = node(fleet, 0);
    let tag = |kind: &str, id: &str, key: &str, value: &str| json!({"ResourceType": kind, "ResourceId": id, "Tags": [{"Key": key, "Value": value}]});
    assert_eq!(ordered(fleet).await, None, "as the agent was started");
    for (key, value) in [("careen:reboot-policy", "always"), ("careen:reboot", "aws"), ("CAREEN:x", "y")] {
        let context = fleet.context().unwrap();
        let refused = ask(&context, Operation::AddTagsToResource, &tag("ManagedInstance", &node, key, value)).await;
        assert_eq!(refused, Err("ValidationException".to_owned()), "{key}={value}");
        let tags = json!([{"Key": key, "Value": value}]);
        let body = json!({"IamRole": "service-role/Fleet", "Tags": tags});
        assert_eq!(ask(&context, Operation::CreateActivation, &body).await, Err("ValidationException".to_owned()));
    }
    let tags = json!([{"Key": "careen:reboot-policy", "Value": "needed"}]);
    let baseline = json!({"Name": "careful", "OperatingSystem": "DEBIAN", "Tags": tags});
    let baseline =
        call(fleet, Operation::CreatePatchBaseline, baseline).await["BaselineId"].as_str().unwrap().to_owned();
    call(fleet, Operation::RegisterDefaultPatchBaseline, json!({"BaselineId": baseline})).await;
    assert_eq!(ordered(fleet).await, Some(RebootPolicy::Needed), "the baseline's");
    call(fleet, Operation::AddTagsToResource, tag("ManagedInstance", &node, "careen:reboot-policy", "aws")).await;
    assert_eq!(ordered(fleet).await, Some(RebootPolicy::Aws), "the node's own counts before the baseline's");
    let remove = json!({"ResourceType": "ManagedInstance", "ResourceId": node, "TagKeys": ["careen:reboot-policy"]});
    call(fleet, Operation::RemoveTagsFromResource, remove).await;
    assert_eq!(ordered(fleet).await, Some(RebootPolicy::Needed));
}
