//! Control groups (cgroups(7), version 2): what a job's scripts may use, and how all of them end at once.
//!
//! Each job has a group `careen-jobs/JOB` below the root of the hierarchy, with two in it: `limited`, where the limits of the
//! node's policy hold, with a group for each step; and `free`, without limits, where package transactions of scripts are taken as
//! soon as they are seen, for a limit must not kill dpkg half-way. The supervisor itself stays outside, and with it the
//! transactions of patch steps. Where there is no such hierarchy that we may write to, scripts run without, and the process
//! tree is walked instead.

use policy::{Limits, MemoryMax};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All our groups are below this one.
const OURS: &str = "careen-jobs";
/// The controllers that our limits need.
const CONTROLLERS: [&str; 4] = ["memory", "cpu", "pids", "io"];
/// The period of `cpu.max`, in microseconds.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// Where the hierarchy is mounted, if it is one that we may make groups in.
fn root() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let roots = mounts.lines().filter_map(mount_point);
    roots.into_iter().find(|root| {
        let ours = root.join(OURS);
        std::fs::create_dir(&ours).is_ok() || ours.join("cgroup.procs").exists() && writable(&ours)
    })
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The mount point of a line of proc_pid_mountinfo(5), if it is a mount of a whole cgroup2 hierarchy that may be written to.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let mut before = before.split(' ').skip(3);
    let (root, point, options) = (before.next()?, before.next()?, before.next()?);
    let whole = after.next() == Some("cgroup2") && root == "/" && options.split(',').any(|option| option == "rw");
    // Names with spaces are written in octal; nobody mounts it there.
    (whole && !point.contains('\\')).then(|| PathBuf::from(point))
}

fn put(path: &Path, value: &str) -> std::io::Result<()> {
    // One write(2), as these files want it; never created, never truncated.
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}

/// Lets the children of a group have our controllers, as far as there are any.
fn delegate(group: &Path) {
    for controller in CONTROLLERS {
        let _ = put(&group.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
}

/// What can be limited on this host, as a sentence.
#[must_use]
pub fn limits_in_words() -> String {
    let Some(root) = root() else {
        return "there is no cgroup v2 hierarchy that may be written to: scripts run without limits".to_owned();
    };
    delegate(&root);
    let available = std::fs::read_to_string(root.join(OURS).join("cgroup.controllers")).unwrap_or_default();
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|wanted| !available.split_whitespace().any(|known| known == *wanted)).collect();
    match missing.as_slice() {
        [] => "scripts run in cgroups, with limits".to_owned(),
        missing => format!("scripts run in cgroups; what cannot be limited on this host: {}", missing.join(", ")),
    }
}

/// What memory the host has, in bytes.
fn host_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files of a group and what is written to them.
fn settings(limits: &Limits, host_memory_bytes: Option<u64>) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    let memory = match limits.memory_max {
        MemoryMax::Bytes(bytes) => Some(bytes),
        MemoryMax::Percent(percent) => host_memory_bytes.map(|bytes| bytes / 100 * u64::from(percent)),
        MemoryMax::Unlimited => None,
    };
    settings.extend(memory.map(|bytes| ("memory.max", bytes.to_string())));
    settings.extend(
        limits.cpu_max_percent.map(|percent| {
            ("cpu.max", format!("{} {CPU_PERIOD_MICROS}", u64::from(percent) * (CPU_PERIOD_MICROS / 100)))
        }),
    );
    settings.extend(limits.pids_max.map(|count| ("pids.max", count.to_string())));
    settings.push(("io.weight", format!("default {}", limits.io_weight)));
    settings
}

/// A job's group.
#[derive(Debug)]
pub(crate) struct JobGroup(PathBuf);

impl JobGroup {
    /// Makes the group of a job, or finds the one that an earlier supervisor made; `None` where there can be none.
    pub(crate) fn make(job_id: &str, limits: &Limits) -> Option<Self> {
        let root = root()?;
        let group = Self::find(&root, job_id);
        for path in [group.0.clone(), group.limited(), group.free()] {
            if !path.is_dir() {
                std::fs::create_dir(&path).ok()?;
            }
        }
        for parent in [&root, &root.join(OURS), &group.0] {
            delegate(parent);
        }
        for (file, value) in settings(limits, host_memory_bytes()) {
            // A controller that this host has not is said once, in the agent's log.
            let _ = put(&group.limited().join(file), &value);
        }
        Some(group)
    }

    fn find(root: &Path, job_id: &str) -> Self {
        Self(root.join(OURS).join(job_id))
    }

    fn limited(&self) -> PathBuf {
        self.0.join("limited")
    }

    fn free(&self) -> PathBuf {
        self.0.join("free")
    }

    /// The group of a step.
    pub(crate) fn step(&self, index: usize) -> Option<StepGroup> {
        let path = self.limited().join(format!("{index:02}"));
        if !path.is_dir() {
            std::fs::create_dir(&path).ok()?;
        }
        Some(StepGroup { path, free: self.free(), events: self.limited().join("memory.events") })
    }

