//! `careen up` on a machine of its own: one command, and Ctrl-C.

use std::time::Duration;

use serde_json::Value;
use testkit::{Host, HostOptions, Lab, ServiceSpec, SmallPackage, SmallRepository, run_bounded, wait_for, wait_until};

use crate::site::{BOUND, aws_program, pretty, text};

const CAREEN: &str = "/usr/local/bin/careen";
/// The last line of what it says when it is ready.
const READY: &str = "Ctrl-C ends the server and the agent; a running package installation goes on.";

/// A host with `careen`, two packages, and a security update for each, one of which waits for /root/go.
fn host_with_updates(lab: &Lab) -> Host {
    let host = lab.host("h1", HostOptions::default()).unwrap();
    host.copy_in(env!("CARGO_BIN_EXE_careen").as_ref(), CAREEN, 0o755).unwrap();
    let package = SmallPackage::new;
    let wait = "echo begun >> /root/slow; while [ ! -e /root/go ]; do sleep 0.05; done; echo done >> /root/slow";
    let main = SmallRepository::main("main").package(package("plain", "1")).package(package("slow", "1"));
    let updates = package("slow", "2").script("postinst", wait);
    let security = SmallRepository::security("security").package(package("plain", "2")).package(updates);
    host.add_repository(&main.build(lab.folder()).unwrap()).unwrap();
    host.shell("apt-get -qq update; apt-get -qq -y install plain slow").unwrap();
    host.add_repository(&security.build(lab.folder()).unwrap()).unwrap();
    host
}

/// Starts `careen up` in a process group of its own, as a shell does, and waits until it is ready; gives what it said.
fn start(host: &Host, name: &str, command: &[&str]) -> String {
    let service = ServiceSpec { restart: false, ..ServiceSpec::always(command.iter().copied()) };
    host.install_service(name, &service).unwrap();
    wait_until("careen up to be ready", BOUND, || {
        assert!(host.service_process(name).is_some(), "it has ended: {}", host.service_log(name));
        host.service_log(name).contains(READY)
    })
    .unwrap();
    host.service_log(name)
}

/// Ctrl-C: SIGINT to the whole foreground group.
fn interrupt(host: &Host, name: &str) {
    let pid = host.service_process(name).unwrap();
    host.exec(["/bin/kill", "-INT", "--", &format!("-{pid}")]).unwrap().expect_success("kill").unwrap();
    wait_until("careen up to end", Duration::from_secs(30), || host.service_process(name).is_none()).unwrap();
    assert!(!host.service_log(name).contains("careen:"), "{}", host.service_log(name));
}

/// The answer of a line that `careen up` has printed, run in the host's network with the file that it names.
fn aws(host: &Host, line: &str) -> Value {
    let first_process = host.first_process().unwrap();
    let mut command = std::process::Command::new("nsenter");
    command.arg(format!("--net=/proc/{first_process}/ns/net")).arg("--").arg(aws_program().unwrap());
    command.args(line.trim().strip_prefix("aws ").unwrap().split(' ')).args(["--output", "json"]);
    let credentials = host.root_path().join("var/lib/careen/credentials");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("AWS_SHARED_CREDENTIALS_FILE", credentials);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:8470");
    let answer = run_bounded(&mut command, BOUND).unwrap().expect_success(line).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn careen_up_says_what_is_missing_installs_it_and_is_ended_without_harm() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    if aws_program().is_none() {
        return;
    }
    let host = host_with_updates(&lab);
    let said = start(&host, "up-1", &[CAREEN, "up"]);
    assert!(said.contains("2 security updates are missing on this machine."), "{said}");
    for name in ["plain", "slow"] {
        let mut listed = said.lines().filter(|line| line.split_whitespace().any(|word| word == name));
        assert!(listed.next().is_some_and(|line| line.contains("1 -> 2")), "{name}: {said}");
    }
    assert!(said.contains("http://127.0.0.1:8470/console/sign-in?token="), "{said}");
    let export =
        "export AWS_SHARED_CREDENTIALS_FILE=/var/lib/careen/credentials AWS_ENDPOINT_URL=http://127.0.0.1:8470";
    assert!(said.contains(export), "{said}");

    // The three lines to try, as printed.
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("  aws ssm ")).collect();
    let [describe, patches, install] = lines[..] else { panic!("{said}") };
    let node = text(&aws(&host, describe)["InstanceInformationList"][0]["InstanceId"]);
    let missing = aws(&host, patches);
    assert_eq!(missing["Patches"].as_array().map(Vec::len), Some(2), "{}", pretty(&missing));
    let command = text(&aws(&host, install)["Command"]["CommandId"]);
    wait_until("the installation to be under way", BOUND, || host.read_file("/root/slow").is_ok()).unwrap();

    // Ctrl-C leaves the package transaction alone, and the next start takes the run up again.
    interrupt(&host, "up-1");
    assert!(host.exec(["pgrep", "-x", "dpkg"]).unwrap().succeeded(), "dpkg was ended");
    let service = ServiceSpec { restart: false, ..ServiceSpec::always([CAREEN, "up"]) };
    host.install_service("up-2", &service).unwrap();
    let asked =
        format!("aws ssm get-command-invocation --command-id {command} --instance-id {node} --plugin-name PatchLinux");
    wait_until("the server to answer", BOUND, || host.service_log("up-2").contains("Scanning")).unwrap();
    assert_eq!(aws(&host, &asked)["Status"], "InProgress");
    host.write_file("/root/go", "", 0o644).unwrap();
    let ended = wait_for("the installation to end", BOUND, || {
        let answer = aws(&host, &asked);
        (answer["Status"] != "InProgress").then_some(answer)
    });
    let ended = ended.unwrap();
    assert_eq!(ended["Status"], "Success", "{}", pretty(&ended));
    assert_eq!(host.read_text("/root/slow").unwrap(), "begun\ndone\n");
    wait_until("the second summary", BOUND, || host.service_log("up-2").contains(READY)).unwrap();
    let said = host.service_log("up-2");
    assert!(
        said.contains("No approved update is missing on this machine.") && said.contains("2 wait for a reboot"),
        "{said}"
    );
    let nodes = aws(&host, describe);
    assert_eq!(nodes["InstanceInformationList"].as_array().map(Vec::len), Some(1), "{}", pretty(&nodes));
    interrupt(&host, "up-2");

    // Without root's rights it scans and says what it cannot do.
    host.shell("useradd --uid 1000 --create-home watcher").unwrap();
    let as_user = ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "HOME=/home/watcher"];
    let said = start(&host, "up-3", &[&as_user[..], &[CAREEN, "up"]].concat());
    assert!(said.contains("Not running as root"), "{said}");
    assert!(said.contains("No approved update is missing on this machine."), "{said}");
    assert!(host.read_file("/home/watcher/.local/share/careen/credentials").is_ok());
    interrupt(&host, "up-3");
}
