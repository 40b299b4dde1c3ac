//! An agent that is not root: it sees, and does not touch.

use testkit::{HostPackages, ServiceSpec, SmallPackage, SmallRepository, run_bounded_with_input};

use crate::site::{AGENT, BOUND, LONG_BOUND, Node, SERVICE, Site, node_id, pretty, text};

/// The user that the agent runs as.
const AS_USER: [&str; 6] =
    ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "HOME=/home/watcher"];
/// The user's folder for the agent: what it takes where nothing is said.
const DATA: &str = "/home/watcher/.local/share/careen-agent";

fn enrol_as_user(site: &Site) -> Node {
    let host = site.host("h1", HostPackages::Empty);
    host.shell("useradd --uid 1000 --create-home watcher").unwrap();
    let activation = site.activation(&[]);
    let mut command = host.command(AS_USER[0]).unwrap();
    command.args(&AS_USER[1..]).args([AGENT, "register", "--server", "http://10.77.0.1:8470"]);
    command.args(["--activation-id", &activation.id]);
    let registered = run_bounded_with_input(&mut command, activation.code.as_bytes(), BOUND).unwrap();
    registered.expect_success("register").unwrap();
    let run = [&AS_USER[..], &[AGENT, "run", "--reconnect-seconds-max", "1"]].concat();
    host.install_service(SERVICE, &ServiceSpec::always(run)).unwrap();
    Node { id: node_id(&host, DATA), host }
}

#[test]
fn an_agent_without_rights_scans_with_lists_of_its_own_and_refuses_to_install() {
    let Some(site) = Site::for_test() else { return };
    let node = enrol_as_user(&site);
    let package = |version| SmallPackage::new("tool", version);
    node.offer(&site, &SmallRepository::main("main").package(package("1")), &["tool"]);
    node.offer(&site, &SmallRepository::security("security").package(package("2")), &[]);
    let lists = || node.host.shell("ls -l --time-style=full-iso /var/lib/apt/lists").unwrap();
    let before = lists();

    site.patch(&node, "Scan");
    assert_eq!(site.patch_of(&node, "tool.all"), "Missing");
    assert_eq!(lists(), before, "root's lists were touched");
    assert!(!before.contains("bookworm-security"), "{before}");
    let own = node.host.shell(&format!("ls {DATA}/host/lists")).unwrap();
    assert!(own.contains("bookworm-security_main_binary-amd64_Packages"), "{own}");

    let installation = site.send_patch(&node, "Install,RebootOption=NoReboot");
    let ended = site.wait_ended(&installation, &node, LONG_BOUND);
    assert_eq!(ended["Status"], "Failed", "{}", pretty(&ended));
    let error = text(&ended["StandardErrorContent"]);
    assert!(error.contains("needs root"), "{error}");
    assert_eq!(node.dpkg_says("tool"), "1 installed");
    // A refused installation tells nothing new, and takes nothing back.
    assert_eq!(site.patch_of(&node, "tool.all"), "Missing");
    let who = site.send_script(&node, "id -u");
    assert_eq!(site.wait_ended(&who, &node, BOUND)["StandardOutputContent"], "1000\n");
}
