//! Making, changing and deleting patch baselines.

use crate::validation;
use crate::{
    ApprovalDate, ApprovalRule, AvailableSecurityUpdates, BaselineOwner, BaselineReference, ComplianceLevel,
    DefaultBaseline, PatchBaseline, PatchFilter, PatchGroupRegistration, PatchSource, Refused, RejectedPatchesAction,
    Versioned, Write, aggregate, find_baseline,
};
use changes::{Changes, Revision};
use identifiers::{BaselineId, IdSource, Scope, Timestamp};
use packages::OperatingSystem;

/// How many own baselines one account may have in one region. Generous: AWS allows 50 unless asked.
pub const OWN_BASELINES_MAX: usize = 1000;

/// The members of a baseline that a caller may give or leave out. `None`: not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct BaselineMembers {
    pub description: Option<String>,
    pub global_filters: Option<Vec<PatchFilter>>,
    pub approval_rules: Option<Vec<RuleInput>>,
    pub approved_patches: Option<Vec<String>>,
    pub approved_patches_compliance_level: Option<ComplianceLevel>,
    pub approved_patches_enable_non_security: Option<bool>,
    pub rejected_patches: Option<Vec<String>>,
    pub rejected_patches_action: Option<RejectedPatchesAction>,
    pub sources: Option<Vec<PatchSource>>,
    pub available_security_updates_compliance_status: Option<AvailableSecurityUpdates>,
}

/// An approval rule as it is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleInput {
    /// Its conditions.
    pub filters: Vec<PatchFilter>,
    /// UNSPECIFIED if not given.
    pub compliance_level: Option<ComplianceLevel>,
    /// 0 to 360.
    pub approve_after_days: Option<i64>,
    /// `YYYY-MM-DD`.
    pub approve_until_date: Option<String>,
    /// False if not given.
    pub enable_non_security: Option<bool>,
}

/// What CreatePatchBaseline asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateBaseline {
    /// Its name.
    pub name: String,
    /// WINDOWS if not given, as with AWS.
    pub operating_system: Option<OperatingSystem>,
    /// The rest.
    pub members: BaselineMembers,
}

/// What UpdatePatchBaseline asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateBaseline {
    /// The new name.
    pub name: Option<String>,
    /// The new members; those not given stay as they are, unless `replace` is set.
    pub members: BaselineMembers,
    /// Whether members that are not given go back to their defaults; the name is then required.
    pub replace: bool,
}

/// Makes a baseline. `existing_count` is how many own ones there are.
///
/// # Errors
/// [`Refused::Validation`] and [`Refused::LimitExceeded`].
pub fn create_baseline(
    input: CreateBaseline,
    existing_count: usize,
    ids: &mut dyn IdSource,
    now: Timestamp,
) -> Result<(PatchBaseline, Changes<Write>), Refused> {
    let operating_system = input.operating_system.unwrap_or(OperatingSystem::Windows);
    let mut baseline = blank(BaselineId::generate(ids), input.name, operating_system, now);
    apply(&mut baseline, input.members)?;
    validation::baseline(&baseline)?;
    if existing_count >= OWN_BASELINES_MAX {
        return Err(Refused::LimitExceeded(format!(
            "There are {existing_count} patch baselines already; the limit is {OWN_BASELINES_MAX}."
        )));
    }
    let mut changes = Changes::new();
    changes.update(aggregate::baseline(&baseline.id), Revision(0));
    changes.writes.push(Write::BaselinePut(Box::new(baseline.clone())));
    Ok((baseline, changes))
}

/// Changes a baseline. `given` is the id as the caller gives it, `own` the row under it.
///
/// # Errors
/// [`Refused::DoesNotExist`] also for a malformed id, since the SSM model has no other error here;
/// [`Refused::Validation`] for bad members and for predefined baselines, which nobody can change.
pub fn update_baseline(
    given: &str,
    scope: &Scope,
    input: UpdateBaseline,
    own: &Versioned<Option<PatchBaseline>>,
    now: Timestamp,
) -> Result<(PatchBaseline, Changes<Write>), Refused> {
    let reference = BaselineReference::parse(given, scope).unwrap_or(BaselineReference::Elsewhere);
    let current = find_baseline(&reference, own)?;
    own_only(&current.row, "changed")?;
    let mut baseline = current.row;
    if input.replace {
        let Some(name) = input.name.clone() else {
            return Err(Refused::Validation("Name is required when Replace is true.".to_owned()));
        };
        let created_at = baseline.created_at;
        baseline = blank(baseline.id, name, baseline.operating_system, created_at);
    } else if let Some(name) = input.name {
        baseline.name = name;
    }
    apply(&mut baseline, input.members)?;
    baseline.modified_at = now;
    validation::baseline(&baseline)?;
    let mut changes = Changes::new();
    changes.update(aggregate::baseline(&baseline.id), current.revision);
    changes.writes.push(Write::BaselinePut(Box::new(baseline.clone())));
    Ok((baseline, changes))
}

