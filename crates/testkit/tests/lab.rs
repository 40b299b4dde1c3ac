//! The lab itself: real hosts that boot, reboot, lose power and lose their link, and leave nothing behind.

// Clippy knows test functions, not the functions they share.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{
    BootEnd, Host, HostOptions, HostPackages, Lab, SWITCH_ADDRESS, ServiceSpec, run_bounded, wait_for, wait_until,
};

const BOUND: Duration = Duration::from_secs(30);

fn machine_boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
}

fn boot_id_inside(host: &Host) -> String {
    host.shell("cat /proc/sys/kernel/random/boot_id").unwrap()
}

fn uptime_inside(host: &Host) -> f64 {
    host.shell("cut -d' ' -f1 /proc/uptime").unwrap().parse().unwrap()
}

/// Whether the host reaches a port of the switch, by bash's own TCP.
fn reaches(host: &Host, port: u16) -> bool {
    let probe = format!("exec 3<>/dev/tcp/{SWITCH_ADDRESS}/{port}");
    host.exec_bounded(["bash", "-c", &probe], Duration::from_secs(2)).unwrap().succeeded()
}

#[test]
fn a_host_has_a_root_a_name_an_address_and_processes_of_its_own() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    assert_eq!(host.shell("hostname").unwrap(), "h1");
    assert!(host.shell("cat /etc/os-release").unwrap().contains("VERSION_CODENAME=bookworm"));
    assert_eq!(host.shell("cat /proc/1/comm").unwrap(), "testkit-init");
    assert!(host.shell("ip -brief address show eth0").unwrap().contains(&format!("{}/24", host.address())));
    let finished = host.exec(["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    assert_eq!((finished.code, finished.stdout_text(), finished.stderr_text()), (Some(7), "out".into(), "err".into()));
    // It is young, whatever the machine is, and it is not the machine.
    assert!(uptime_inside(&host) < 60.0);
    assert_ne!(boot_id_inside(&host), machine_boot_id().trim());
    assert_eq!(boot_id_inside(&host), host.boot_id().unwrap());
}

#[test]
fn files_go_in_and_out_whether_the_host_is_up_or_not() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    host.write_file("/opt/new/file", "text", 0o600).unwrap();
    assert_eq!(host.shell("cat /opt/new/file; stat -c %a /opt/new/file").unwrap(), "text600");
    host.copy_in(Path::new("/bin/true"), "/opt/true", 0o755).unwrap();
    host.shell("/opt/true; echo said > /run/said").unwrap();
    assert_eq!(host.read_text("/run/said").unwrap(), "said\n");
    host.power_loss().unwrap();
    assert!(host.read_file("/run/said").is_err(), "/run is memory and goes with the power");
    assert_eq!(host.read_text("/opt/new/file").unwrap(), "text");
    host.write_file("/opt/new/file", "changed while off", 0o644).unwrap();
    host.power_on().unwrap();
    assert_eq!(host.shell("cat /opt/new/file").unwrap(), "changed while off");
}

#[test]
fn a_reboot_from_inside_is_a_new_boot_of_the_same_root_and_not_of_the_machine() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let (machine, first) = (machine_boot_id(), boot_id_inside(&host));
    host.shell("echo kept > /root/kept").unwrap();
    host.reboot().unwrap();
    assert_eq!((host.boots(), host.boot_ends()), (2, vec![BootEnd::Reboot]));
    assert_eq!(host.shell("cat /root/kept").unwrap(), "kept");
    let second = boot_id_inside(&host);
    assert_ne!(second, first);
    // At once, without a farewell.
    host.exec(["reboot", "-f"]).unwrap();
    host.wait_boot(3).unwrap();
    assert_ne!(boot_id_inside(&host), second);
    assert!(uptime_inside(&host) < 60.0);
    assert_eq!(host.boot_ends(), [BootEnd::Reboot, BootEnd::Reboot]);
    assert_eq!(machine_boot_id(), machine, "the machine itself was restarted");
}

#[test]
fn a_shutdown_lets_processes_end_and_poweroff_stays_off() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let polite = "trap 'echo bye >> /root/ends; exit 0' TERM; while :; do sleep 0.1; done";
    host.install_service("polite", &ServiceSpec::always(["/bin/sh", "-c", polite])).unwrap();
    // The trap is set when the shell waits for a sleep.
    wait_until("the service's loop", BOUND, || host.exec(["pgrep", "-x", "sleep"]).unwrap().succeeded()).unwrap();
    // It may itself be ended by the shutdown that it asked for.
    host.exec(["poweroff"]).unwrap();
    wait_until("power off", BOUND, || host.boot_ends() == [BootEnd::PowerOff]).unwrap();
    assert!(!host.is_up());
    assert_eq!(host.read_text("/root/ends").unwrap(), "bye\n");
    assert_eq!(host.boots(), 1);
}

