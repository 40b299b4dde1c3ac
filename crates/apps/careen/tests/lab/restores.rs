//! The server's database goes back in time; what its nodes have done since stays done, and is done once.

use std::fs;
use std::path::Path;

use testkit::{HostPackages, wait_until};

use crate::site::{AGENT_DATA, BOUND, Node, PORT, SERVICE, Site, text};

/// Runs until the file /root/go is there.
const LONG: &str = "echo begun >> /root/long; while ! test -e /root/go; do sleep 0.1; done; echo ended >> /root/long";

/// Waits until everything that the agent had to say has been acknowledged.
fn wait_spool_empty(node: &Node) {
    let script = format!("test -d {AGENT_DATA}/*/spool || exit 1; ls {AGENT_DATA}/*/spool | grep -c json; true");
    wait_until("the spool to be empty", BOUND, || {
        let counted = node.host.exec(["sh", "-c", &script]).unwrap();
        counted.succeeded() && counted.stdout_text().trim() == "0"
    })
    .unwrap();
}

/// The database that was replaced.
fn replaced(folder: &Path) -> std::path::PathBuf {
    let mut names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.to_string_lossy().contains("careen.db.replaced-")).unwrap()
}

#[test]
fn after_a_restore_no_old_command_is_sent_and_the_nodes_go_on() {
    let Some(site) = Site::for_test() else { return };
    let (busy, away) = (site.node("busy", HostPackages::Empty), site.node("away", HostPackages::Empty));
    let long = site.send_script(&busy, LONG);
    busy.wait_file("/root/long");
    away.host.remove_service(SERVICE).unwrap();
    let waiting = site.send_script(&away, "echo ran >> /root/waited");

    let data = site.lab.folder().join("server");
    let file = site.lab.folder().join("backup");
    let file = file.to_str().unwrap();
    site.careen(&["admin", "backup", file]);
    assert!(site.careen(&["admin", "check", file]).contains("It is whole"));
    assert!(site.careen(&["admin", "check"]).contains("is in order"));

    // What happens after the backup: a command that the backup does not know, and one that it has as waiting.
    let later = site.send_script(&busy, "echo ran >> /root/later");
    site.wait_ended(&later, &busy, BOUND);
    away.start_service();
    site.wait_ended(&waiting, &away, BOUND);

    site.kill_server();
    busy.host.write_file("/root/go", "", 0o644).unwrap();
    let said = site.careen(&["admin", "restore", file, "--replace"]);
    assert!(said.contains("2 commands were unfinished") && said.contains("replaced-"), "{said}");
    assert!(site.careen(&["admin", "check"]).contains("is in order"));
    let old = replaced(&data);
    site.start_server(PORT);

    for (command, node) in [(&long, &busy), (&waiting, &away)] {
        let invocation = site.invocation(command, node);
        assert_eq!(invocation["StatusDetails"], "Cancelled", "{invocation}");
        let listed = site.ssm(&["list-commands", "--command-id", &command.id]);
        assert_eq!(listed["Commands"][0]["StatusDetails"], "Cancelled");
    }
    let unknown = ["get-command-invocation", "--command-id", &later.id, "--instance-id", &busy.id];
    assert!(site.ssm_error(&unknown).contains("InvalidCommandId"));
    assert_eq!(site.audit("careen:Restore").len(), 1);
    for node in [&busy, &away] {
        node.wait_connected();
        let again = site.send_script(node, "echo new >> /root/new");
        assert_eq!(site.wait_ended(&again, node, BOUND)["Status"], "Success");
        // Results of commands that nobody here knows are taken and dropped, and not said for ever.
        wait_spool_empty(node);
    }
    let counts = [(&busy, "/root/long", 2), (&busy, "/root/later", 1), (&away, "/root/waited", 1)];
    for (node, path, lines) in counts {
        assert_eq!(node.lines(path), lines, "{path}");
    }

    // The database from before the restore comes back: its orders are of an incarnation that the nodes have left behind.
    site.stop_server();
    fs::rename(&old, data.join("careen.db")).unwrap();
    site.start_server(PORT);
    busy.wait_connected();
    let outdated = site.send_script(&busy, "echo outdated >> /root/outdated");
    let invocation = site.wait_ended(&outdated, &busy, BOUND);
    assert_eq!(invocation["StatusDetails"], "Undeliverable", "{invocation}");
    let refused = site.audit("careen:ReceiveOrder");
    assert!(refused.iter().any(|record| text(&record["outcome"]).contains("incarnation")), "{refused:?}");
    assert_eq!(busy.lines("/root/outdated"), 0);
}
