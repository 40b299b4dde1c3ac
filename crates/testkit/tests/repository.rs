//! Repositories made in a test, seen by the real apt of a host.

use std::time::Duration;

use testkit::{HostOptions, Lab, ServiceSpec, SmallPackage, SmallRepository, wait_until};

const BOUND: Duration = Duration::from_secs(60);

#[test]
fn versions_origins_pins_and_holds_are_apts_to_see() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let main = SmallRepository::main("small-main")
        .package(SmallPackage::new("hello-small", "1.0"))
        .package(SmallPackage::new("held-small", "1:1.0"));
    let security = SmallRepository::security("small-security")
        .package(SmallPackage::new("hello-small", "1.1+deb12u1").field("Depends", "held-small"))
        .package(SmallPackage::new("held-small", "1:1.1"));
    host.add_repository(&main.build(lab.folder()).unwrap()).unwrap();
    host.shell("apt-get -qq update; apt-get -qq -y install hello-small held-small; apt-mark hold held-small").unwrap();
    assert_eq!(host.shell("apt-get -s dist-upgrade | grep -c ^Inst || true").unwrap(), "0");
    host.add_repository(&security.build(lab.folder()).unwrap()).unwrap();
    host.shell("apt-get -qq update").unwrap();
    let pending = host.shell("apt-get -s dist-upgrade").unwrap();
    assert!(
        pending.contains("Inst hello-small [1.0] (1.1+deb12u1 Debian-Security:12/bookworm-security [all])")
            || pending.contains("Inst hello-small [1.0] (1.1+deb12u1 Debian-Security:oldstable-security [all])"),
        "{pending}"
    );
    assert!(!pending.contains("Inst held-small"), "{pending}");
    host.shell("apt-get -qq -y dist-upgrade").unwrap();
    assert_eq!(
        host.shell("cat /usr/share/hello-small/version /usr/share/held-small/version").unwrap(),
        "1.1+deb12u11:1.0"
    );
}

#[test]
fn a_signed_repository_is_trusted_by_its_key_alone() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let repository = SmallRepository::security("signed").package(SmallPackage::new("a-small", "1")).signed();
    let repository = repository.compression("xz").build(lab.folder()).unwrap();
    host.add_repository(&repository).unwrap();
    host.shell("apt-get -qq update; apt-get -qq -y install a-small").unwrap();
    host.write_file("/etc/apt/keyrings/signed.gpg", "no key", 0o644).unwrap();
    let refused = host.exec(["apt-get", "-o", "APT::Update::Error-Mode=any", "update"]).unwrap();
    assert!(!refused.succeeded(), "{refused:?}");
}

#[test]
fn a_slow_script_can_be_caught_in_the_act() {
    let Some(lab) = Lab::for_test().unwrap() else { return };
    let host = lab.host("h1", HostOptions::default()).unwrap();
    let slow = SmallPackage::new("slow-small", "1")
        .script("postinst", "touch /root/configuring; while [ ! -e /root/go ]; do sleep 0.1; done");
    let repository = SmallRepository::main("slow").package(slow).build(lab.folder()).unwrap();
    host.add_repository(&repository).unwrap();
    host.shell("apt-get -qq update").unwrap();
    let install = ServiceSpec {
        restart: false,
        ..ServiceSpec::always(["/usr/bin/apt-get", "-qq", "-y", "install", "slow-small"])
    };
    host.install_service("install", &install).unwrap();
    wait_until("the script to run", BOUND, || host.read_file("/root/configuring").is_ok()).unwrap();
    let state = || host.shell("dpkg-query -W -f '${db:Status-Abbrev}' slow-small").unwrap();
    assert_eq!(state().trim(), "iF");
    host.power_loss().unwrap();
    host.power_on().unwrap();
    assert_eq!(state().trim(), "iF", "a package was configured without power");
    host.shell("touch /root/go; dpkg --configure -a").unwrap();
    assert_eq!(state().trim(), "ii");
}
