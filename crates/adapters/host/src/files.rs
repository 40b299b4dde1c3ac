//! Small file operations: bounded reads, durable writes, folders as apt lists them.

use crate::HostError;
use identifiers::Timestamp;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// No configuration or database file that we read whole is larger; dpkg's status of a very full host has 10 MB.
pub(crate) const FILE_BYTES_MAX: u64 = 128 << 20;

/// Reads a file whole; `None` if it is not there.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// Reads at most the last `bytes_max` bytes of a file as text.
pub(crate) fn read_end(path: &Path, bytes_max: u64) -> io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file so that after a loss of power it is either the old or the new one: a temporary file beside it, fsync,
/// rename, fsync of the folder.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = folder.join(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(HostError::file(path))
}

/// Makes a folder that only we can enter, with its parents.
pub(crate) fn make_folder(path: &Path) -> Result<(), HostError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(HostError::file(path))
}

/// The files of a folder that apt would read, in its order: of these extensions (or, if allowed, none), with names of
/// `[A-Za-z0-9_.:-]` that do not start with a dot (apt.conf(5), apt_preferences(5), sources.list(5)).
pub(crate) fn apt_parts(folder: &Path, extensions: &[&str], without_extension: bool) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string()
            && apt_reads(&name, extensions, without_extension)
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect())
}

fn apt_reads(name: &str, extensions: &[&str], without_extension: bool) -> bool {
    let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    let extension_fits = match name.rsplit_once('.') {
        Some((_, extension)) => extensions.contains(&extension),
        None => without_extension,
    };
    extension_fits && !name.starts_with('.') && name.bytes().all(usual)
}

/// When a file was last modified.
pub(crate) fn modified_at(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(i64::try_from(since.as_micros()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_as_apt_lists_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.list", "a.sources", "c.list.save", ".d.list", "e list.list", "10plain", "z.list"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("folder.list")).unwrap();
        let names = |extensions: &[&str], without: bool| -> Vec<String> {
            let paths = apt_parts(folder.path(), extensions, without).unwrap();
            paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&["list", "sources"], false), ["a.sources", "b.list", "z.list"]);
        assert_eq!(names(&["pref"], true), ["10plain"]);
        assert_eq!(apt_parts(&folder.path().join("absent"), &["list"], true).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_durable_write_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_durably(&path, b"one").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(read_if_there(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read_end(&path, 2).unwrap(), "wo");
    }
}
