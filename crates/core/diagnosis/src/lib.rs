//! Whether a prerequisite of a server or a node is met, and what to do if it is not.
//!
//! It decides what is well, what somebody should look at and what keeps things from working, and in which words that is
//! said. It deliberately does not know how any of the facts are found out: `host`, `careen` and `agent` look, and hand
//! over what they saw.

mod machine;
mod node;
mod server;

use serde::Serialize;

pub use machine::{Capacity, FileFound, Folder, Machine, capacity, durability, folder, machine, private_file};
pub use node::{
    Packages, Registration, Step, Unit, connection, dpkg, lists, locks, policy, privileges, registration, unit, way,
};
pub use server::{Certificate, Database, Port, certificate, clock, configuration, database, files_max, port, running};

/// How a prerequisite is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warning,
    /// It keeps things from working.
    Failed,
}

impl Verdict {
    /// Its name, as people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// The exit code of a program whose worst verdict this is.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Failed => 2,
        }
    }
}

/// One prerequisite, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; nothing where it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Judgement {
    /// It is as it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    /// Somebody should look.
    pub fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    /// It keeps things from working.
    pub fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, found: found.into(), advice: Some(advice.into()) }
    }

    /// One line, and what to do on the next. Nothing in it ends a line or moves a terminal's cursor: parts of it are
    /// other programs' words.
    #[must_use]
    pub fn line(&self) -> String {
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let advice = self.advice.as_deref().map(|advice| format!("\n         -> {}", clean(advice)));
        format!("{:<8} {}: {}{}", self.verdict.as_str(), self.check, clean(&self.found), advice.unwrap_or_default())
    }
}

/// The worst of all; nothing looked at is nothing wrong.
#[must_use]
pub fn worst(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).max().unwrap_or(Verdict::Ok)
}

/// A number of bytes as people say it.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..=0xf_ffff => format!("{} KiB", count >> 10),
        0x10_0000..=0x3fff_ffff => format!("{} MiB", count >> 20),
        _ => format!("{}.{} GiB", count >> 30, ((count & 0x3fff_ffff) * 10) >> 30),
    }
}

#[cfg(test)]
mod tests;
