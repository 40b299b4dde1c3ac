//! A node's own policy: what it allows, whatever its server orders.
//!
//! It decides what a policy file says, and whether a job may run under it at a moment of the node's own time. It deliberately
//! does not know where the file lies or whose it is, what time it is, or how limits are enforced.

mod hours;
mod limits;

use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

pub use hours::{Hours, LocalTime, Weekday};
pub use limits::{Limits, MemoryMax};

/// No policy file is larger, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// More documents or hours than this no policy names.
const LIST_MAX: usize = 200;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

impl PolicyError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// When updates may be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// Always.
    Always,
    /// Never.
    Never,
    /// Within these hours, in the node's time zone.
    Within(Vec<Hours>),
}

/// What a node allows. The default allows everything, within the default limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePolicy {
    /// The names of the documents; `None`: all.
    pub documents: Option<BTreeSet<String>>,
    /// Whether steps may run scripts.
    pub shell: bool,
    /// When updates may be installed.
    pub install: Install,
    /// Whether the host may be rebooted.
    pub reboot: bool,
    /// What scripts may use of the host.
    pub limits: Limits,
}

impl Default for NodePolicy {
    fn default() -> Self {
        Self { documents: None, shell: true, install: Install::Always, reboot: true, limits: Limits::default() }
    }
}

/// What a job would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// By which document.
    pub document: &'a str,
    /// Whether it runs a script.
    pub shell: bool,
    /// Whether it installs updates.
    pub installs: bool,
    /// Whether it may reboot the host afterwards.
    pub may_reboot: bool,
}

/// Which rule forbids a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The node's policy forbids it ({rule}): {reason}")]
pub struct Denied {
    /// The rule, as the file has it.
    pub rule: &'static str,
    /// What is not allowed, and what would be, as a sentence.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    documents: Option<Vec<String>>,
    shell: Option<bool>,
    install: Option<bool>,
    install_hours: Option<Vec<String>>,
    reboot: Option<bool>,
    limits: Option<limits::File>,
}

impl NodePolicy {
    /// Reads a policy file (TOML). A key that is not known is refused: a mistyped rule must not be no rule.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::new(format!("it is larger than {POLICY_BYTES_MAX} bytes")));
        }
        let file: File = toml::from_str(text).map_err(|e| PolicyError::new(e.to_string().trim_end()))?;
        let install = match (file.install, file.install_hours) {
            (Some(false), Some(_)) => {
                return Err(PolicyError::new("install = false and install_hours contradict each other; remove one"));
            }
            (_, Some(hours)) => Install::Within(listed("install_hours", hours, |text| Hours::parse(&text))?),
            (Some(false), None) => Install::Never,
            (Some(true) | None, None) => Install::Always,
        };
        let documents = file.documents.map(|names| listed("documents", names, document)).transpose()?;
        let all = documents.as_ref().is_none_or(|names| names.iter().any(|name| name == "*"));
        Ok(Self {
            documents: documents.filter(|_| !all).map(|names| names.into_iter().collect()),
            shell: file.shell.unwrap_or(true),
            install,
            reboot: file.reboot.unwrap_or(true),
            limits: file.limits.map_or_else(|| Ok(Limits::default()), Limits::of)?,
        })
    }

    /// Whether a job may run now. Looking at a host (a scan) is an operation that installs nothing.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn judge(&self, asked: &Asked<'_>, now: LocalTime) -> Result<(), Denied> {
        let denied = |rule, reason: String| Err(Denied { rule, reason });
        if let Some(documents) = self.documents.as_ref().filter(|names| !names.contains(asked.document)) {
            let reason = format!("it does not allow {}; it allows {}.", asked.document, words(documents));
            return denied("documents", reason);
        }
        if asked.shell && !self.shell {
            return denied("shell = false", "it allows no scripts.".to_owned());
        }
        if asked.installs {
            match &self.install {
                Install::Always => {}
                Install::Never => {
                    return denied("install = false", "it allows scans, and no installation.".to_owned());
                }
                Install::Within(hours) if hours.iter().any(|hours| hours.contain(now)) => {}
                Install::Within(hours) => {
                    let when = words(hours);
                    let reason = format!("it allows installing {when} in the node's time zone, where it is {now}.");
                    return denied("install_hours", reason);
                }
            }
        }
        if asked.may_reboot && !self.reboot {
            let reason = "it never reboots the host; send the command with RebootOption=NoReboot.";
            return denied("reboot = false", reason.to_owned());
        }
        Ok(())
    }

    /// What it says, in sentences for people.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let documents = match &self.documents {
            None => "All documents may run.".to_owned(),
            Some(names) if names.is_empty() => "No document may run.".to_owned(),
            Some(names) => format!("Only these documents may run: {}.", words(names)),
        };
        let shell = if self.shell { "Scripts may run." } else { "No scripts run." };
        let install = match &self.install {
            Install::Always => "Updates may be installed at any time.".to_owned(),
            Install::Never => "Updates are never installed; scans may run.".to_owned(),
            Install::Within(hours) => format!("Updates may be installed {}, in this host's time zone.", words(hours)),
        };
        let reboot = if self.reboot { "The host may be rebooted." } else { "The host is never rebooted." };
        vec![documents, shell.to_owned(), install, reboot.to_owned(), self.limits.in_words()]
    }

    /// Only what it restricts, in one short line; empty where it allows everything.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(names) = &self.documents {
            parts.push(format!("documents: {}", words(names)));
        }
        if !self.shell {
            parts.push("no scripts".to_owned());
        }
        match &self.install {
            Install::Always => {}
            Install::Never => parts.push("no installation".to_owned()),
            Install::Within(hours) => parts.push(format!("installation {} (node's time)", words(hours))),
        }
        if !self.reboot {
            parts.push("no reboot".to_owned());
        }
        parts.join("; ")
    }
}