#[test]
fn power_loss_ends_everything_at_once_and_keeps_what_was_written() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let stubborn = "trap 'echo heard >> /root/heard' TERM; while :; do echo beat >> /root/beats; sleep 0.05; done";
    host.install_service("stubborn", &ServiceSpec::always(["/bin/sh", "-c", stubborn])).unwrap();
    wait_until("beats", BOUND, || host.read_file("/root/beats").is_ok_and(|beats| beats.len() > 10)).unwrap();
    host.power_loss().unwrap();
    assert!(!host.is_up());
    let beats = host.read_file("/root/beats").unwrap();
    assert!(host.read_file("/root/heard").is_err(), "a signal could be caught");
    assert!(host.exec(["true"]).is_err(), "a host without power ran something");
    host.power_on().unwrap();
    assert_eq!((host.boots(), host.boot_ends()), (2, vec![BootEnd::Lost]));
    // The service is one of every boot.
    wait_until("more beats", BOUND, || host.read_file("/root/beats").is_ok_and(|now| now.len() > beats.len())).unwrap();
}

#[test]
fn a_service_is_started_again_and_a_removed_one_is_not() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let service = ServiceSpec::always(["/bin/sh", "-c", "echo started $WORD; exec sleep 1000"]).variable("WORD", "up");
    host.install_service("s", &service).unwrap();
    assert!(host.install_service("s", &service).is_err());
    let first = host.service_process("s").unwrap();
    host.kill_service("s").unwrap();
    let second = wait_for("the next start", BOUND, || host.service_process("s")).unwrap();
    assert_ne!(first, second);
    wait_until("its words", BOUND, || host.service_log("s") == "started up\nstarted up\n").unwrap();
    host.remove_service("s").unwrap();
    assert!(!host.exec(["pgrep", "-x", "sleep"]).unwrap().succeeded());
    host.reboot().unwrap();
    assert_eq!(host.service_log("s"), "started up\nstarted up\n");
}

#[test]
fn zombies_are_reaped() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    // The middle shell ends first; its child is then the first process's.
    host.shell("sh -c '(sleep 0.1; exit 3) & exit 0'").unwrap();
    wait_until("no zombie and no sleep", BOUND, || {
        host.shell("ps -eo stat=,comm=").unwrap().lines().all(|line| !line.starts_with('Z') && !line.contains("sleep"))
    })
    .unwrap();
}

#[test]
fn a_cut_link_is_felt_and_heals() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let other = lab.host("h2", HostOptions::default()).unwrap();
    let listener = lab.listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(reaches(&host, port) && reaches(&other, port));
    host.cut_link().unwrap();
    assert!(!reaches(&host, port) && reaches(&other, port));
    host.reboot().unwrap();
    assert!(!reaches(&host, port), "the link healed by a reboot");
    host.heal_link().unwrap();
    wait_until("the link", BOUND, || reaches(&host, port)).unwrap();
    // A host that loses its power says no goodbye: its peer's connection stays silent.
    let client = format!("exec 3<>/dev/tcp/{SWITCH_ADDRESS}/{port}; echo hello >&3; exec sleep 1000");
    host.install_service("client", &ServiceSpec::always(["/bin/bash", "-c", &client])).unwrap();
    let mut connection = wait_for("the greeting", BOUND, || {
        let (mut connection, _) = listener.accept().ok()?;
        let mut greeting = [0; 5];
        connection.set_read_timeout(Some(BOUND)).unwrap();
        (connection.read_exact(&mut greeting).is_ok() && &greeting == b"hello").then_some(connection)
    })
    .unwrap();
    connection.read_exact(&mut [0]).unwrap();
    host.power_loss().unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = connection.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    connection.write_all(b"into the void").unwrap();
}

#[test]
fn a_process_in_the_switch_is_reached_by_hosts_and_dies_with_its_handle() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    std::fs::write(lab.folder().join("page"), "a page").unwrap();
    let mut command = lab.switch_command("python3");
    command.args(["-u", "-m", "http.server", "8470", "--bind", &SWITCH_ADDRESS.to_string()]);
    let mut server = lab.spawn_in_switch({
        command.current_dir(lab.folder());
        command
    });
    let server = server.as_mut().unwrap();
    wait_until("the server", BOUND, || reaches(&host, 8470)).unwrap();
    let fetch = format!("exec 3<>/dev/tcp/{SWITCH_ADDRESS}/8470; printf 'GET /page HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3");
    let answer = host.exec(["bash", "-c", &fetch]).unwrap().stdout_text();
    assert!(answer.ends_with("a page"), "{answer}");
    assert!(server.log_text().contains("GET /page"), "{}", server.log_text());
    server.terminate().unwrap();
    server.wait_end(BOUND).unwrap();
    assert!(!reaches(&host, 8470));
}

