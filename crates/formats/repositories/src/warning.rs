use catalog::SkippedStanza;
use thiserror::Error;

/// The most warnings about one file.
pub(crate) const WARNINGS_PER_FILE_MAX: usize = 50;

/// Something that was left out, or that apt would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Warning {
    /// A stanza of the package database was skipped.
    #[error("{file}: stanza at byte {} ({}): {}", skipped.offset_bytes, skipped.name, skipped.reason)]
    Stanza {
        /// The file.
        file: String,
        /// The stanza.
        skipped: SkippedStanza,
    },
    /// A part of a file was not understood and is left out.
    #[error("{file}, line {line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
    /// A file was left out, or read only in part.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A list that the sources name is not there: `apt-get update` has not been run, or has failed.
    #[error("the list {file_name_stem} is missing")]
    ListMissing {
        /// Its name without the extension of a compression.
        file_name_stem: String,
    },
    /// A list was not read to its end; what was read before counts.
    #[error("the list {file} was not read to its end: {reason}")]
    ListUnread {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The Release file of a repository is missing or cannot be read, so its archives have no names: neither pins nor the
    /// question whether they are security archives can be answered.
    #[error("the Release file {file_name} is missing or cannot be read")]
    ReleaseMissing {
        /// Its name in the lists folder.
        file_name: String,
    },
    /// A setting that names something which is not there.
    #[error("{0}")]
    Setting(String),
}

/// Gathers the warnings about one file, bounded.
pub(crate) struct FileWarnings<'a> {
    file: &'a str,
    warnings: Vec<Warning>,
}

impl<'a> FileWarnings<'a> {
    pub(crate) fn of(file: &'a str) -> Self {
        Self { file, warnings: Vec::new() }
    }

    /// Something is wrong in this line (from 1).
    pub(crate) fn line(&mut self, line: usize, reason: impl Into<String>) {
        self.push(|file| Warning::Line { file, line, reason: reason.into() });
    }

    /// Something is wrong with the file as a whole.
    pub(crate) fn file(&mut self, reason: impl Into<String>) {
        self.push(|file| Warning::File { file, reason: reason.into() });
    }

    fn push(&mut self, warning: impl FnOnce(String) -> Warning) {
        if self.warnings.len() < WARNINGS_PER_FILE_MAX {
            self.warnings.push(warning(self.file.to_owned()));
        }
    }

    pub(crate) fn finish(self) -> Vec<Warning> {
        self.warnings
    }
}

/// Cuts a text for a message, and takes control characters out.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}
