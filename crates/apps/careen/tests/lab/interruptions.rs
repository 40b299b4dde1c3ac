//! Whatever dies while a command runs: nothing is lost, nothing is done twice.

use std::time::Duration;

use serde_json::Value;
use testkit::{HostPackages, SmallPackage, SmallRepository, wait_until};

use crate::site::{BOUND, LONG_BOUND, Node, PORT, Sent, Site, pretty, text};

/// A script that says who it is and that it has begun, waits for /root/go, and says that it is done.
const SCRIPT: &str = "echo $$ > /root/pid; echo begun >> /root/script; while [ ! -e /root/go ]; do sleep 0.05; done; echo done >> /root/script; echo over";

/// A script and an installation that run on one node at the same time, neither of which ends before /root/go is there.
struct UnderWay {
    script: Sent,
    installation: Sent,
    version: String,
}

/// A package `slow` whose configuration waits for /root/go, where it does not come from the main archive.
fn slow(version: &str) -> SmallPackage {
    let wait = "echo begun >> /root/slow; while [ ! -e /root/go ]; do sleep 0.05; done; echo done >> /root/slow";
    let package = SmallPackage::new("slow", version);
    if version == "1" { package } else { package.script("postinst", wait) }
}

fn node_with_slow_package(site: &Site) -> Node {
    let node = site.node("h1", HostPackages::Empty);
    let main = SmallRepository::main("main").package(slow("1"));
    node.offer(site, &main, &["slow"]);
    node
}

/// Starts both and waits until both are in the middle.
fn start_both(site: &Site, node: &Node, version: &str) -> UnderWay {
    node.host.shell("rm -f /root/go /root/script /root/slow").unwrap();
    node.offer(site, &SmallRepository::security("security").package(slow(version)), &[]);
    let installation = site.send_patch(node, "Install,RebootOption=NoReboot");
    let script = site.send_script(node, SCRIPT);
    node.wait_file("/root/slow");
    node.wait_file("/root/script");
    // The server knows that both run, so that nothing of the start is still on its way.
    for command in [&installation, &script] {
        site.wait_invocation(command, node, BOUND, |invocation| invocation["Status"] == "InProgress");
    }
    UnderWay { script, installation, version: version.to_owned() }
}

fn let_go(node: &Node) {
    node.host.write_file("/root/go", "", 0o644).unwrap();
}

/// Asserts that the installation has succeeded, its package was configured once, and dpkg is content.
fn assert_installed_once(site: &Site, node: &Node, under_way: &UnderWay) {
    let ended = site.wait_ended(&under_way.installation, node, LONG_BOUND);
    assert_eq!((&ended["Status"], &ended["ResponseCode"]), (&"Success".into(), &0.into()), "{}", pretty(&ended));
    assert_eq!(node.host.read_text("/root/slow").unwrap(), "begun\ndone\n");
    assert_installed(site, node, under_way);
}

fn assert_installed(site: &Site, node: &Node, under_way: &UnderWay) {
    assert_eq!(node.dpkg_says("slow"), format!("{} installed", under_way.version));
    node.assert_dpkg_is_content();
    assert_eq!(site.patch_of(node, "slow.all"), "InstalledPendingReboot");
    let counts = site.patch_state(node);
    assert_eq!((&counts["MissingCount"], &counts["FailedCount"]), (&0.into(), &0.into()), "{}", pretty(&counts));
}

/// Asserts that the script has succeeded, was run once, and that its output is there.
fn assert_scripted_once(site: &Site, node: &Node, under_way: &UnderWay) {
    let ended = site.wait_ended(&under_way.script, node, BOUND);
    assert_eq!(
        (&ended["Status"], &ended["StandardOutputContent"]),
        (&"Success".into(), &"over\n".into()),
        "{}",
        pretty(&ended)
    );
    assert_eq!(node.host.read_text("/root/script").unwrap(), "begun\ndone\n");
}

