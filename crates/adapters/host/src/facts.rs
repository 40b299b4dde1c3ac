//! What a host is, for registration and each connection; and the command that reboots it.

use crate::files::read_if_there;
use crate::{HostError, HostRoot};
use agent_wire::HostFacts;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};

/// Asks the host what it is. What cannot be found out is left empty.
///
/// `toward`: an address and port of the peer, e.g. `192.0.2.1:443`, so that the address on the way to it is told; nothing
/// is sent to it. Without it an address of the documentation range stands in for "anywhere".
#[must_use]
pub fn facts(host: &HostRoot, agent_version: &str, toward: Option<&str>) -> HostFacts {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let os_release = ["etc/os-release", "usr/lib/os-release"];
    let os_release = os_release.iter().find_map(|path| read_if_there(&host.path(path)).ok().flatten());
    HostFacts {
        computer_name: text(name.nodename()),
        ip_address: toward.and_then(address_toward).or_else(|| address_toward("192.0.2.1:9")).unwrap_or_default(),
        distribution: os_release
            .map(|file| catalog::parse_os_release(&String::from_utf8_lossy(&file)))
            .unwrap_or_default(),
        kernel: text(name.release()),
        architecture: text(name.machine()),
        boot_id: boot_id(),
        agent_version: agent_version.to_owned(),
        privileged: host.privileged,
        policy: String::new(),
        agent_instance: String::new(),
    }
}

/// `/proc/sys/kernel/random/boot_id`; empty if it cannot be read.
#[must_use]
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// Connecting a datagram socket sends nothing, but makes the kernel choose the address it would send from.
fn address_toward(peer: &str) -> Option<String> {
    let any = if peer.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified()).then(|| address.to_string())
}

/// Asks for a reboot with a command: the given one (a program and its arguments), else `systemctl reboot` where systemd
/// runs the host, else `/sbin/reboot`. It returns when the command has: the host may take its time to go down.
///
/// systemd's inhibitors are honoured (`--check-inhibitors=yes` since systemd 248; older ones check of themselves).
///
/// # Errors
/// When no command could be run, or it refused, with its own words.
pub fn reboot(command: Option<&[String]>) -> Result<(), HostError> {
    if let Some([program, arguments @ ..]) = command {
        return run_reboot(program, arguments);
    }
    if !Path::new("/run/systemd/system").exists() {
        return run_reboot("/sbin/reboot", &[]);
    }
    let checked = run_reboot("systemctl", &["reboot".to_owned(), "--check-inhibitors=yes".to_owned()]);
    match checked {
        Err(HostError::Program { source, .. }) if source.to_string().contains("unrecognized option") => {
            run_reboot("systemctl", &["reboot".to_owned()])
        }
        other => other,
    }
}

fn run_reboot(program: &str, arguments: &[String]) -> Result<(), HostError> {
    let failed = |source| HostError::Program { program: program.to_owned(), source };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(std::io::Error::other(if words.is_empty() { output.status.to_string() } else { words })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_name_a_kernel_and_a_boot() {
        let folder = tempfile::tempdir().unwrap();
        let now = facts(&HostRoot::under(folder.path(), folder.path()), "1.2", Some("127.0.0.1:9"));
        assert!(!now.computer_name.is_empty() && !now.kernel.is_empty() && !now.architecture.is_empty());
        assert_eq!(now.ip_address, "127.0.0.1");
        assert_eq!(now.boot_id.len(), 36);
        assert_eq!(now.distribution, packages::Distribution::default());
    }

    #[test]
    fn a_reboot_is_a_command_whose_refusal_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let script = |text: &str| vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()];
        reboot(Some(&script(&format!("echo yes > {}", asked.display())))).unwrap();
        assert_eq!(std::fs::read_to_string(asked).unwrap(), "yes\n");
        let refused = reboot(Some(&script("echo 'shutdown is inhibited' >&2; exit 1"))).unwrap_err();
        assert!(refused.to_string().contains("shutdown is inhibited"));
    }
}
