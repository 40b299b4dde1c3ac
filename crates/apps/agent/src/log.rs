use std::cell::RefCell;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How large a log file grows, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How many old files are kept beside it.
const OLD_FILES: u32 = 2;

/// More characters of a line are not written.
const LINE_CHARS_MAX: usize = 4000;

/// Characters that end a line, command a terminal, or reorder what is beside them: others' words are in many lines.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The agent's log: standard error, which the journal takes, and `agent.log`, which stays small.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: RefCell<Option<File>>,
    to_stderr: bool,
}

impl Log {
    pub(crate) fn open(data_directory: &Path, to_stderr: bool) -> Self {
        let path = data_directory.join("agent.log");
        let file = RefCell::new(opened(&path));
        Self { path, file, to_stderr }
    }

    /// Writes a line. A log that cannot be written must not stop the agent.
    pub(crate) fn line(&self, text: impl Display) {
        let text = text
            .to_string()
            .chars()
            .take(LINE_CHARS_MAX)
            .map(|c| if is_unsafe(c) { ' ' } else { c })
            .collect::<String>();
        if self.to_stderr {
            let _ = writeln!(std::io::stderr(), "careen-agent: {text}");
        }
        let mut file = self.file.borrow_mut();
        if file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|meta| meta.len() >= FILE_BYTES_MAX)) {
            *file = None;
            for number in (1..=OLD_FILES).rev() {
                let _ = std::fs::rename(self.old(number - 1), self.old(number));
            }
        }
        if file.is_none() {
            *file = opened(&self.path);
        }
        if let Some(file) = file.as_mut() {
            let _ = writeln!(file, "{} {text}", execution::now());
        }
    }

    fn old(&self, number: u32) -> PathBuf {
        if number == 0 { self.path.clone() } else { self.path.with_extension(format!("log.{number}")) }
    }
}

fn opened(path: &Path) -> Option<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_keeps_the_latest_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path(), false);
        let long = "x".repeat(100_000);
        for number in 0..1500 {
            log.line(format_args!("{number} {long}"));
        }
        log.line("the\nlast\u{202e}\u{1b}");
        let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size("agent.log") <= FILE_BYTES_MAX + 200_000);
        assert!(size("agent.log.1") <= FILE_BYTES_MAX + 200_000 && size("agent.log.2") <= FILE_BYTES_MAX + 200_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        let text = std::fs::read_to_string(folder.path().join("agent.log")).unwrap();
        assert!(text.ends_with("the last  \n"));
        assert!(text.lines().all(|line| line.len() < LINE_CHARS_MAX + 40));
    }
}