/// Asserts that the script was interrupted and not run again.
fn assert_interrupted(site: &Site, node: &Node, under_way: &UnderWay) {
    let ended: Value = site.wait_ended(&under_way.script, node, BOUND);
    assert_eq!(ended["Status"], "Failed", "{}", pretty(&ended));
    let error = text(&ended["StandardErrorContent"]);
    assert!(error.contains("Interrupted") && error.contains("not run again"), "{error}");
    let listed = &site.invocations(&under_way.script)[0];
    assert!(text(&listed["TraceOutput"]).contains("Interrupted"), "{}", pretty(listed));
    assert_eq!(node.host.read_text("/root/script").unwrap(), "begun\n");
}

#[test]
fn an_agent_or_a_supervisor_that_is_killed_loses_nothing() {
    let Some(site) = Site::for_test() else { return };
    let node = node_with_slow_package(&site);

    // The agent: its supervisors go on, and the next agent tells what came of them.
    let under_way = start_both(&site, &node, "2");
    let supervisors = node.supervisors();
    assert_eq!(supervisors.len(), 2, "{supervisors:?}");
    node.kill_agent();
    node.wait_connected();
    assert_eq!(node.supervisors(), supervisors);
    let_go(&node);
    assert_installed_once(&site, &node, &under_way);
    assert_scripted_once(&site, &node, &under_way);

    // While nobody is there to take the result.
    let under_way = start_both(&site, &node, "3");
    node.host.remove_service(crate::site::SERVICE).unwrap();
    let_go(&node);
    wait_until("the supervisors to end", BOUND, || node.supervisors().is_empty()).unwrap();
    node.start_service();
    assert_installed_once(&site, &node, &under_way);
    assert_scripted_once(&site, &node, &under_way);

    // The supervisors: the script is interrupted with its processes; the package transaction goes on by itself.
    let under_way = start_both(&site, &node, "4");
    node.host.exec([&["kill".to_owned(), "-KILL".to_owned()], &node.supervisors()[..]].concat()).unwrap();
    assert_interrupted(&site, &node, &under_way);
    assert!(!node.host.exec(["sh", "-c", "kill -0 $(cat /root/pid)"]).unwrap().succeeded(), "the script runs on");
    let_go(&node);
    assert_installed_once(&site, &node, &under_way);
}

#[test]
fn a_server_that_is_killed_and_a_link_that_is_cut_lose_nothing() {
    let Some(site) = Site::for_test() else { return };
    let node = node_with_slow_package(&site);

    // The server, and what ends while it is away.
    let under_way = start_both(&site, &node, "2");
    site.kill_server();
    let_go(&node);
    wait_until("the supervisors to end", BOUND, || node.supervisors().is_empty()).unwrap();
    node.wait_disconnected("");
    site.start_server(PORT);
    assert_installed_once(&site, &node, &under_way);
    assert_scripted_once(&site, &node, &under_way);

    // The server, and what is still running when it is back.
    let under_way = start_both(&site, &node, "3");
    site.kill_server();
    site.start_server(PORT);
    node.wait_connected();
    let_go(&node);
    assert_installed_once(&site, &node, &under_way);
    assert_scripted_once(&site, &node, &under_way);

    // The link, and what ends while it is cut.
    let under_way = start_both(&site, &node, "4");
    node.host.cut_link().unwrap();
    let_go(&node);
    wait_until("the supervisors to end", BOUND, || node.supervisors().is_empty()).unwrap();
    node.host.heal_link().unwrap();
    assert_installed_once(&site, &node, &under_way);
    assert_scripted_once(&site, &node, &under_way);

    // The link and the agent; a command that is sent meanwhile reaches the next agent over a connection of its own.
    node.host.cut_link().unwrap();
    let late = site.send_script(&node, "echo late >> /root/late");
    node.kill_agent();
    node.host.heal_link().unwrap();
    assert_eq!(site.wait_ended(&late, &node, BOUND)["Status"], "Success");
    assert_eq!(node.lines("/root/late"), 1);
}