#[test]
fn the_frozen_packages_are_pending_and_install_without_a_network() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions { packages: HostPackages::Frozen }).unwrap();
    host.cut_link().unwrap();
    host.shell("apt-get -qq update").unwrap();
    let pending = host.shell("apt-get -s dist-upgrade").unwrap();
    let security: Vec<&str> = pending.lines().filter(|l| l.starts_with("Inst") && l.contains("Security")).collect();
    assert!(!security.is_empty(), "{pending}");
    // One that is small and whose configuring starts nothing.
    let name = security.iter().filter_map(|line| line.split(' ').nth(1)).min_by_key(|name| name.len()).unwrap();
    let before = host.shell(&format!("dpkg-query -W -f '${{Version}}' {name}")).unwrap();
    host.shell(&format!("apt-get -qq -y install {name}")).unwrap();
    assert_ne!(host.shell(&format!("dpkg-query -W -f '${{Version}}' {name}")).unwrap(), before);
}

#[test]
fn the_proxy_lets_hosts_fetch_from_the_mirror_and_nowhere_else() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions { packages: HostPackages::Mirror }).unwrap();
    host.shell("apt-get -qq update").unwrap();
    let pending = host.shell("apt-get -s dist-upgrade").unwrap();
    assert!(pending.lines().any(|line| line.starts_with("Inst") && line.contains("Security")), "{pending}");
    let other = host.exec(["/usr/lib/apt/apt-helper", "download-file", "http://example.com/x", "/tmp/x"]).unwrap();
    assert!(!other.succeeded() && other.stderr_text().contains("403"), "{other:?}");
    let requests = lab.package_proxy().unwrap().requests();
    assert!(requests.iter().any(|line| line.contains("/dists/bookworm-security/InRelease")), "{requests:?}");
}

#[test]
fn labs_side_by_side_do_not_meet() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let other = Lab::new().unwrap();
    let here = lab.host("same", HostOptions::default()).unwrap();
    let there = other.host("same", HostOptions::default()).unwrap();
    assert_eq!(here.address(), there.address());
    let listener = lab.listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(reaches(&here, port) && !reaches(&there, port));
    here.write_file("/root/here", "", 0o644).unwrap();
    assert!(there.read_file("/root/here").is_err());
    drop(lab);
    assert!(there.exec(["true"]).unwrap().succeeded(), "one lab's end ended the other's host");
}

#[test]
fn a_lab_leaves_nothing_behind_not_even_after_a_panic() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let folder = lab.folder().to_owned();
    let holder = lab.holder_process();
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let first_process = std::fs::read_link(format!("/proc/{}/ns/pid", host.first_process().unwrap())).unwrap();
    assert!(!mounts().contains(&*folder.to_string_lossy()), "the machine's own mounts are touched");
    let panicked = std::thread::spawn(move || {
        let _host = host;
        let _lab = lab;
        panic!("this panic is wanted");
    })
    .join();
    assert!(panicked.is_err());
    assert!(!folder.exists());
    assert!(!Path::new(&format!("/proc/{holder}")).exists());
    let namespaces = std::fs::read_dir("/proc").unwrap().flatten();
    let mut links = namespaces.filter_map(|entry| std::fs::read_link(entry.path().join("ns/pid")).ok());
    assert!(!links.any(|link| link == first_process), "a process of the host lives on");
}

#[test]
fn a_lab_whose_test_was_killed_is_gone_too() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    drop(lab);
    // This same test binary, as a process that makes a lab and is killed.
    let own = std::env::current_exe().unwrap();
    let mut child = Command::new(own)
        .args(["--exact", "a_lab_for_another_test_to_kill", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said = lines.find_map(|line| line.unwrap().split_once("LAB ").map(|(_, rest)| rest.to_owned())).unwrap();
    let (first_process, folder) = said.split_once(' ').unwrap();
    assert!(Path::new(&format!("/proc/{first_process}")).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the killed test's host to end", BOUND, || !Path::new(&format!("/proc/{first_process}")).exists())
        .unwrap();
    // Its folder goes when the next lab is made.
    drop(Lab::new().unwrap());
    assert!(!Path::new(folder).exists());
}

#[test]
#[ignore = "started, and killed, by another test"]
fn a_lab_for_another_test_to_kill() {
    let lab = Lab::new().unwrap();
    let host = lab.host("h1", HostOptions::default()).unwrap();
    println!("LAB {} {}", host.first_process().unwrap(), lab.folder().display());
    // Until it is killed; bounded, should nobody do so.
    std::thread::sleep(BOUND);
}

#[test]
fn the_reboot_commands_refuse_outside_a_host() {
    // `judge` has no way to the call itself, whatever it decides.
    let mut judge = Command::new(env!("CARGO_BIN_EXE_testkit-init"));
    let refused = run_bounded(judge.arg("judge"), BOUND).unwrap();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr_text().contains("this is no host of the lab"), "{refused:?}");
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    assert_eq!(host.shell("/run/testkit/testkit-init judge").unwrap(), "may reboot");
    // Entering all of the host but its pid namespace is where the machine would be hit.
    let mut half_inside = Command::new("nsenter");
    half_inside.arg("--target").arg(host.first_process().unwrap().to_string());
    half_inside.args(["--mount", "--root", "/run/testkit/testkit-init", "judge"]);
    let refused = run_bounded(&mut half_inside, BOUND).unwrap();
    assert_eq!(refused.code, Some(1), "{refused:?}");
}
