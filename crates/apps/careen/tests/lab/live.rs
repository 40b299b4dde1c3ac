//! Output while it comes, and what a node's own policy forbids.

use serde_json::{Value, json};
use testkit::{HostPackages, SmallPackage, SmallRepository, wait_until};

use crate::site::{BOUND, LONG_BOUND, Node, Site, pretty, text};

#[test]
fn a_flood_of_output_holds_up_no_heartbeat_no_result_and_no_cancel() {
    let Some(site) = Site::for_test() else { return };
    let (node, other) = (site.node("h1", HostPackages::Empty), site.node("h2", HostPackages::Empty));
    // As much as the machine can make, until it is cancelled.
    let flood = site.send_script(&node, "echo begun >&2; yes flood");
    let logs = || site.careen(&["logs", &flood.id, "--node", &node.id]);
    wait_until("output to be shown while the script runs", BOUND, || {
        let shown = logs();
        shown.contains(&format!("{} | flood", node.id)) && shown.contains(&format!("{} ! begun", node.id))
    })
    .unwrap();
    assert_eq!(site.invocation(&flood, &node)["Status"], "InProgress");
    assert_eq!(site.invocation(&flood, &node)["StandardOutputContent"], "", "as AWS: nothing before its end");

    // Others get through, on the same node and elsewhere.
    for place in [&node, &other] {
        let script = site.send_script(place, "echo through");
        let ended = site.wait_ended(&script, place, BOUND);
        assert_eq!((&ended["Status"], &ended["StandardOutputContent"]), (&json!("Success"), &json!("through\n")));
    }
    let heard = |place: &Node| site.information(place).unwrap()["LastPingDateTime"].clone();
    let before = heard(&node);
    wait_until("another heartbeat", BOUND, || heard(&node) != before).unwrap();
    assert_eq!(site.information(&node).unwrap()["PingStatus"], "Online");
    assert_eq!(site.invocation(&flood, &node)["Status"], "InProgress");

    site.ssm(&["cancel-command", "--command-id", &flood.id]);
    let ended = site.wait_ended(&flood, &node, BOUND);
    assert_eq!(ended["Status"], "Cancelled", "{}", pretty(&ended));
    let followed = site.careen(&["logs", &flood.id, "--follow"]);
    assert_eq!(followed.lines().last().unwrap(), format!("{} = Cancelled", node.id));
    assert!(followed.starts_with(&format!("{} | flood\n", node.id)));
}

fn policy(node: &Node, text: &str) {
    node.host.shell("mkdir -p /etc/careen-agent").unwrap();
    node.host.write_file("/etc/careen-agent/policy.toml", text, 0o644).unwrap();
}

#[test]
fn what_a_node_forbids_is_refused_recorded_and_reported_as_access_denied() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    node.offer(&site, &SmallRepository::main("main").package(SmallPackage::new("small", "1")), &["small"]);
    node.offer(&site, &SmallRepository::security("security").package(SmallPackage::new("small", "2")), &[]);
    policy(&node, "shell = false\nreboot = false\ninstall_hours = [\"daily 00:00-24:00\"]\n");
    let denied = |ended: &Value| (ended["Status"].clone(), ended["StatusDetails"].clone());
    let access_denied = (json!("Failed"), json!("AccessDenied"));

    let script = site.send_script(&node, "touch /root/ran");
    assert_eq!(denied(&site.wait_ended(&script, &node, BOUND)), access_denied);
    let told = text(&site.invocations(&script)[0]["TraceOutput"]);
    assert!(told.contains("(shell = false)") && told.contains("/etc/careen-agent/policy.toml"), "{told}");
    assert!(node.host.read_file("/root/ran").is_err());
    let record = &site.audit("careen:ReceiveOrder")[0];
    assert!(text(&record["outcome"]).contains("(shell = false)"), "{record}");

    let rebooting = site.send_patch(&node, "Install");
    assert_eq!(denied(&site.wait_ended(&rebooting, &node, BOUND)), access_denied);
    let told = text(&site.invocations(&rebooting)[0]["TraceOutput"]);
    assert!(told.contains("(reboot = false)") && told.contains("RebootOption=NoReboot"), "{told}");
    assert_eq!(node.dpkg_says("small"), "1 installed");

    policy(&node, "install = false");
    let never = site.send_patch(&node, "Install,RebootOption=NoReboot");
    assert_eq!(denied(&site.wait_ended(&never, &node, BOUND)), access_denied);
    let scan = site.send_patch(&node, "Scan");
    assert_eq!(site.wait_ended(&scan, &node, LONG_BOUND)["Status"], "Success", "a scan is allowed");

    policy(&node, "shell = false\nreboot = false\ninstall_hours = [\"daily 00:00-24:00\"]\n");
    let allowed = site.send_patch(&node, "Install,RebootOption=NoReboot");
    let ended = site.wait_ended(&allowed, &node, LONG_BOUND);
    assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
    assert_eq!(node.dpkg_says("small"), "2 installed");
}

#[test]
fn a_cancelled_script_leaves_the_package_transaction_it_began_to_finish() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let wait = "echo begun >> /root/slow; while [ ! -e /root/go ]; do sleep 0.05; done; echo done >> /root/slow";
    let package = SmallPackage::new("slow", "1").script("postinst", wait);
    node.offer(&site, &SmallRepository::main("main").package(package), &[]);
    node.host.shell("apt-get -qq update").unwrap();
    let script = "(sleep 1000) & echo $! > /root/other; \
                  apt-get -qq -y install slow; touch /root/went-on";
    let sent = site.send_script(&node, script);
    node.wait_file("/root/slow");
    site.ssm(&["cancel-command", "--command-id", &sent.id]);
    let other = "! kill -0 $(cat /root/other) 2>/dev/null";
    let gone = || node.host.exec(["sh", "-c", other]).unwrap().succeeded();
    wait_until("what is no transaction to be killed", BOUND, gone).unwrap();
    assert_eq!(node.dpkg_says("slow"), "1 half-configured");
    assert_eq!(site.invocation(&sent, &node)["Status"], "Cancelling");
    node.host.write_file("/root/go", "", 0o644).unwrap();
    let ended = site.wait_ended(&sent, &node, BOUND);
    assert_eq!(ended["Status"], "Cancelled", "{}", pretty(&ended));
    assert!(text(&ended["StandardErrorContent"]).contains("was left to finish first"), "{}", pretty(&ended));
    assert_eq!(node.dpkg_says("slow"), "1 installed");
    node.assert_dpkg_is_content();
    assert!(node.host.read_file("/root/went-on").is_err(), "the script itself was to end");
}
