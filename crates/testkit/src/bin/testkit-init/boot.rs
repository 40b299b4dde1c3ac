//! From fresh namespaces to a running host.

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};
use rustix::process::{WaitOptions, chdir, pivot_root, wait};
use rustix::system::sethostname;
use testkit::BootSpec;
use testkit::reboot_guard::{Marker, marker_under};

use crate::services::Services;
use crate::{power, say};

/// Between two looks of the first process at its children, services and wishes.
const PAUSE: Duration = Duration::from_millis(25);

/// Becomes the first process of a host: never returns but by an error or the host's end.
pub(crate) fn boot(spec: &str) -> anyhow::Result<()> {
    let spec: BootSpec = serde_json::from_str(spec).context("the boot spec")?;
    refuse_on_the_machine(&spec.marker)?;
    say("namespaces")?;
    // Whoever started us plugs the link in meanwhile.
    std::io::stdin().lock().read_line(&mut String::new())?;
    sethostname(spec.marker.host.as_bytes()).context("the host's name")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_kernel_file_systems(&spec.root)?;
    mount_devices(&spec.root)?;
    mount_run(&spec.root, &spec.init_binary, &spec.marker)?;
    shield_machine(&spec.root)?;
    chdir(&spec.root)?;
    pivot_root(".", ".").context("pivot_root")?;
    // The old root lies over the new one now; it goes.
    unmount(".", UnmountFlags::DETACH).context("the machine's root")?;
    chdir("/")?;
    install_commands()?;
    let mut services = Services::default();
    say("up")?;
    loop {
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            services.ended(pid.as_raw_nonzero().get().unsigned_abs());
        }
        if let Some(wanted) = power::wish() {
            return power::shut_down(wanted);
        }
        services.look();
        thread::sleep(PAUSE);
    }
}

/// Everything below moves mounts about: it must never happen outside namespaces made for it.
fn refuse_on_the_machine(marker: &Marker) -> anyhow::Result<()> {
    // /proc is still the machine's here, and shows this process with its namespaces.
    let own = fs::read_link("/proc/self/ns/pid")?;
    let first = std::process::id() == 1 && own.to_string_lossy() != marker.machine_pid_namespace;
    anyhow::ensure!(first, "only as the first process of a new pid namespace");
    Ok(())
}

fn mount_kernel_file_systems(root: &Path) -> anyhow::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", flags, None).context("/proc")?;
    mount("sysfs", root.join("sys"), "sysfs", flags | MountFlags::RDONLY, None).context("/sys")?;
    Ok(())
}

fn mount_devices(root: &Path) -> anyhow::Result<()> {
    let dev = root.join("dev");
    mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, c"mode=755").context("/dev")?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = dev.join(name);
        fs::write(&node, "")?;
        mount_bind(Path::new("/dev").join(name), &node).with_context(|| node.display().to_string())?;
    }
    for folder in ["pts", "shm"] {
        fs::create_dir(dev.join(folder))?;
    }
    let options = c"newinstance,ptmxmode=666,mode=620";
    mount("devpts", dev.join("pts"), "devpts", MountFlags::NOSUID, options).context("/dev/pts")?;
    mount("tmpfs", dev.join("shm"), "tmpfs", MountFlags::NOSUID, None).context("/dev/shm")?;
    for (name, target) in [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdout", "/proc/self/fd/1")] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

fn mount_run(root: &Path, init_binary: &Path, marker: &Marker) -> anyhow::Result<()> {
    let run = root.join("run");
    mount("tmpfs", &run, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755").context("/run")?;
    fs::create_dir_all(run.join("testkit/services"))?;
    fs::create_dir(run.join("lock"))?;
    let program = run.join("testkit/testkit-init");
    fs::write(&program, "")?;
    mount_bind(init_binary, &program).context("the lab's own program")?;
    fs::write(marker_under(root), serde_json::to_string(marker)?)?;
    Ok(())
}

/// Shuts what would reach the machine through the kernel it shares with the host, and gives the host the boot id
/// of its own that a shared kernel does not.
fn shield_machine(root: &Path) -> anyhow::Result<()> {
    let proc = root.join("proc");
    let sysrq = proc.join("sysrq-trigger");
    // Absent where the kernel is built without it.
    if sysrq.exists() {
        mount_bind(root.join("dev/null"), &sysrq).context("sysrq-trigger")?;
    }
    let sys = proc.join("sys");
    mount_bind(&sys, &sys).context("/proc/sys")?;
    mount_remount(&sys, MountFlags::BIND | MountFlags::RDONLY, "").context("/proc/sys")?;
    let boot_id = root.join("run/testkit/boot_id");
    fs::copy("/proc/sys/kernel/random/uuid", &boot_id).context("a new boot id")?;
    mount_bind(&boot_id, sys.join("kernel/random/boot_id")).context("boot_id")?;
    Ok(())
}

/// `reboot`, `poweroff` and `systemctl` are this program, unless the host has its own.
fn install_commands() -> anyhow::Result<()> {
    for name in ["usr/sbin/reboot", "usr/sbin/poweroff", "usr/bin/systemctl"] {
        let path = Path::new("/").join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink("/run/testkit/testkit-init", &path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
