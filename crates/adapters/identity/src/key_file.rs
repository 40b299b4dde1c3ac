use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{NoRandomness, Sealer, random_bytes, sha256_hex};

/// The key under which secrets lie encrypted in the database. It is kept in a file outside it.
pub struct MasterKey([u8; 32]);

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("key file {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// It holds something else.
    #[error(
        "key file {0} does not hold 32 bytes in base64; put the right file back, or restore the backup it belongs to"
    )]
    Malformed(PathBuf),
    /// Others may read it.
    #[error("key file {path} may be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No key could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl MasterKey {
    /// Reads the key file, or makes one (mode 0600) where there is none.
    ///
    /// # Errors
    /// When it cannot be read, is open to others, or holds something else.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyFileError> {
        let io = |error| KeyFileError::Io { path: path.to_owned(), error };
        match File::open(path) {
            Ok(file) => Self::read(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = random_bytes::<32>()?;
                write_private(path, format!("{}\n", STANDARD.encode(key)).as_bytes()).map_err(io)?;
                // Another process may have been first: what lies there now counts.
                Self::read(path, File::open(path).map_err(io)?)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// Reads the key file; none is made.
    ///
    /// # Errors
    /// When it is not there, cannot be read, is open to others, or holds something else.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        match File::open(path) {
            Ok(file) => Self::read(path, file),
            Err(error) => Err(KeyFileError::Io { path: path.to_owned(), error }),
        }
    }

    fn read(path: &Path, file: File) -> Result<Self, KeyFileError> {
        let io = |error| KeyFileError::Io { path: path.to_owned(), error };
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).map_err(io)?;
        let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyFileError::Malformed(path.to_owned()))?;
        bytes.try_into().map(Self).map_err(|_| KeyFileError::Malformed(path.to_owned()))
    }

    /// The key for one purpose.
    #[must_use]
    pub fn sealer(&self, purpose: &str) -> Sealer {
        Sealer::derive(&self.0, purpose)
    }

    /// What the database keeps of the key, so that a server with another key is refused: SHA-256 of a label and the key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = b"careen key fingerprint 1\n".to_vec();
        text.extend_from_slice(&self.0);
        sha256_hex(&text)
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Writes a new file that only its owner may read, whole or not at all; an existing file is left as it is.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".key.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A hard link fails if the name is taken, so that of two servers starting at once one wins.
    match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            fs::remove_file(&temporary)?;
            return Err(error);
        }
        _ => fs::remove_file(&temporary)?,
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let first = MasterKey::open_or_create(&path).unwrap();
        let again = MasterKey::open_or_create(&path).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let sealed = first.sealer("access-key").seal(b"secret", "AKIA1").unwrap();
        assert_eq!(again.sealer("access-key").open(&sealed, "AKIA1").unwrap(), b"secret");
        assert_eq!(again.sealer("access-key").open(&sealed, "AKIA2"), Err(crate::SealError::Broken));
        assert_eq!(again.sealer("page-token").open(&sealed, "AKIA1"), Err(crate::SealError::Broken));
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert!(first.sealer("access-key").open(&changed, "AKIA1").is_err());
        assert!(first.sealer("access-key").open(&[], "AKIA1").is_err());
    }

    #[test]
    fn a_key_file_that_others_may_read_or_that_holds_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        MasterKey::open_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(MasterKey::open_or_create(&path), Err(KeyFileError::Exposed { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hello").unwrap();
        assert!(matches!(MasterKey::open_or_create(&path), Err(KeyFileError::Malformed(_))));
    }
}
