//! Files that are there whole or not at all, whenever the power goes.
//!
//! rename(2) is atomic, but neither it nor the data is durable before both the file and its folder have been synced
//! (fsync(2), "Calling fsync() does not necessarily ensure that the entry in the directory ... has also reached disk").

use crate::ExecutionError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Replaces `path` with `bytes`, readable by its owner alone; when this returns, they survive a loss of power.
///
/// # Errors
/// When the file system refuses; the old file is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ExecutionError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = Path::new(&name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(fresh, path)
    };
    write().map_err(|source| {
        let _ = std::fs::remove_file(fresh);
        ExecutionError::file("writing", path)(source)
    })?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// [`write`] for a value as JSON.
///
/// # Errors
/// As for [`write`].
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), ExecutionError> {
    let bytes = serde_json::to_vec(value).map_err(|e| ExecutionError::damaged(path, e))?;
    write(path, &bytes)
}

/// Reads what [`write_json`] wrote; `None` if there is no such file.
///
/// # Errors
/// When the file cannot be read, is larger than `bytes_max`, or is no such value.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path, bytes_max: u64) -> Result<Option<T>, ExecutionError> {
    let Some(bytes) = read(path, bytes_max)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| ExecutionError::damaged(path, e))
}

/// Reads a whole file; `None` if there is none.
///
/// # Errors
/// When it cannot be read or is larger than `bytes_max`.
pub fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ExecutionError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ExecutionError::file("opening", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(ExecutionError::file("reading", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(ExecutionError::damaged(path, format_args!("larger than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

/// Makes a folder's entries durable.
///
/// # Errors
/// When the file system refuses.
pub fn sync_directory(path: &Path) -> Result<(), ExecutionError> {
    // The parent of a name alone is the empty path, which means the present folder.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(ExecutionError::file("syncing", path))
}

/// Makes a folder that only its owner may enter, with its parents, if it is not there.
///
/// # Errors
/// When the file system refuses.
pub fn create_directory(path: &Path) -> Result<(), ExecutionError> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(ExecutionError::file("creating", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}
