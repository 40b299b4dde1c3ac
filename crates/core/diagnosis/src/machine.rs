//! What a server and a node need alike: a folder, room, a disk that keeps what it says, a machine that is large enough.

use crate::{Judgement, bytes};

/// A folder as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// There is none yet.
    Absent,
    /// Something else lies there.
    NoFolder,
    /// It cannot be looked at.
    Unreadable(String),
    /// There is one.
    Found {
        /// The user it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
}

/// The folder for everything that a process keeps; `user` is who runs the process.
#[must_use]
pub fn folder(path: &str, found: &Folder, user: u32) -> Judgement {
    let check = "data folder";
    match found {
        Folder::Absent => Judgement::ok(check, format!("{path} does not exist yet; it is made at the first start")),
        Folder::NoFolder => Judgement::failed(
            check,
            format!("{path} is no folder"),
            "move it away, or choose another folder with --data",
        ),
        Folder::Unreadable(reason) => Judgement::failed(
            check,
            format!("{path} cannot be looked at: {reason}"),
            "run this as the user that the process runs as, or as root",
        ),
        Folder::Found { owner, mode: _ } if *owner != user && user != 0 => Judgement::failed(
            check,
            format!("{path} belongs to user {owner}, this is user {user}"),
            format!("run this, and the process, as user {owner}; or: chown -R {user} {path}"),
        ),
        Folder::Found { mode, .. } if mode & 0o022 != 0 => Judgement::failed(
            check,
            format!("{path} may be written by others (mode {:04o})", mode & 0o7777),
            format!("whoever may write there could give it other keys; chmod 0700 {path}"),
        ),
        Folder::Found { mode, .. } if mode & 0o055 != 0 => Judgement::warning(
            check,
            format!("{path} may be read by others (mode {:04o})", mode & 0o7777),
            format!("chmod 0700 {path}"),
        ),
        // Root looks after another user's folder; that user must run the process.
        Folder::Found { owner, .. } if *owner != user => Judgement::ok(check, format!("{path}, of user {owner}")),
        Folder::Found { mode, .. } => Judgement::ok(check, format!("{path}, mode {:04o}", mode & 0o7777)),
    }
}

/// The room on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// All bytes.
    pub bytes: u64,
    /// Files that may still be made.
    pub free_files: u64,
    /// All files; 0 where the file system has no such limit.
    pub files: u64,
}

/// Less free room than this is too little to go on with, in bytes.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// Less free room than this should be seen to, in bytes.
const FREE_BYTES_WANTED: u64 = 1 << 30;

/// Whether there is room.
#[must_use]
pub fn capacity(found: Result<Capacity, &str>) -> Judgement {
    let check = "disk space";
    let room = match found {
        Ok(room) => room,
        Err(reason) => return Judgement::warning(check, format!("not known: {reason}"), "look at it with df"),
    };
    let text = format!("{} of {} free", bytes(room.free_bytes), bytes(room.bytes));
    let advice = "make room on the file system of the data folder; with a full disk nothing is changed any more";
    if room.files > 0 && room.free_files < 1000 {
        let text = format!("{} of {} files may still be made", room.free_files, room.files);
        return Judgement::failed(check, text, "remove files from the file system of the data folder (df -i)");
    }
    match room.free_bytes {
        0..FREE_BYTES_MIN => Judgement::failed(check, text, advice),
        FREE_BYTES_MIN..FREE_BYTES_WANTED => Judgement::warning(check, text, advice),
        _ => Judgement::ok(check, text),
    }
}

/// Whether a file that was written and synchronised could be read again. `None`: there is no folder to try it in.
#[must_use]
pub fn durability(tried: Option<Result<(), &str>>) -> Judgement {
    let check = "durable writes";
    match tried {
        None => Judgement::ok(check, "not tried: there is no data folder yet"),
        Some(Ok(())) => Judgement::ok(check, "a file was written, synchronised, read again and removed"),
        Some(Err(reason)) => Judgement::failed(
            check,
            format!("a file could not be written and synchronised: {reason}"),
            "the file system must be writable and support fsync(2); a read-only mount, a quota, or some network and \
             container file systems are not enough",
        ),
    }
}

/// A file that only its owner should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFound {
    /// There is none.
    Absent,
    /// It cannot be read.
    Unreadable(String),
    /// There is one.
    Found {
        /// Its permission bits.
        mode: u32,
    },
}

/// A secret in a file. `made_at_start`: it is made if it is not there.
#[must_use]
pub fn private_file(check: &'static str, path: &str, found: &FileFound, made_at_start: bool) -> Judgement {
    match found {
        FileFound::Absent if made_at_start => {
            Judgement::ok(check, format!("{path} does not exist yet; it is made at the first start"))
        }
        FileFound::Absent => Judgement::failed(
            check,
            format!("{path} is not there, but what it opens is"),
            "put it back from the backup of keys; without it the secrets in the database cannot be read",
        ),
        FileFound::Unreadable(reason) => Judgement::failed(
            check,
            format!("{path} cannot be read: {reason}"),
            "give it to the user that the server runs as, mode 0600",
        ),
        FileFound::Found { mode } if mode & 0o077 != 0 => Judgement::failed(
            check,
            format!("{path} may be read by others (mode {:04o})", mode & 0o7777),
            format!("chmod 0600 {path}; if others could have read it, think of its secrets as known"),
        ),
        FileFound::Found { mode } => Judgement::ok(check, format!("{path}, mode {:04o}", mode & 0o7777)),
    }
}

/// What machine it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release, e.g. `6.1.0-18-amd64`.
    pub kernel: String,
    /// Memory that can be had without swapping, in bytes; 0: not known.
    pub available_bytes: u64,
    /// Whether control groups of version 2 are mounted.
    pub control_groups: bool,
}

/// Whether the machine is large and new enough; `wanted_bytes` of memory should be available.
#[must_use]
pub fn machine(found: &Machine, wanted_bytes: u64) -> Vec<Judgement> {
    let mut numbers = found.kernel.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let kernel = match version {
        (0, _) => {
            Judgement::warning("kernel", format!("'{}' is no release", found.kernel), "Linux 4.18 or newer is needed")
        }
        version if version < (4, 18) => {
            Judgement::failed("kernel", format!("Linux {}", found.kernel), "Linux 4.18 or newer is needed")
        }
        _ => Judgement::ok("kernel", format!("Linux {}", found.kernel)),
    };
    let text = format!("{} available", bytes(found.available_bytes));
    let memory = match found.available_bytes {
        0 => Judgement::warning("memory", "not known", "look at it with free -m"),
        available if available < wanted_bytes => Judgement::warning(
            "memory",
            text,
            format!("{} should be available; end something else", bytes(wanted_bytes)),
        ),
        _ => Judgement::ok("memory", text),
    };
    let groups = match found.control_groups {
        true => Judgement::ok("control groups", "version 2"),
        false => Judgement::warning(
            "control groups",
            "version 2 is not mounted",
            "limits of policy.toml and systemd need it; boot with systemd.unified_cgroup_hierarchy=1",
        ),
    };
    vec![kernel, memory, groups]
}
