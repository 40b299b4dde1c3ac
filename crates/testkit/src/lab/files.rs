//! Files of a host, reached without ever leaving its root: an absolute link inside it stays inside (openat2(2),
//! `RESOLVE_IN_ROOT`).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2, renameat};

/// A host's root, held open.
#[derive(Debug)]
pub(super) struct RootFolder(OwnedFd);

impl RootFolder {
    /// Opens the root that the machine sees at `path` (which may lie behind /proc/PID/root).
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let root = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self(root.with_context(|| path.display().to_string())?))
    }

    pub(super) fn read(&self, path: &Path) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_inside(path, OFlags::RDONLY)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes beside the file and renames, so that nobody in the host sees half a file.
    pub(super) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let shown = || path.display().to_string();
        let name = path.file_name().with_context(shown)?;
        let folder = self.make_folders(path.parent().unwrap_or(Path::new("/"))).with_context(shown)?;
        let mut draft_name = name.to_owned();
        draft_name.push(".testkit-draft");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut draft = File::from(openat(&folder, &draft_name, flags, Mode::from_raw_mode(0o600))?);
        draft.write_all(bytes)?;
        rustix::fs::fchmod(&draft, Mode::from_raw_mode(mode))?;
        drop(draft);
        renameat(&folder, &draft_name, &folder, name).with_context(shown)
    }

    /// Makes a folder and those above it, where they are missing.
    fn make_folders(&self, path: &Path) -> anyhow::Result<File> {
        let mut walked = std::path::PathBuf::from("/");
        let mut folder = self.open_inside(&walked, OFlags::DIRECTORY)?;
        for part in path.components() {
            let std::path::Component::Normal(part) = part else { continue };
            match mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            walked.push(part);
            folder = self.open_inside(&walked, OFlags::DIRECTORY)?;
        }
        Ok(folder)
    }

    fn open_inside(&self, path: &Path, flags: OFlags) -> anyhow::Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        Ok(File::from(opened.with_context(|| path.display().to_string())?))
    }
}

/// The last so many bytes of a file as text; nothing if it cannot be read.
pub(super) fn tail(path: &Path, bytes_max: usize) -> String {
    let Ok(file) = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return String::new() };
    let mut bytes = Vec::new();
    if File::from(file).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let from = bytes.len().saturating_sub(bytes_max);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_the_root_and_writes_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let root = RootFolder::open(folder.path()).unwrap();
        root.write(Path::new("/usr/lib/release"), b"inside", 0o640).unwrap();
        std::os::unix::fs::symlink("/usr/lib/release", folder.path().join("release")).unwrap();
        assert_eq!(root.read(Path::new("/release")).unwrap(), b"inside");
        std::os::unix::fs::symlink("/../../../etc/hostname", folder.path().join("out")).unwrap();
        assert!(root.read(Path::new("/out")).is_err(), "a link led out of the root");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(folder.path().join("usr/lib/release")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(tail(&folder.path().join("usr/lib/release"), 4), "side");
    }
}