#[test]
fn amid_all_kinds_of_trouble_each_command_runs_once() {
    let Some(site) = Site::for_test() else { return };
    trouble(&site);
}

#[test]
fn amid_all_kinds_of_trouble_each_command_runs_once_on_postgres_too() {
    let Some(site) = Site::for_test_on_postgres() else { return };
    trouble(&site);
}

fn trouble(site: &Site) {
    let node = site.node("h1", HostPackages::Empty);
    let troubles: [&dyn Fn(); 4] = [
        &|| node.kill_agent(),
        &|| {
            site.kill_server();
            site.start_server(PORT);
        },
        &|| {
            node.host.cut_link().unwrap();
            node.kill_agent();
            node.host.heal_link().unwrap();
        },
        &|| {
            node.kill_agent();
            site.kill_server();
            site.start_server(PORT);
            node.kill_agent();
        },
    ];
    let mut sent = Vec::new();
    for round in 0..8 {
        // Trouble comes at once after one, and while the other runs.
        let script = format!("echo {round} >> /root/ran; sleep 0.{round}; echo said {round}");
        sent.push((round, site.send_script(&node, &script)));
        troubles[round % troubles.len()]();
    }
    for (round, command) in &sent {
        let ended = site.wait_ended(command, &node, BOUND);
        assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
        assert_eq!(ended["StandardOutputContent"], format!("said {round}\n"));
    }
    let mut ran: Vec<String> = node.host.read_text("/root/ran").unwrap().lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, (0..8).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_reboot_by_someone_else_is_survived() {
    let Some(site) = Site::for_test() else { return };
    let node = node_with_slow_package(&site);
    let under_way = start_both(&site, &node, "2");
    node.host.reboot().unwrap();
    node.wait_connected();
    let_go(&node);
    let ended = site.wait_ended(&under_way.script, &node, BOUND);
    assert_eq!(ended["Status"], "Failed", "{}", pretty(&ended));
    assert_eq!(node.host.read_text("/root/script").unwrap(), "begun\n", "the script was run again");
    let ended = site.wait_ended(&under_way.installation, &node, LONG_BOUND);
    assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
    assert_eq!((node.dpkg_says("slow").as_str(), node.host.boots()), ("2 installed", 2));
    node.assert_dpkg_is_content();
}

#[test]
fn power_that_is_lost_ends_scripts_and_lets_installations_go_on() {
    let Some(site) = Site::for_test() else { return };
    let node = node_with_slow_package(&site);
    let under_way = start_both(&site, &node, "2");
    node.host.power_loss().unwrap();
    let waiting = site.send_script(&node, "echo waited >> /root/waited");
    let_go(&node);
    node.host.power_on().unwrap();
    node.wait_connected();
    assert_interrupted(&site, &node, &under_way);
    let ended = site.wait_ended(&under_way.installation, &node, LONG_BOUND);
    assert_eq!((&ended["Status"], &ended["ResponseCode"]), (&"Success".into(), &0.into()), "{}", pretty(&ended));
    // dpkg itself had not finished with the package, and configured it again.
    assert_eq!(node.host.read_text("/root/slow").unwrap(), "begun\nbegun\ndone\n");
    assert_eq!(node.dpkg_says("slow"), "2 installed");
    node.assert_dpkg_is_content();
    assert_eq!(site.wait_ended(&waiting, &node, BOUND)["Status"], "Success");
    assert_eq!(node.lines("/root/waited"), 1);
    let counts = site.patch_state(&node);
    assert_eq!((&counts["MissingCount"], &counts["FailedCount"]), (&0.into(), &0.into()), "{}", pretty(&counts));
    // Nothing is left to be done, and nothing is done again.
    node.kill_agent();
    node.wait_connected();
    wait_until("the agent to rest", Duration::from_secs(30), || {
        node.status().1["status"]["jobs"].as_array().is_some_and(Vec::is_empty)
    })
    .unwrap();
    assert_eq!(node.host.read_text("/root/slow").unwrap(), "begun\nbegun\ndone\n");
}
