//! Looking at the machine for `careen doctor`: facts alone, which `diagnosis` judges. Nothing is changed, but for one
//! small file that is written and removed again where a folder is there already.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use diagnosis::{Capacity, FileFound, Folder, Machine, Packages, Unit};

/// More of a program's answer is not read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A folder as it lies there.
#[must_use]
pub fn folder(path: &Path) -> Folder {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Folder::Found { owner: found.uid(), mode: found.mode() },
        Ok(_) => Folder::NoFolder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Folder::Absent,
        Err(error) => Folder::Unreadable(error.to_string()),
    }
}

/// A file as it lies there, and whether it can be read.
#[must_use]
pub fn file(path: &Path) -> FileFound {
    let found = File::open(path).and_then(|file| file.metadata());
    match found {
        Ok(found) => FileFound::Found { mode: found.mode() },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileFound::Absent,
        Err(error) => FileFound::Unreadable(error.to_string()),
    }
}

/// The room on the file system of a path, or of the nearest folder above it that is there.
///
/// # Errors
/// When the system does not say; as a sentence.
pub fn capacity(path: &Path) -> Result<Capacity, String> {
    let there = path.ancestors().find(|path| path.exists()).ok_or("there is no such path")?;
    let found = rustix::fs::statvfs(there).map_err(|error| error.to_string())?;
    Ok(Capacity {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
        free_files: found.f_favail,
        files: found.f_files,
    })
}

/// Writes a small file in a folder, synchronises it, reads it again and removes it; `None` without a folder.
#[must_use]
pub fn durability(folder: &Path) -> Option<Result<(), String>> {
    if !folder.is_dir() {
        return None;
    }
    let path = folder.join(format!(".doctor-{}", std::process::id()));
    let tried = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(b"doctor")?;
        file.sync_all()?;
        let same = fs::read(&path)? == b"doctor";
        same.then_some(()).ok_or_else(|| std::io::Error::other("what was written is not what is read"))
    };
    let result = tried().map_err(|error: std::io::Error| error.to_string());
    let _ = fs::remove_file(&path);
    Some(result)
}

/// What machine it is.
#[must_use]
pub fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Machine {
        kernel,
        available_bytes: available_bytes(&memory),
        control_groups: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
    }
}

fn available_bytes(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

/// How many files this process may have open.
#[must_use]
pub fn files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The package database: whether it is there and whole.
#[must_use]
pub fn packages() -> Packages {
    let present = ["/usr/bin/dpkg", "/usr/bin/apt-get"].iter().all(|path| Path::new(path).exists());
    let audit = if present { answer(Command::new("/usr/bin/dpkg").arg("--audit")) } else { None };
    Packages { present, audit: audit.map(|said| said.trim().to_owned()) }
}

/// How old the newest of apt's lists is, in seconds.
#[must_use]
pub fn lists_age_seconds() -> Option<u64> {
    let entries = fs::read_dir("/var/lib/apt/lists").ok()?.flatten();
    let lists = entries.filter(|entry| entry.file_name().to_string_lossy().contains("_dists_"));
    let newest = lists.filter_map(|entry| fs::metadata(entry.path()).ok()?.modified().ok()).max()?;
    // A list's own time is that of its archive; the folder's says when apt last wrote there.
    let folder = fs::metadata("/var/lib/apt/lists/partial").and_then(|found| found.modified()).unwrap_or(newest);
    Some(SystemTime::now().duration_since(newest.max(folder)).map_or(0, |age| age.as_secs()))
}

/// Which processes hold apt's and dpkg's locks.
#[must_use]
pub fn lock_holders() -> Vec<(u32, String)> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let files = [
        "/var/lib/dpkg/lock-frontend",
        "/var/lib/dpkg/lock",
        "/var/lib/apt/lists/lock",
        "/var/cache/apt/archives/lock",
    ];
    let inodes: Vec<u64> = files.iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.ino()).collect();
    let mut holders: Vec<(u32, String)> = Vec::new();
    for process in holders_of(&locks, &inodes) {
        if !holders.iter().any(|(known, _)| *known == process) {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned();
            holders.push((process, name));
        }
    }
    holders
}

/// Lines of `/proc/locks` are `1: POSIX  ADVISORY  WRITE 1234 fe:01:5678 0 EOF` (proc_locks(5)); the device's numbers are
/// left aside, for they differ from stat's on some file systems.
fn holders_of(locks: &str, inodes: &[u64]) -> Vec<u32> {
    let holder = |line: &str| {
        let mut fields = line.split_whitespace().filter(|field| *field != "->").skip(1);
        let (kind, process, place) = (fields.next()?, fields.nth(2)?, fields.next()?);
        let inode: u64 = place.rsplit(':').next()?.parse().ok()?;
        (kind == "POSIX" && inodes.contains(&inode)).then(|| process.parse().ok())?
    };
    locks.lines().filter(|line| !line.contains("->")).filter_map(holder).collect()
}

/// The systemd unit of a process, if systemd runs one for it.
#[must_use]
pub fn unit(process: u32) -> Option<Unit> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path =
        groups.lines().find_map(|line| line.strip_prefix("0::").or_else(|| line.split(":name=systemd:").nth(1)))?;
    let name = path.rsplit('/').find(|part| part.ends_with(".service"))?.to_owned();
    let said = answer(Command::new("systemctl").args(["show", "--property=KillMode", "--value", "--", &name]))?;
    Some(Unit { name, kill_mode: said.trim().to_owned() }).filter(|unit| !unit.kill_mode.is_empty())
}

/// What a program that only looks prints; bounded, and in the language that it was written in.
fn answer(command: &mut Command) -> Option<String> {
    let command = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut said = Vec::new();
    let read = child.stdout.take().map(|out| out.take(ANSWER_BYTES_MAX).read_to_end(&mut said));
    let ended = child.wait().ok()?;
    (read?.is_ok() && (ended.success() || !said.is_empty())).then(|| String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_those_of_our_files_alone() {
        let locks = "1: POSIX  ADVISORY  WRITE 71 fe:01:100 0 EOF\n\
                     1: -> POSIX  ADVISORY  WRITE 72 fe:01:100 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 73 fe:01:100 0 EOF\n\
                     3: POSIX  ADVISORY  WRITE 74 fe:01:101 0 EOF\nnonsense\n4: POSIX\n";
        assert_eq!(holders_of(locks, &[100]), [71]);
        assert_eq!(holders_of(locks, &[]), [] as [u32; 0]);
    }

    #[test]
    fn memory_is_what_can_be_had() {
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), 2 << 20);
        assert_eq!(available_bytes("nonsense"), 0);
    }

    #[test]
    fn a_folder_is_as_it_was_before() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(durability(folder.path()), Some(Ok(())));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(durability(&folder.path().join("none")), None);
        assert!(capacity(&folder.path().join("not/there")).unwrap().bytes > 0);
        assert!(matches!(super::folder(folder.path()), Folder::Found { .. }));
        assert_eq!(super::file(&folder.path().join("none")), FileFound::Absent);
        assert!(machine().available_bytes > 0 && files_max() > 2);
    }
}