/// Deletes a baseline. `default` is the default of the baseline's operating system (of any, if there is no baseline),
/// `groups` are the registrations of patch groups. Deleting what is not there succeeds, as with AWS.
///
/// # Errors
/// [`Refused::InUse`] while a patch group is registered for it or it is a default; [`Refused::Validation`] for a predefined
/// one and for a malformed id.
pub fn delete_baseline(
    given: &str,
    scope: &Scope,
    own: &Versioned<Option<PatchBaseline>>,
    default: &Versioned<Option<DefaultBaseline>>,
    groups: &[PatchGroupRegistration],
) -> Result<Changes<Write>, Refused> {
    let reference =
        BaselineReference::parse(given, scope).map_err(|m| Refused::Validation(Refused::from(m).to_string()))?;
    let Ok(current) = find_baseline(&reference, own) else { return Ok(Changes::new()) };
    own_only(&current.row, "deleted")?;
    let id = &current.row.id;
    let mut used: Vec<&str> = groups.iter().filter(|g| g.baseline == *id).map(|g| g.patch_group.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    if !used.is_empty() {
        return Err(Refused::InUse(format!(
            "PatchBaseline to be deleted is used for Patch Group: {}",
            used.join(", ")
        )));
    }
    let operating_system = current.row.operating_system;
    if default.row.as_ref().is_some_and(|row| row.baseline == *id) {
        return Err(Refused::InUse(format!(
            "PatchBaseline to be deleted is the default baseline for OperatingSystem {}",
            operating_system.as_str()
        )));
    }
    let mut changes = Changes::new();
    changes.update(aggregate::baseline(id), current.revision);
    changes.read.push((aggregate::default(operating_system), default.revision));
    changes.writes.push(Write::BaselineDelete(id.clone()));
    Ok(changes)
}

fn own_only(baseline: &PatchBaseline, done: &str) -> Result<(), Refused> {
    match baseline.owner {
        BaselineOwner::Own => Ok(()),
        BaselineOwner::Predefined => {
            Err(Refused::Validation(format!("{} is a predefined patch baseline and cannot be {done}.", baseline.name)))
        }
    }
}

fn blank(id: BaselineId, name: String, operating_system: OperatingSystem, created_at: Timestamp) -> PatchBaseline {
    PatchBaseline {
        id,
        owner: BaselineOwner::Own,
        name,
        operating_system,
        description: String::new(),
        global_filters: Vec::new(),
        approval_rules: Vec::new(),
        approved_patches: Vec::new(),
        approved_patches_compliance_level: ComplianceLevel::default(),
        approved_patches_enable_non_security: false,
        rejected_patches: Vec::new(),
        rejected_patches_action: RejectedPatchesAction::default(),
        sources: Vec::new(),
        available_security_updates_compliance_status: None,
        created_at,
        modified_at: created_at,
    }
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *place = value;
    }
}

/// Puts the given members into the baseline; the others stay.
fn apply(baseline: &mut PatchBaseline, members: BaselineMembers) -> Result<(), Refused> {
    if members.description.as_deref() == Some("") {
        return Err(Refused::Validation("Description must have 1 to 1024 characters.".to_owned()));
    }
    set(&mut baseline.description, members.description);
    set(&mut baseline.global_filters, members.global_filters);
    if let Some(rules) = members.approval_rules {
        baseline.approval_rules = rules.into_iter().map(rule).collect::<Result<_, _>>()?;
    }
    set(&mut baseline.approved_patches, members.approved_patches);
    set(&mut baseline.approved_patches_compliance_level, members.approved_patches_compliance_level);
    set(&mut baseline.approved_patches_enable_non_security, members.approved_patches_enable_non_security);
    set(&mut baseline.rejected_patches, members.rejected_patches);
    set(&mut baseline.rejected_patches_action, members.rejected_patches_action);
    set(&mut baseline.sources, members.sources);
    if members.available_security_updates_compliance_status.is_some() {
        baseline.available_security_updates_compliance_status = members.available_security_updates_compliance_status;
    }
    Ok(())
}

fn rule(input: RuleInput) -> Result<ApprovalRule, Refused> {
    let approve_after_days = input
        .approve_after_days
        .map(|days| u16::try_from(days).ok().filter(|days| *days <= validation::APPROVE_AFTER_DAYS_MAX))
        .map(|days| days.ok_or_else(|| Refused::Validation("ApproveAfterDays must be between 0 and 360.".to_owned())))
        .transpose()?;
    let approve_until_date =
        input.approve_until_date.map(|date| ApprovalDate::parse(&date)).transpose().map_err(Refused::Validation)?;
    Ok(ApprovalRule {
        filters: input.filters,
        compliance_level: input.compliance_level.unwrap_or_default(),
        approve_after_days,
        approve_until_date,
        enable_non_security: input.enable_non_security.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