fn document(name: String) -> Result<String, PolicyError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    let fits = name == "*" || !name.is_empty() && name.len() <= 200 && name.chars().all(plain);
    fits.then_some(name.clone()).ok_or_else(|| {
        PolicyError::new(format!(
            "documents: \"{}\" is no document's name; write names in full, or \"*\"",
            name.escape_debug()
        ))
    })
}

fn listed<T>(
    key: &str,
    texts: Vec<String>,
    read: impl Fn(String) -> Result<T, PolicyError>,
) -> Result<Vec<T>, PolicyError> {
    if texts.len() > LIST_MAX {
        return Err(PolicyError::new(format!("{key}: more than {LIST_MAX} entries")));
    }
    texts.into_iter().map(read).collect()
}

/// `a`, `a and b`, `a, b and c`; `none` of nothing.
fn words<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => {
            let mut text = first.join(", ");
            // Writing to a String cannot fail.
            let _ = write!(text, " and {last}");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = r#"
documents = ["AWS-RunPatchBaseline"]
shell = false
install_hours = ["sat,sun 22:00-05:00", "wed 01:00-03:00"]
reboot = false

[limits]
memory_max = "512MiB"
cpu_max = "150%"
pids_max = 512
io_weight = 50
"#;

    fn at(weekday: Weekday, hour: u16, minute: u16) -> LocalTime {
        LocalTime { weekday, minute: hour * 60 + minute }
    }

    fn asked(document: &str) -> Asked<'_> {
        Asked { document, shell: false, installs: false, may_reboot: false }
    }

    fn rule(policy: &str, asked: &Asked<'_>, now: LocalTime) -> Option<&'static str> {
        NodePolicy::parse(policy).unwrap().judge(asked, now).err().map(|denied| denied.rule)
    }

    #[test]
    fn an_empty_file_allows_everything() {
        let policy = NodePolicy::parse("").unwrap();
        assert_eq!(policy, NodePolicy::default());
        let everything = Asked { shell: true, installs: true, may_reboot: true, ..asked("Anything") };
        assert_eq!(policy.judge(&everything, at(Weekday::Monday, 12, 0)), Ok(()));
        assert_eq!(policy.summary(), "");
        assert_eq!(NodePolicy::parse("documents = [\"*\"]\ninstall = true").unwrap().documents, None);
    }

    #[test]
    fn each_rule_forbids_what_it_says_and_names_itself() {
        let monday = at(Weekday::Monday, 12, 0);
        let patch = asked("AWS-RunPatchBaseline");
        let install = Asked { installs: true, ..patch };
        assert_eq!(rule(EXAMPLE, &asked("AWS-RunShellScript"), monday), Some("documents"));
        assert_eq!(rule(EXAMPLE, &Asked { shell: true, ..patch }, monday), Some("shell = false"));
        assert_eq!(rule(EXAMPLE, &patch, monday), None, "a scan is always allowed");
        assert_eq!(rule(EXAMPLE, &install, monday), Some("install_hours"));
        assert_eq!(rule(EXAMPLE, &install, at(Weekday::Wednesday, 2, 59)), None);
        assert_eq!(rule(EXAMPLE, &install, at(Weekday::Wednesday, 3, 0)), Some("install_hours"));
        assert_eq!(rule(EXAMPLE, &install, at(Weekday::Saturday, 22, 0)), None);
        assert_eq!(rule(EXAMPLE, &install, at(Weekday::Monday, 4, 59)), None, "Sunday's hours go on");
        assert_eq!(rule(EXAMPLE, &install, at(Weekday::Saturday, 4, 0)), Some("install_hours"), "Friday has none");
        assert_eq!(
            rule(EXAMPLE, &Asked { may_reboot: true, ..install }, at(Weekday::Sunday, 23, 0)),
            Some("reboot = false")
        );
        assert_eq!(rule("install = false", &install, monday), Some("install = false"));
        assert_eq!(rule("documents = []", &patch, monday), Some("documents"));
        let denied = NodePolicy::parse(EXAMPLE).unwrap().judge(&install, monday).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "The node's policy forbids it (install_hours): it allows installing sat,sun 22:00-05:00 and wed 01:00-03:00 \
             in the node's time zone, where it is Mon 12:00."
        );
    }

    #[test]
    fn it_is_said_in_words() {
        let policy = NodePolicy::parse(EXAMPLE).unwrap();
        assert_eq!(
            policy.in_words(),
            [
                "Only these documents may run: AWS-RunPatchBaseline.",
                "No scripts run.",
                "Updates may be installed sat,sun 22:00-05:00 and wed 01:00-03:00, in this host's time zone.",
                "The host is never rebooted.",
                "Each job's scripts together may use 512 MiB of memory, 150% of a core, 512 processes; their share of the \
                 disk is 50 where others have 100.",
            ]
        );
        assert_eq!(
            policy.summary(),
            "documents: AWS-RunPatchBaseline; no scripts; installation sat,sun 22:00-05:00 and wed 01:00-03:00 \
             (node's time); no reboot"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, said) in [
            ("shel = false", "unknown field `shel`"),
            ("shell = \"no\"", "invalid type"),
            ("shell = false\nshell = true", "line 2"),
            ("install = false\ninstall_hours = [\"mon 1:00-2:00\"]", "contradict"),
            ("install_hours = [\"someday 01:00-02:00\"]", "someday"),
            ("install_hours = [\"mon 01:00-25:00\"]", "25:00"),
            ("install_hours = [\"mon 01:00-01:00\"]", "00:00-24:00"),
            ("documents = [\"AWS *\"]", "AWS *"),
            ("[limits]\nmemory_max = \"lots\"", "memory_max"),
            ("[limits]\nmemory_max = \"1MiB\"", "at least"),
            ("[limits]\npids_max = 1", "at least"),
            ("[limits]\ncpu_max = \"0%\"", "cpu_max"),
            ("[limits]\nio_weight = 0", "io_weight"),
            ("[limits]\nmemory = \"1GiB\"", "unknown field `memory`"),
        ] {
            let error = NodePolicy::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(NodePolicy::parse(&"#".repeat(POLICY_BYTES_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,300}") {
            let _ = NodePolicy::parse(&text);
            let _ = Hours::parse(&text);
        }

        #[test]
        fn nearly_right_files_are_read_or_refused(at in 0usize..250, with in any::<char>()) {
            let text: String = EXAMPLE.chars().enumerate().map(|(n, c)| if n == at { with } else { c }).collect();
            if let Ok(policy) = NodePolicy::parse(&text) {
                prop_assert!(policy.in_words().len() == 5 && policy.summary().len() < POLICY_BYTES_MAX);
            }
        }

        /// Every minute of the week is within hours or within their complement, never both.
        #[test]
        fn hours_and_their_complement_share_no_minute(from in 0u16..1440, until in 0u16..1440, minute in 0u16..1440) {
            prop_assume!(from != until);
            let text = |a: u16, b: u16| format!("daily {:02}:{:02}-{:02}:{:02}", a / 60, a % 60, b / 60, b % 60);
            let now = LocalTime { weekday: Weekday::Sunday, minute };
            let one = Hours::parse(&text(from, until)).unwrap().contain(now);
            let other = Hours::parse(&text(until, from)).unwrap().contain(now);
            prop_assert!(one != other);
        }
    }
}