    /// Removes what is empty: where a script has left something running on purpose, its group stays.
    pub(crate) fn remove_if_empty(&self) {
        remove_empty(&self.0, 3);
    }
}

fn remove_empty(group: &Path, depth: u32) {
    if depth > 0 {
        let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_empty(&entry.path(), depth - 1);
        }
    }
    // A group with processes or groups in it is not removed (EBUSY).
    let _ = std::fs::remove_dir(group);
}

/// Removes the groups of all jobs that nothing runs in any more.
pub fn remove_empty_groups() {
    let Some(root) = root() else { return };
    let entries = std::fs::read_dir(root.join(OURS)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        // One that is being made has processes in a moment; its supervisor makes it again if it is gone before.
        let old = entry.metadata().ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if old.is_some_and(|age| age.as_secs() > 3600) {
            remove_empty(&entry.path(), 3);
        }
    }
}

/// The group of a step's processes.
#[derive(Debug)]
pub(crate) struct StepGroup {
    path: PathBuf,
    free: PathBuf,
    events: PathBuf,
}

impl StepGroup {
    /// Makes a command begin its life in the group. It begins outside of it if that fails at the last moment.
    #[allow(unsafe_code)]
    pub(crate) fn enter(&self, command: &mut Command) {
        let Ok(procs) = File::options().write(true).open(self.path.join("cgroup.procs")) else { return };
        let procs = OwnedFd::from(procs);
        // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe functions may be called
        // (signal-safety(7)). It makes the one system call write(2) with a descriptor and a text that exist already; it neither
        // allocates nor locks. "0" stands for the writing process (cgroups(7)).
        unsafe {
            command.pre_exec(move || {
                let _ = rustix::io::write(procs.as_fd(), b"0");
                Ok(())
            });
        }
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> BTreeSet<i32> {
        let text = std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }

    /// Takes processes out of it, to where no limit holds.
    pub(crate) fn free(&self, pids: &BTreeSet<i32>) {
        for pid in pids {
            // It may have ended.
            let _ = put(&self.free.join("cgroup.procs"), &pid.to_string());
        }
    }

    /// Kills everything in it at once, also what is just being forked.
    pub(crate) fn kill(&self) {
        let _ = put(&self.path.join("cgroup.kill"), "1");
    }

    /// Whether the kernel has ended a process of the job because its memory limit was reached.
    pub(crate) fn out_of_memory(&self) -> bool {
        let events = std::fs::read_to_string(&self.events).unwrap_or_default();
        out_of_memory(&events)
    }
}

fn out_of_memory(events: &str) -> bool {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.is_some_and(|count| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
}

/// Bounds the memory of this process: by a group of its own where there is one, else by what it may allocate (setrlimit(2),
/// `RLIMIT_DATA`). For processes that read a host and end.
pub fn bound_own_memory(bytes: u64) {
    if bound_by_group(bytes).is_none() {
        let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
        // Without a bound it still does its work.
        let _ = rustix::process::setrlimit(rustix::process::Resource::Data, limit);
    }
}

fn bound_by_group(bytes: u64) -> Option<()> {
    let root = root()?;
    let group = root.join(OURS).join("reading");
    delegate(&root);
    delegate(&root.join(OURS));
    if !group.is_dir() {
        std::fs::create_dir(&group).ok()?;
    }
    put(&group.join("memory.max"), &bytes.to_string()).ok()?;
    put(&group.join("cgroup.procs"), "0").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_where_it_may_be_written() {
        let line = "42 32 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("42 32 0:38 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup rw"), None);
        assert_eq!(mount_point("42 32 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw"), None);
        assert_eq!(mount_point("41 32 0:37 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids"), None);
        assert_eq!(mount_point("nonsense"), None);
    }

    #[test]
    fn limits_become_the_values_of_the_kernels_files() {
        let limits = Limits {
            memory_max: MemoryMax::Percent(50),
            cpu_max_percent: Some(150),
            pids_max: Some(64),
            io_weight: 50,
        };
        let expected =
            [("memory.max", "500000"), ("cpu.max", "150000 100000"), ("pids.max", "64"), ("io.weight", "default 50")];
        assert_eq!(settings(&limits, Some(1_000_000)), expected.map(|(file, value)| (file, value.to_owned())));
        let none = Limits { memory_max: MemoryMax::Unlimited, cpu_max_percent: None, pids_max: None, io_weight: 100 };
        assert_eq!(settings(&none, None), [("io.weight", "default 100".to_owned())]);
        assert!(host_memory_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn an_end_by_the_memory_limit_is_recognised() {
        assert!(out_of_memory("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"));
        assert!(!out_of_memory("low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n"));
        assert!(!out_of_memory(""));
    }
}
