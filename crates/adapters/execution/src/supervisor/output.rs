//! What a step says, kept up to a bound.

use crate::report::STREAM_BYTES_MAX;
use crate::{ExecutionError, durable};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file that keeps the first bytes written to it and counts on, so that nobody who writes is ever held up or refused.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: File,
    left: u64,
    truncated: bool,
}

impl BoundedFile {
    /// Opens a step's stream, going on after what an earlier attempt wrote.
    pub(super) fn open(step_path: &Path, stream: &str) -> Result<Self, ExecutionError> {
        durable::create_directory(step_path)?;
        let path = step_path.join(stream);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(ExecutionError::file("opening", &path))?;
        let length = file.metadata().map_err(ExecutionError::file("opening", &path))?.len();
        Ok(Self { file, left: STREAM_BYTES_MAX.saturating_sub(length), truncated: false })
    }

    /// Whether anything was left out.
    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// Adds a short remark of the supervisor, even after the bound.
    pub(super) fn remark(&mut self, text: &str) {
        let mut bounded: String = text.chars().take(4096).collect();
        bounded.push('\n');
        // The state says the same; a full disk must not hide it.
        let _ = self.file.write_all(bounded.as_bytes());
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) {
        // Output is worth less than the knowledge that the step ran: a full disk does not fail it.
        let _ = self.file.sync_all();
    }
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        if self.file.write_all(kept).is_err() {
            self.left = 0;
            self.truncated = true;
        }
        self.left = self.left.saturating_sub(kept.len() as u64);
        self.truncated |= kept.len() < bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_also_across_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = BoundedFile::open(folder.path(), "stdout").unwrap();
        let half = vec![b'a'; usize::try_from(STREAM_BYTES_MAX / 2 + 1).unwrap()];
        file.write_all(&half).unwrap();
        assert!(!file.truncated());
        let mut file = BoundedFile::open(folder.path(), "stdout").unwrap();
        file.write_all(&half).unwrap();
        assert!(file.truncated());
        assert_eq!(std::fs::metadata(folder.path().join("stdout")).unwrap().len(), STREAM_BYTES_MAX);
        file.remark("the end");
        assert!(std::fs::read(folder.path().join("stdout")).unwrap().ends_with(b"athe end\n"));
    }
}
