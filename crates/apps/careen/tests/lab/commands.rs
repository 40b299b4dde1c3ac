//! Commands to several hosts: whom they reach, what is told of them, and when they stop.

use serde_json::Value;
use testkit::HostPackages;

use crate::site::{BOUND, Node, Site, pretty, text};

/// Three nodes, sorted by id, the first two of which are tagged `role=web`.
fn three_nodes(site: &Site) -> [Node; 3] {
    let activation = site.activation(&["--registration-limit", "3"]);
    let mut nodes = ["a", "b", "c"].map(|name| site.enrol(&site.host(name, HostPackages::Empty), &activation));
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    for node in &nodes[..2] {
        let named = ["--resource-type", "ManagedInstance", "--resource-id", &node.id, "--tags", "Key=role,Value=web"];
        site.ssm(&[&["add-tags-to-resource"], &named[..]].concat());
    }
    nodes
}

fn status_details(invocations: &[Value]) -> Vec<String> {
    invocations.iter().map(|invocation| text(&invocation["StatusDetails"])).collect()
}

#[test]
fn commands_reach_whom_they_are_meant_for_and_stop_after_an_error() {
    let Some(site) = Site::for_test() else { return };
    let nodes = three_nodes(&site);
    let ids = nodes.each_ref().map(|node| node.id.as_str());

    // By a tag: two of three, each told with its own output.
    let by_tag = site.send_script_to(&["--targets", "Key=tag:role,Values=web"], "hostname; echo trouble >&2; exit 0");
    for node in &nodes[..2] {
        site.ssm(&["wait", "command-executed", "--command-id", &by_tag.id, "--instance-id", &node.id]);
    }
    let invocations = site.invocations(&by_tag);
    let reached: Vec<_> = invocations.iter().map(|invocation| text(&invocation["InstanceId"])).collect();
    assert_eq!(reached, ids[..2]);
    for (node, listed) in nodes.iter().zip(&invocations) {
        let told = site.invocation(&by_tag, node);
        assert_eq!((&told["Status"], &told["ResponseCode"]), (&"Success".into(), &0.into()));
        assert_eq!(told["StandardOutputContent"], format!("{}\n", node.host.name()), "{}", pretty(&told));
        assert_eq!(told["StandardErrorContent"], "trouble\n");
        let plugin = &listed["CommandPlugins"][0];
        assert_eq!((&plugin["Name"], &plugin["Status"]), (&"aws:runShellScript".into(), &"Success".into()));
        assert!(text(&plugin["Output"]).contains(node.host.name()), "{}", pretty(plugin));
    }
    assert!(
        site.ssm_error(&["get-command-invocation", "--command-id", &by_tag.id, "--instance-id", ids[2]])
            .contains("InvocationDoesNotExist")
    );

    // More output than is kept: its beginning, and that there was more. The node stays with us meanwhile.
    let flood = site.send_script(&nodes[0], "seq 1 400000; seq 1 100000 >&2");
    let told = site.wait_ended(&flood, &nodes[0], BOUND);
    for (stream, characters) in [("StandardOutputContent", 24_000), ("StandardErrorContent", 8_000)] {
        let content = text(&told[stream]);
        assert!(content.starts_with("1\n2\n3\n") && content.ends_with("--output truncated--"), "{stream}");
        assert_eq!(content.chars().count(), characters);
    }

    // To all, one after the other, no error borne: the middle one fails, so the last one is never asked.
    let script = format!("echo asked >> /root/asked; test \"$(hostname)\" != {}", nodes[1].host.name());
    let everywhere = ["--targets", "Key=InstanceIds,Values=*", "--max-concurrency", "1", "--max-errors", "0"];
    let stopped = site.send_script_to(&everywhere, &script);
    site.wait_ended(&stopped, &nodes[1], BOUND);
    let ends = nodes.each_ref().map(|node| text(&site.wait_ended(&stopped, node, BOUND)["StatusDetails"]));
    let (first, last) = if ends[0] == "Success" { (0, 2) } else { (2, 0) };
    assert_eq!([&ends[first], &ends[1], &ends[last]], ["Success", "Failed", "Terminated"]);
    assert_eq!(nodes.each_ref().map(|node| node.lines("/root/asked"))[last], 0, "it was asked all the same");
    assert_eq!(status_details(&site.invocations(&stopped)), ends);
    let failed = site.invocation(&stopped, &nodes[1]);
    assert_eq!((&failed["Status"], &failed["ResponseCode"]), (&"Failed".into(), &1.into()));
    let listed = site.ssm(&["list-commands", "--command-id", &stopped.id]);
    let command = &listed["Commands"][0];
    for (key, value) in [("TargetCount", 3), ("CompletedCount", 3), ("ErrorCount", 1)] {
        assert_eq!(command[key], value, "{}", pretty(command));
    }
    assert_eq!(command["Status"], "Failed");
    let waited = site.try_ssm(&["wait", "command-executed", "--command-id", &stopped.id, "--instance-id", ids[1]]);
    assert!(!waited.succeeded() && waited.stderr_text().contains("Waiter CommandExecuted failed"), "{waited:?}");

    // With one error borne all are asked; two at a time.
    let borne = ["--targets", "Key=InstanceIds,Values=*", "--max-concurrency", "2", "--max-errors", "1"];
    let through = site.send_script_to(&borne, &script);
    let ends = nodes.each_ref().map(|node| text(&site.wait_ended(&through, node, BOUND)["StatusDetails"]));
    assert_eq!(ends, ["Success", "Failed", "Success"]);
}
