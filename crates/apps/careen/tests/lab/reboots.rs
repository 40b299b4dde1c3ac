//! Installations that need a reboot, and get one.

use testkit::{BootEnd, HostPackages, SmallPackage, SmallRepository};

use crate::site::{BOUND, Node, SERVICE, Site, pretty, text};

/// A package whose every configuration leaves a line in /root/configured.
fn package(name: &str, version: &str) -> SmallPackage {
    let script = format!("echo {name} {version} >> /root/configured");
    SmallPackage::new(name, version).script("postinst", &script)
}

/// Asserts that the lines of /root/configured are these, in any order.
fn assert_configured(node: &Node, expected: &[&str]) {
    let text = node.host.read_text("/root/configured").unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn a_script_may_ask_for_a_reboot_and_is_told_when_there_is_none() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let asks = "echo run >> /root/runs; test -e /root/first && echo after && exit 0; touch /root/first; exit 194";
    let command = site.send_script(&node, asks);
    let ended = site.wait_ended(&command, &node, BOUND);
    assert_eq!((&ended["Status"], &ended["StandardOutputContent"]), (&"Success".into(), &"after\n".into()));
    assert_eq!((node.host.boots(), node.lines("/root/runs")), (2, 2));

    // A host whose reboot command refuses: the step fails with its words, and the host stays up.
    node.host.remove_service(SERVICE).unwrap();
    node.host.write_file("/root/no-reboot", "#!/bin/sh\necho not on a Friday >&2; exit 4\n", 0o755).unwrap();
    node.start_service_with(&["--reboot-command", "/root/no-reboot"]);
    node.host.shell("rm /root/first").unwrap();
    let command = site.send_script(&node, asks);
    let ended = site.wait_ended(&command, &node, BOUND);
    assert_eq!(ended["Status"], "Failed", "{}", pretty(&ended));
    let error = text(&ended["StandardErrorContent"]);
    assert!(error.contains("A reboot was wanted but cannot be had") && error.contains("not on a Friday"), "{error}");
    assert_eq!((node.host.boots(), node.lines("/root/runs")), (2, 3));
}

#[test]
fn an_installation_goes_on_after_the_reboot_it_needs() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let kernel = "linux-image-6.1.0-99-amd64";
    let main = SmallRepository::main("main").package(package("plain", "1")).package(package("daemon", "1"));
    node.offer(&site, &main.package(package(kernel, "1")), &["plain", "daemon", kernel]);

    // None is needed, none happens.
    let security = SmallRepository::security("security").package(package("plain", "2"));
    node.offer(&site, &security, &[]);
    let ended = site.patch(&node, "Install,RebootOption=RebootIfNeeded");
    assert_eq!((node.host.boots(), site.patch_of(&node, "plain.all").as_str()), (1, "Installed"), "{}", pretty(&ended));

    // The package asks for it, as Debian's do.
    let asks = package("daemon", "2").script(
        "postinst",
        "echo daemon 2 >> /root/configured; touch /run/reboot-required; echo daemon >> /run/reboot-required.pkgs",
    );
    let security = security.package(asks);
    node.offer(&site, &security, &[]);
    let ended = site.patch(&node, "Install,RebootOption=RebootIfNeeded");
    assert_eq!((node.host.boots(), node.host.boot_ends()), (2, vec![BootEnd::Reboot]), "{}", pretty(&ended));
    assert_eq!(site.patch_of(&node, "daemon.all"), "Installed");
    let output = text(&ended["StandardOutputContent"]);
    assert!(output.contains("Going on with a run that was begun earlier."), "{output}");

    // A new kernel needs it, whatever its scripts say. RebootIfNeeded is what counts where nothing is said.
    node.offer(&site, &security.package(package(kernel, "2")), &[]);
    let ended = site.patch(&node, "Install");
    assert_eq!(node.host.boots(), 3, "{}", pretty(&ended));
    assert_eq!(site.patch_of(&node, &format!("{kernel}.all")), "Installed");

    // Everything was installed once, and nothing is left.
    let both = [format!("{kernel} 1"), format!("{kernel} 2")];
    assert_configured(&node, &["daemon 1", "daemon 2", &both[0], &both[1], "plain 1", "plain 2"]);
    node.assert_dpkg_is_content();
    let counts = site.patch_state(&node);
    for (count, expected) in [("MissingCount", 0), ("FailedCount", 0), ("InstalledPendingRebootCount", 0)] {
        assert_eq!(counts[count], expected, "{}", pretty(&counts));
    }
    assert_eq!((&counts["Operation"], &counts["RebootOption"]), (&"Install".into(), &"RebootIfNeeded".into()));
}
