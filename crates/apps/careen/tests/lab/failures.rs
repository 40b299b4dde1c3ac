//! Packages that cannot be installed, and what becomes of the rest.

use testkit::{HostPackages, SmallPackage, SmallRepository};

use crate::site::{LONG_BOUND, Site, pretty, text};

#[test]
fn a_package_that_fails_is_told_and_does_not_stop_the_rest() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Empty);
    let package = SmallPackage::new;
    let names = ["good", "broken", "greedy", "victim"];
    let main = names.iter().fold(SmallRepository::main("main"), |main, name| main.package(package(name, "1")));
    node.offer(&site, &main, &names);
    let security = SmallRepository::security("security")
        .package(package("good", "2"))
        .package(package("broken", "2").script("postinst", "echo this cannot be configured >&2; exit 7"))
        // Its update would remove another package.
        .package(package("greedy", "2").field("Conflicts", "victim"));
    node.offer(&site, &security, &[]);

    let installation = site.send_patch(&node, "Install,RebootOption=NoReboot");
    let ended = site.wait_ended(&installation, &node, LONG_BOUND);
    assert_eq!((&ended["Status"], &ended["ResponseCode"]), (&"Failed".into(), &1.into()), "{}", pretty(&ended));
    let output = text(&ended["StandardOutputContent"]);
    assert!(output.contains("this cannot be configured") && output.contains("victim"), "{output}");
    assert_eq!((node.dpkg_says("good").as_str(), node.dpkg_says("victim").as_str()), ("2 installed", "1 installed"));
    assert_eq!(node.dpkg_says("greedy"), "1 installed");
    let states = ["good.all", "broken.all", "greedy.all"].map(|kb_id| site.patch_of(&node, kb_id));
    assert_eq!(states, ["InstalledPendingReboot", "Failed", "Failed"]);
    let counts = site.patch_state(&node);
    assert_eq!((&counts["FailedCount"], &counts["MissingCount"]), (&2.into(), &0.into()), "{}", pretty(&counts));

    // Its next version mends it; two operations at once wait for each other.
    node.offer(&site, &security.package(package("broken", "3")).package(package("greedy", "3")), &[]);
    let installation = site.send_patch(&node, "Install,RebootOption=NoReboot");
    let scan = site.send_patch(&node, "Scan");
    for command in [&installation, &scan] {
        let ended = site.wait_ended(command, &node, LONG_BOUND);
        assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
    }
    assert_eq!((node.dpkg_says("broken").as_str(), node.dpkg_says("greedy").as_str()), ("3 installed", "3 installed"));
    node.assert_dpkg_is_content();
    let counts = site.patch_state(&node);
    assert_eq!((&counts["FailedCount"], &counts["MissingCount"]), (&0.into(), &0.into()), "{}", pretty(&counts));
    assert_eq!(counts["Operation"], "Scan");
}
