//! Patch baselines between wire and core: the one place where the shapes are converted.

use aws_wire::{Sensitive, ssm};
use identifiers::Scope;
use packages::OperatingSystem;
use patching::{
    ApprovalRule, AvailableSecurityUpdates, BaselineMembers, ComplianceLevel, PatchBaseline, PatchFilter,
    PatchFilterKey, PatchSource, RejectedPatchesAction, RuleInput, SourceConfiguration,
};

use crate::Error;

/// Reads an enumerated text; the model has checked it, so a miss is a value that the core does not know yet.
fn read<T>(member: &str, text: Option<&String>, parse: fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
    text.map(|text| parse(text).ok_or_else(|| Error::validation(format!("{member} does not know '{text}'."))))
        .transpose()
}

/// Reads an operating system; absent means WINDOWS, as in AWS.
pub(super) fn operating_system(text: Option<&String>) -> Result<OperatingSystem, Error> {
    Ok(read("OperatingSystem", text, OperatingSystem::parse)?.unwrap_or(OperatingSystem::Windows))
}

/// The members that Create and Update have in common, as the caller gave them.
pub(super) struct Given {
    pub(super) description: Option<String>,
    pub(super) global_filters: Option<ssm::PatchFilterGroup>,
    pub(super) approval_rules: Option<ssm::PatchRuleGroup>,
    pub(super) approved_patches: Option<Vec<String>>,
    pub(super) approved_patches_compliance_level: Option<String>,
    pub(super) approved_patches_enable_non_security: Option<bool>,
    pub(super) rejected_patches: Option<Vec<String>>,
    pub(super) rejected_patches_action: Option<String>,
    pub(super) sources: Option<Vec<ssm::PatchSource>>,
    pub(super) available_security_updates_compliance_status: Option<String>,
}

impl Given {
    pub(super) fn members(self) -> Result<BaselineMembers, Error> {
        let rules = |group: ssm::PatchRuleGroup| {
            group.patch_rules.unwrap_or_default().into_iter().map(rule).collect::<Result<Vec<_>, _>>()
        };
        Ok(BaselineMembers {
            description: self.description,
            global_filters: self.global_filters.map(filters).transpose()?,
            approval_rules: self.approval_rules.map(rules).transpose()?,
            approved_patches: self.approved_patches,
            approved_patches_compliance_level: read(
                "ApprovedPatchesComplianceLevel",
                self.approved_patches_compliance_level.as_ref(),
                ComplianceLevel::parse,
            )?,
            approved_patches_enable_non_security: self.approved_patches_enable_non_security,
            rejected_patches: self.rejected_patches,
            rejected_patches_action: read(
                "RejectedPatchesAction",
                self.rejected_patches_action.as_ref(),
                RejectedPatchesAction::parse,
            )?,
            sources: self.sources.map(|sources| sources.into_iter().map(source).collect()),
            available_security_updates_compliance_status: read(
                "AvailableSecurityUpdatesComplianceStatus",
                self.available_security_updates_compliance_status.as_ref(),
                AvailableSecurityUpdates::parse,
            )?,
        })
    }
}

fn filters(group: ssm::PatchFilterGroup) -> Result<Vec<PatchFilter>, Error> {
    let filter = |filter: ssm::PatchFilter| {
        let key = read("PatchFilterKey", filter.key.as_ref(), PatchFilterKey::parse)?;
        let key = key.ok_or_else(|| Error::validation("A patch filter needs a Key."))?;
        Ok(PatchFilter { key, values: filter.values.unwrap_or_default() })
    };
    group.patch_filters.unwrap_or_default().into_iter().map(filter).collect()
}

fn rule(rule: ssm::PatchRule) -> Result<RuleInput, Error> {
    Ok(RuleInput {
        filters: filters(rule.patch_filter_group.unwrap_or_default())?,
        compliance_level: read("ComplianceLevel", rule.compliance_level.as_ref(), ComplianceLevel::parse)?,
        approve_after_days: rule.approve_after_days.map(i64::from),
        approve_until_date: rule.approve_until_date,
        enable_non_security: rule.enable_non_security,
    })
}

fn source(source: ssm::PatchSource) -> PatchSource {
    PatchSource {
        name: source.name.unwrap_or_default(),
        products: source.products.unwrap_or_default(),
        configuration: SourceConfiguration::new(source.configuration.map(Sensitive::into_exposed).unwrap_or_default()),
    }
}

/// A baseline as the answers of Get and Update show it.
pub(super) struct Shown {
    pub(super) global_filters: ssm::PatchFilterGroup,
    pub(super) approval_rules: ssm::PatchRuleGroup,
    pub(super) sources: Vec<ssm::PatchSource>,
    /// Only Windows baselines have it.
    pub(super) available_security_updates: Option<String>,
}

impl Shown {
    pub(super) fn of(baseline: &PatchBaseline) -> Self {
        let sources = baseline.sources.iter().map(|source| ssm::PatchSource {
            name: Some(source.name.clone()),
            products: Some(source.products.clone()),
            configuration: Some(Sensitive::from(source.configuration.expose().to_owned())),
        });
        Self {
            global_filters: shown_filters(&baseline.global_filters),
            approval_rules: ssm::PatchRuleGroup {
                patch_rules: Some(baseline.approval_rules.iter().map(shown_rule).collect()),
            },
            sources: sources.collect(),
            available_security_updates: baseline
                .available_security_updates_compliance_status
                .map(|status| status.as_str().to_owned()),
        }
    }
}

fn shown_filters(filters: &[PatchFilter]) -> ssm::PatchFilterGroup {
    let shown = |filter: &PatchFilter| ssm::PatchFilter {
        key: Some(filter.key.as_str().to_owned()),
        values: Some(filter.values.clone()),
    };
    ssm::PatchFilterGroup { patch_filters: Some(filters.iter().map(shown).collect()) }
}

fn shown_rule(rule: &ApprovalRule) -> ssm::PatchRule {
    ssm::PatchRule {
        patch_filter_group: Some(shown_filters(&rule.filters)),
        compliance_level: Some(rule.compliance_level.as_str().to_owned()),
        approve_after_days: rule.approve_after_days.map(i32::from),
        approve_until_date: rule.approve_until_date.as_ref().map(|date| date.as_str().to_owned()),
        enable_non_security: Some(rule.enable_non_security),
    }
}

/// The ARN that a caller's text stands for in `authorise`, whether or not there is such a baseline.
pub(super) fn named_arn(given: Option<&String>, scope: &Scope) -> String {
    match given.map(String::as_str).unwrap_or_default() {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        id => scope.ssm_arn(&format!("patchbaseline/{id}")),
    }
}
