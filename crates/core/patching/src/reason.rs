//! Why a patch is in its state.

use crate::{PatchFilterKey, RejectedPatchesAction};
use packages::InstallState;
use serde::{Deserialize, Serialize};

/// Why a patch is in its state. `Display` makes a sentence of it, for people.
///
/// Rules are counted from 0 in the value and from 1 in the sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reason {
    /// Missing: a rule approves the newer version.
    ApprovedByRule {
        /// Which rule.
        rule: u32,
    },
    /// Missing: the list of approved patches names the package.
    ApprovedByList,
    /// The list of rejected patches names the package.
    Rejected {
        /// What the baseline says of rejected packages.
        action: RejectedPatchesAction,
    },
    /// A newer version is offered, but by no security archive.
    NotFromSecurityArchive,
    /// A newer version is offered, but a global filter leaves it out.
    FilteredOut {
        /// The first filter that does not match.
        filter: PatchFilterKey,
    },
    /// A newer version is offered, but no rule approves it.
    NoRuleMatches,
    /// Nothing newer is offered.
    UpToDate {
        /// How the baseline sees the installed version.
        coverage: Coverage,
    },
    /// The newer version is approved, but the package is on hold.
    Held,
    /// The newer version is approved, but still being rolled out in phases.
    Phased {
        /// The share of hosts that may have it now.
        percentage: u8,
    },
    /// A pin keeps the newer version from being apt's candidate.
    Pinned {
        /// The pin's priority.
        priority: i32,
    },
    /// No archive offers the installed version any more, nor a newer one.
    NotOfferedAnyMore,
    /// Nothing newer is offered, but dpkg has not finished installing this version.
    NotFullyInstalled {
        /// How far it has come.
        state: InstallState,
    },
    /// Installed by Careen; the node has not been rebooted since.
    PendingReboot,
    /// Its installation was tried in this run and failed.
    InstallFailed {
        /// What the package manager said.
        message: String,
    },
}

/// Whether the baseline would approve the installed version, were it offered as an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Coverage {
    /// A rule approves it.
    ApprovedByRule {
        /// Which rule.
        rule: u32,
    },
    /// The list of approved patches names the package.
    ApprovedByList,
    /// No security archive offers it.
    NotFromSecurityArchive,
    /// A global filter leaves it out.
    FilteredOut {
        /// The first filter that does not match.
        filter: PatchFilterKey,
    },
    /// No rule approves it.
    NoRuleMatches,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApprovedByRule { rule } => write!(f, "approval rule {} approves the newer version", rule + 1),
            Self::ApprovedByList => f.write_str("the newer version is approved by the list of approved patches"),
            Self::Rejected { action: RejectedPatchesAction::Block } => {
                f.write_str("the list of rejected patches names it, and rejected patches are blocked")
            }
            Self::Rejected { action: RejectedPatchesAction::AllowAsDependency } => {
                f.write_str("the list of rejected patches names it; it is changed only where another package needs it")
            }
            Self::NotFromSecurityArchive => f.write_str("a newer version is offered, but by no security archive"),
            Self::FilteredOut { filter } => {
                write!(f, "a newer version is offered, but the global filter {filter} leaves it out")
            }
            Self::NoRuleMatches => f.write_str("a newer version is offered, but no approval rule matches it"),
            Self::UpToDate { coverage } => write!(f, "nothing newer is offered; {coverage}"),
            Self::Held => f.write_str("the newer version is approved, but the package is on hold"),
            Self::Phased { percentage } => write!(
                f,
                "the newer version is approved, but so far offered to {percentage} % of hosts, and not to this one"
            ),
            Self::Pinned { priority } => {
                write!(f, "a newer version exists, but a pin (priority {priority}) keeps apt from taking it")
            }
            Self::NotOfferedAnyMore => f.write_str("no archive offers the installed version any more, nor a newer one"),
            Self::NotFullyInstalled { state } => {
                write!(f, "dpkg has not finished installing it ({})", state.as_str())
            }
            Self::PendingReboot => f.write_str("installed, but the node has not been rebooted since"),
            Self::InstallFailed { message } => write!(f, "its installation failed: {message}"),
        }
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ApprovedByRule { rule } => write!(f, "approval rule {} covers the installed version", rule + 1),
            Self::ApprovedByList => f.write_str("the list of approved patches covers the installed version"),
            Self::NotFromSecurityArchive => f.write_str("the installed version comes from no security archive"),
            Self::FilteredOut { filter } => write!(f, "the global filter {filter} leaves the installed version out"),
            Self::NoRuleMatches => f.write_str("no approval rule matches the installed version"),
        }
    }
}
