//! The terminal: the one place that prints.

use std::io::{IsTerminal, Write};

/// A line on standard output. A reader that went away (a closed pipe) is no fault.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether a person reads standard error, so that progress may overwrite itself.
pub(crate) fn person_reads() -> bool {
    std::io::stderr().is_terminal()
}

/// Progress on standard error: one line that is overwritten for a person, a line per change otherwise.
pub(crate) struct Progress {
    shown: String,
    person: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: String::new(), person: person_reads() }
    }

    /// Shows what is being done now.
    pub(crate) fn now(&mut self, text: &str) {
        if self.shown == text {
            return;
        }
        text.clone_into(&mut self.shown);
        let mut out = std::io::stderr();
        let _ = match self.person {
            true => write!(out, "\r\x1b[2K{text} "),
            false => writeln!(out, "{text}"),
        };
        let _ = out.flush();
    }

    /// Clears the line, so that something else can be printed.
    pub(crate) fn clear(&mut self) {
        self.shown.clear();
        if self.person {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }

    /// The work is over.
    pub(crate) fn done(mut self) {
        self.clear();
    }
}
