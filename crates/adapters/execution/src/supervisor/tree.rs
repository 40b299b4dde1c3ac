//! The processes of a step, and their end.
//!
//! A supervisor is a child subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`): what a script leaves behind, however often
//! it forks, becomes the supervisor's child, so a walk down from the supervisor finds all of it.

use super::transaction::Transactions;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long a killed tree may take to be gone; only processes in uninterruptible sleep take longer.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited before the table is looked at again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// One line of the process table (proc(5), `/proc/PID/stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    dead: bool,
}

fn parse_stat(text: &str) -> Option<Process> {
    let (pid, rest) = text.split_once(' ')?;
    // The name is in parentheses and may hold spaces and parentheses itself.
    let (_, fields) = rest.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    let mut number = || fields.next()?.parse::<i32>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        parent: number()?,
        group: number()?,
        session: number()?,
        dead: matches!(state, "Z" | "X"),
    })
}

/// All processes.
pub(super) fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let stats = entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    // A process that ends between the two calls is none.
    stats.filter_map(|entry| parse_stat(&std::fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The children this process has now: what earlier steps left running on purpose.
pub(super) fn children() -> BTreeSet<i32> {
    let own = own_pid();
    processes()
        .into_iter()
        .filter(|process| process.parent == own && !process.dead)
        .map(|process| process.pid)
        .collect()
}

/// All living descendants of `root`, without the trees of the `spared`.
pub(super) fn descendants(table: &[Process], root: i32, spared: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in table.iter().filter(|process| process.parent == parent && !spared.contains(&process.pid)) {
            // The table is not a snapshot, so it may hold a loop.
            if process.pid != root && found.insert(process.pid) {
                parents.push(process.pid);
            }
        }
    }
    let dead: BTreeSet<i32> = table.iter().filter(|process| process.dead).map(|process| process.pid).collect();
    &found - &dead
}

/// Reaps every child that has ended, telling of each.
pub(super) fn reap(mut ended: impl FnMut(Pid, WaitStatus)) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        ended(pid, status);
    }
}

/// All living processes below this one, without the trees of the `spared`.
pub(super) fn own_descendants(table: &[Process], spared: &BTreeSet<i32>) -> BTreeSet<i32> {
    descendants(table, own_pid(), spared)
}

/// Kills what a dead supervisor's session has left, without the process groups in `spared`.
///
/// While a process of the session lives its number is not given out again (POSIX, "process ID reuse"), so if a process
/// of that number exists, nothing of the session is left and nothing is done.
pub(super) fn kill_session(session: i32, spared: &BTreeSet<i32>) {
    let mut deadline = Instant::now() + KILL_PATIENCE;
    loop {
        let table = processes();
        if session <= 1 || session == own_pid() || table.iter().any(|process| process.pid == session && !process.dead) {
            return;
        }
        let left = table
            .iter()
            .filter(|process| process.session == session && !process.dead && !spared.contains(&process.group));
        let left: BTreeSet<i32> = left.map(|process| process.pid).collect();
        let kept = Transactions::among(&left, &table);
        let victims = &left - &kept.all();
        if left.is_empty() || victims.is_empty() && kept.running.is_empty() || Instant::now() >= deadline {
            return;
        }
        if !kept.running.is_empty() {
            // However long it takes.
            deadline = Instant::now() + KILL_PATIENCE;
        }
        kill(&victims, &kept.all(), &table);
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Kills processes. Whole process groups first, where nobody else is in them: the kernel does that at once, so that a process
/// which forks faster than it can be looked for does not get away.
pub(super) fn kill(victims: &BTreeSet<i32>, kept: &BTreeSet<i32>, table: &[Process]) {
    let groups = |of: &dyn Fn(&Process) -> bool| -> BTreeSet<i32> {
        table.iter().filter(|process| of(process)).map(|process| process.group).collect()
    };
    let others = groups(&|process| !victims.contains(&process.pid) && !process.dead || kept.contains(&process.pid));
    let own = groups(&|process| process.pid == own_pid());
    let whole = &(&groups(&|process| victims.contains(&process.pid)) - &others) - &own;
    for group in whole.iter().filter(|group| **group > 1).filter_map(|group| Pid::from_raw(*group)) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    for pid in victims.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let process = parse_stat("42 (a) b (c)) S 7 8 9 0 -1 4194304").unwrap();
        assert_eq!(process, Process { pid: 42, parent: 7, group: 8, session: 9, dead: false });
        assert!(parse_stat("42 (a) Z 7 8 9 0").unwrap().dead);
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_the_spared_are_left_out() {
        let process = |pid, parent| Process { pid, parent, group: pid, session: 1, dead: pid == 5 };
        let table =
            [process(2, 1), process(3, 2), process(4, 3), process(5, 4), process(6, 1), process(7, 6), process(9, 8)];
        assert_eq!(descendants(&table, 1, &BTreeSet::from([6])), BTreeSet::from([2, 3, 4]));
        assert_eq!(descendants(&table, 2, &BTreeSet::new()), BTreeSet::from([3, 4]));
    }
}
