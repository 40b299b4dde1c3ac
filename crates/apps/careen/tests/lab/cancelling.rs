//! What ends a command or a node before its time.

use serde_json::json;
use testkit::{HostPackages, SmallPackage, SmallRepository, wait_until};

use crate::site::{AGENT, AGENT_DATA, BOUND, LONG_BOUND, Node, SERVICE, Site, node_id, pretty, register, text};

/// A script that has a child that left its session, and does not end.
const TREE: &str = "echo $$ > /root/pids\nsetsid sh -c 'echo $$ >> /root/pids; trap \"\" TERM HUP; while :; do sleep 0.1; done' &\n\
                    while [ \"$(wc -l < /root/pids)\" -lt 2 ]; do sleep 0.05; done; touch /root/tree; wait";

/// Asserts that no process of [`TREE`] lives.
fn assert_tree_gone(node: &Node) {
    let alive = node.host.shell("for pid in $(cat /root/pids); do test ! -e /proc/$pid || echo $pid; done").unwrap();
    assert_eq!(alive, "", "these live on");
    node.host.shell("rm -f /root/pids /root/tree").unwrap();
}

#[test]
fn a_cancelled_script_dies_with_its_children_and_a_cancelled_installation_finishes_its_package() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let script = site.send_script(&node, TREE);
    node.wait_file("/root/tree");
    site.ssm(&["cancel-command", "--command-id", &script.id]);
    let ended = site.wait_ended(&script, &node, BOUND);
    assert_eq!((&ended["Status"], &ended["StatusDetails"]), (&json!("Cancelled"), &json!("Cancelled")));
    assert_tree_gone(&node);
    let listed = site.ssm(&["list-commands", "--command-id", &script.id]);
    assert_eq!(listed["Commands"][0]["Status"], "Cancelled", "{}", pretty(&listed));

    // One whose time is over. Less than five seconds would count as an hour.
    let parameters = json!({"commands": [TREE], "executionTimeout": ["5"]}).to_string();
    let arguments = ["send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", &node.id];
    let answer = site.ssm(&[&arguments[..], &["--parameters", &parameters]].concat());
    let id = text(&answer["Command"]["CommandId"]);
    node.wait_file("/root/tree");
    let asked = ["get-command-invocation", "--command-id", &id, "--instance-id", &node.id];
    wait_until("the script's time to be over", BOUND, || site.ssm(&asked)["Status"] == "TimedOut").unwrap();
    assert_eq!(site.ssm(&asked)["StatusDetails"], "ExecutionTimedOut");
    assert_tree_gone(&node);

    // An installation: dpkg finishes what it has begun, and is not left half-way.
    let wait = "echo begun >> /root/slow; while [ ! -e /root/go ]; do sleep 0.05; done; echo done >> /root/slow";
    let package = |version| SmallPackage::new("slow", version);
    node.offer(&site, &SmallRepository::main("main").package(package("1")), &["slow"]);
    let security = SmallRepository::security("security").package(package("2").script("postinst", wait));
    node.offer(&site, &security, &[]);
    let installation = site.send_patch(&node, "Install,RebootOption=NoReboot");
    node.wait_file("/root/slow");
    site.ssm(&["cancel-command", "--command-id", &installation.id, "--instance-ids", &node.id]);
    site.wait_invocation(&installation, &node, BOUND, |invocation| invocation["Status"] == "Cancelling");
    // The wish has reached the node.
    let wish = "find /var/lib/careen-agent -name cancel | grep -q .";
    wait_until("the wish to cancel", BOUND, || node.host.exec(["sh", "-c", wish]).unwrap().succeeded()).unwrap();
    assert_eq!(node.dpkg_says("slow"), "2 half-configured");
    node.host.write_file("/root/go", "", 0o644).unwrap();
    let ended = site.wait_ended(&installation, &node, LONG_BOUND);
    // All that it was to do was done by then.
    assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
    assert_eq!(node.host.read_text("/root/slow").unwrap(), "begun\ndone\n");
    assert_eq!(node.dpkg_says("slow"), "2 installed");
    node.assert_dpkg_is_content();
    assert_eq!(site.patch_of(&node, "slow.all"), "InstalledPendingReboot");
}

#[test]
fn a_node_that_is_sent_away_is_cut_off_and_not_let_in_again() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let running = site.send_script(&node, "touch /root/begun; while [ ! -e /root/go ]; do sleep 0.05; done");
    node.wait_file("/root/begun");
    site.wait_invocation(&running, &node, BOUND, |invocation| invocation["Status"] == "InProgress");
    site.ssm(&["deregister-managed-instance", "--instance-id", &node.id]);
    let said = node.wait_disconnected("the server refused (Node)");
    assert!(said.contains("register it again"), "{said}");
    assert!(site.information(&node).is_none(), "it is still listed");
    let refused = site.ssm_error(&[
        "send-command",
        "--document-name",
        "AWS-RunShellScript",
        "--instance-ids",
        &node.id,
        "--parameters",
        "commands=true",
    ]);
    assert!(refused.contains("InvalidInstanceId"), "{refused}");
    // Nobody waits for what it will never tell.
    let ended = site.wait_ended(&running, &node, BOUND);
    assert_eq!((&ended["Status"], &ended["StatusDetails"]), (&json!("Failed"), &json!("Undeliverable")));
    assert!(site.audit("ssm:DeregisterManagedInstance").len() == 1);

    // Registered again, it is another node, and tells nothing of the old one's commands.
    node.host.remove_service(SERVICE).unwrap();
    let activation = site.activation(&[]);
    let refused = register(&node.host, &activation);
    assert!(refused.stderr_text().contains("is registered already"), "{}", refused.stderr_text());
    let named = ["--activation-id", &activation.id, "--activation-code", &activation.code];
    let register = [AGENT, "register", "--force", "--server", "http://10.77.0.1:8470"];
    node.host.exec([&register, &named[..]].concat()).unwrap().expect_success("register --force").unwrap();
    let again = Node { id: node_id(&node.host, AGENT_DATA), ..node.clone() };
    assert_ne!(again.id, node.id);
    again.start_service();
    node.host.write_file("/root/go", "", 0o644).unwrap();
    let script = site.send_script(&again, "echo new");
    assert_eq!(site.wait_ended(&script, &again, BOUND)["StandardOutputContent"], "new\n");
    assert_eq!(site.invocation(&running, &node)["StatusDetails"], "Undeliverable");
}
