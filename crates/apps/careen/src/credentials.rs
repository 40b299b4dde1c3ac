//! `DIR/credentials`: the administrator's key in the form of AWS's shared credentials file.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use control::FirstKey;
use identifiers::Region;

/// Writes the file, mode 0600, whole or not at all; one that already says so is left alone.
pub(crate) fn write(path: &Path, key: &FirstKey, region: &Region) -> Result<()> {
    let text = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\nregion = {region}\n",
        key.access_key_id,
        key.secret.reveal(),
    );
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let temporary = path.with_extension("new");
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    written().with_context(|| format!("{} cannot be written", path.display()))
}
