//! What a patch baseline is.

use crate::reference;
use crate::{AvailableSecurityUpdates, ComplianceLevel, PatchFilterKey, RejectedPatchesAction};
use identifiers::{BaselineId, Region, Scope, Timestamp};
use packages::OperatingSystem;
use serde::{Deserialize, Serialize};

/// Whose a patch baseline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineOwner {
    /// Made in this account (`Self` in the API's filters).
    Own,
    /// One of AWS's, the same for all (`AWS` in the API's filters); immutable.
    Predefined,
}

/// Which patches are approved for the nodes it governs. The row of the database, and what a node is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchBaseline {
    /// The bare id; [`PatchBaseline::public_id`] gives the form that the API shows.
    pub id: BaselineId,
    /// Whose it is.
    pub owner: BaselineOwner,
    /// Its name; not unique.
    pub name: String,
    /// For which operating system; it cannot be changed.
    pub operating_system: OperatingSystem,
    /// Free text; empty if none was given.
    pub description: String,
    /// What a patch must match before any rule is asked.
    pub global_filters: Vec<PatchFilter>,
    /// Each may approve a patch.
    pub approval_rules: Vec<ApprovalRule>,
    /// Approved by name, past filters and rules.
    pub approved_patches: Vec<String>,
    /// The compliance level of what `approved_patches` approves.
    pub approved_patches_compliance_level: ComplianceLevel,
    /// Whether `approved_patches` also approves what comes from no security archive.
    pub approved_patches_enable_non_security: bool,
    /// Rejected by name; this wins over all approvals.
    pub rejected_patches: Vec<String>,
    /// What becomes of rejected packages that are present or needed.
    pub rejected_patches_action: RejectedPatchesAction,
    /// Repositories that replace the node's own during a run.
    pub sources: Vec<PatchSource>,
    /// How unapproved security updates count; Windows only.
    pub available_security_updates_compliance_status: Option<AvailableSecurityUpdates>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}

/// One condition: some value must match. The values of one filter are alternatives, several filters must all match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchFilter {
    /// What is looked at.
    pub key: PatchFilterKey,
    /// The values; `*` matches everything.
    pub values: Vec<String>,
}

/// Approves the patches that match all its filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRule {
    /// The conditions.
    pub filters: Vec<PatchFilter>,
    /// The compliance level of what this rule approves.
    pub compliance_level: ComplianceLevel,
    /// Approved so many days after release, 0 to 360. Without effect for apt, whose archives carry no dates.
    pub approve_after_days: Option<u16>,
    /// Approved if released up to this day. Without effect for apt.
    pub approve_until_date: Option<ApprovalDate>,
    /// Whether the rule also approves what is no security update.
    pub enable_non_security: bool,
}

/// A day, `YYYY-MM-DD`, in UTC and inclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalDate(String);

impl ApprovalDate {
    /// Reads a day of the calendar.
    ///
    /// # Errors
    /// With the message for the caller when the text is not one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        if shape && Timestamp::parse(&format!("{text}T00:00:00Z")).is_ok() {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("ApproveUntilDate must be a date of the form YYYY-MM-DD, not '{}'", reference::shortened(text)))
        }
    }

    /// The day as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ApprovalDate {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<ApprovalDate> for String {
    fn from(date: ApprovalDate) -> Self {
        date.0
    }
}

/// A repository that replaces a node's own ones during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchSource {
    /// Its name.
    pub name: String,
    /// For nodes of which products, e.g. `Debian12`; `*` for all.
    pub products: Vec<String>,
    /// The repository's configuration.
    pub configuration: SourceConfiguration,
}

/// The text of a repository's configuration. It may hold credentials, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceConfiguration(String);

impl SourceConfiguration {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the API's answer and the package manager alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SourceConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceConfiguration(not shown)")
    }
}

impl PatchBaseline {
    /// The id that the API lists and takes: the ARN of a predefined baseline, the bare id of an own one.
    #[must_use]
    pub fn public_id(&self, region: &Region) -> String {
        match self.owner {
            BaselineOwner::Own => self.id.to_string(),
            BaselineOwner::Predefined => reference::predefined_arn(region, &self.id),
        }
    }

    /// The ARN, for authorisation and audit.
    #[must_use]
    pub fn arn(&self, scope: &Scope) -> String {
        match self.owner {
            BaselineOwner::Own => scope.ssm_arn(&format!("patchbaseline/{}", self.id)),
            BaselineOwner::Predefined => reference::predefined_arn(&scope.region, &self.id),
        }
    }

    /// The baseline as JSON for the audit log: without the configuration of its sources.
    #[must_use]
    pub fn audit_json(&self) -> serde_json::Value {
        let mut shown = self.clone();
        for source in &mut shown.sources {
            source.configuration = SourceConfiguration("(not shown)".to_owned());
        }
        serde_json::to_value(shown).unwrap_or_default()
    }
}
