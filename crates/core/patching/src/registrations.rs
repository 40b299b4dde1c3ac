//! Which baseline governs what: defaults of operating systems, patch groups, and the baseline that results for a node.

use crate::predefined::predefined_by_id;
use crate::{
    BaselineOwner, BaselineReference, PatchBaseline, Refused, Versioned, Write, aggregate, find_baseline,
    predefined_default,
};
use changes::Changes;
use identifiers::{BaselineId, PatchGroupName, Scope};
use packages::OperatingSystem;
use serde::{Deserialize, Serialize};

/// The default baseline of an operating system, where one was chosen. Without a row the predefined default counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultBaseline {
    /// For which operating system.
    pub operating_system: OperatingSystem,
    /// Which baseline.
    pub baseline: BaselineId,
    /// Whether it is a predefined one.
    pub predefined: bool,
}

/// A patch group's baseline for one operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchGroupRegistration {
    /// The group.
    pub patch_group: PatchGroupName,
    /// For which operating system.
    pub operating_system: OperatingSystem,
    /// Which baseline.
    pub baseline: BaselineId,
    /// Whether it is a predefined one.
    pub predefined: bool,
}

/// The baseline that governs, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveBaseline {
    /// The baseline.
    pub baseline: PatchBaseline,
    /// Why.
    pub why: Why,
}

/// Why a baseline governs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Why {
    /// It is registered for the patch group.
    PatchGroup {
        /// The group.
        patch_group: PatchGroupName,
    },
    /// It was made the default of its operating system in this account.
    AccountDefault,
    /// It is the predefined default of its operating system.
    PredefinedDefault,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PatchGroup { patch_group } => write!(f, "registered for the patch group {patch_group}"),
            Self::AccountDefault => f.write_str("the account's default for this operating system"),
            Self::PredefinedDefault => f.write_str("the predefined default for this operating system"),
        }
    }
}

/// Notes that a decision depends on `baseline`. An own one is also touched, so that deleting it at the same moment
/// conflicts instead of leaving a registration behind that points nowhere.
fn depend_on(changes: &mut Changes<Write>, baseline: &Versioned<PatchBaseline>) {
    if baseline.row.owner == BaselineOwner::Own {
        changes.update(aggregate::baseline(&baseline.row.id), baseline.revision);
    }
}

/// Makes `baseline` the default of its operating system. `current` is the row of that operating system.
#[must_use]
pub fn register_default(
    baseline: &Versioned<PatchBaseline>,
    current: &Versioned<Option<DefaultBaseline>>,
) -> Changes<Write> {
    let mut changes = Changes::new();
    let operating_system = baseline.row.operating_system;
    depend_on(&mut changes, baseline);
    changes.update(aggregate::default(operating_system), current.revision);
    changes.writes.push(Write::DefaultPut(DefaultBaseline {
        operating_system,
        baseline: baseline.row.id.clone(),
        predefined: baseline.row.owner == BaselineOwner::Predefined,
    }));
    changes
}

/// Registers `baseline` for a patch group. `current` is the row of the group for the baseline's operating system.
/// The same pair once more changes nothing.
///
/// # Errors
/// [`Refused::AlreadyExists`] when the group has another baseline for this operating system.
pub fn register_patch_group(
    baseline: &Versioned<PatchBaseline>,
    patch_group: &PatchGroupName,
    current: &Versioned<Option<PatchGroupRegistration>>,
) -> Result<Changes<Write>, Refused> {
    let operating_system = baseline.row.operating_system;
    let mut changes = Changes::new();
    match &current.row {
        Some(row) if row.baseline == baseline.row.id => return Ok(changes),
        Some(_) => {
            return Err(Refused::AlreadyExists(format!(
                "Patch Group baseline already has a baseline registered for OperatingSystem {}.",
                operating_system.as_str()
            )));
        }
        None => {}
    }
    depend_on(&mut changes, baseline);
    changes.update(aggregate::patch_group(patch_group, operating_system), current.revision);
    changes.writes.push(Write::PatchGroupPut(PatchGroupRegistration {
        patch_group: patch_group.clone(),
        operating_system,
        baseline: baseline.row.id.clone(),
        predefined: baseline.row.owner == BaselineOwner::Predefined,
    }));
    Ok(changes)
}

/// Takes a baseline away from a patch group. `current` are the group's rows, of all operating systems. A pair that is not
/// registered changes nothing: the SSM model has no error for it.
///
/// # Errors
/// [`Refused::InvalidResourceId`] when `given` cannot be the id of a baseline.
pub fn deregister_patch_group(
    given: &str,
    scope: &Scope,
    patch_group: &PatchGroupName,
    current: &[Versioned<PatchGroupRegistration>],
) -> Result<Changes<Write>, Refused> {
    let reference = BaselineReference::parse(given, scope)?;
    let mut changes = Changes::new();
    let named = |row: &PatchGroupRegistration| match &reference {
        BaselineReference::Own(id) => !row.predefined && row.baseline == *id,
        BaselineReference::Predefined(id) => row.predefined && row.baseline == *id,
        BaselineReference::Elsewhere => false,
    };
    for registration in current.iter().filter(|r| r.row.patch_group == *patch_group && named(&r.row)) {
        let operating_system = registration.row.operating_system;
        changes.update(aggregate::patch_group(patch_group, operating_system), registration.revision);
        changes.writes.push(Write::PatchGroupDelete { patch_group: patch_group.clone(), operating_system });
    }
    Ok(changes)
}

/// The baseline that governs the nodes of an operating system: the patch group's, else the account's default, else the
/// predefined default.
///
/// `registrations`, `defaults` and `own` may hold more rows than concern this question. `None` never comes, since every
/// operating system has a predefined default.
#[must_use]
pub fn resolve_baseline(
    patch_group: Option<&PatchGroupName>,
    operating_system: OperatingSystem,
    registrations: &[PatchGroupRegistration],
    defaults: &[DefaultBaseline],
    own: &[PatchBaseline],
) -> Option<EffectiveBaseline> {
    let find = |id: &BaselineId, predefined: bool| {
        if predefined { predefined_by_id(id) } else { own.iter().find(|row| row.id == *id).cloned() }
    };
    let of_group = patch_group.and_then(|group| {
        let row =
            registrations.iter().find(|row| row.patch_group == *group && row.operating_system == operating_system)?;
        let baseline = find(&row.baseline, row.predefined)?;
        Some(EffectiveBaseline { baseline, why: Why::PatchGroup { patch_group: group.clone() } })
    });
    let of_account = || {
        let row = defaults.iter().find(|row| row.operating_system == operating_system)?;
        let baseline = find(&row.baseline, row.predefined)?;
        Some(EffectiveBaseline { baseline, why: Why::AccountDefault })
    };
    let of_everyone = || {
        let baseline = predefined_default(operating_system)?;
        Some(EffectiveBaseline { baseline, why: Why::PredefinedDefault })
    };
    of_group.or_else(of_account).or_else(of_everyone)
}

/// Reads what a caller gives as a baseline's id, and finds it: for the operations that answer an unknown id with
/// `DoesNotExistException` and a malformed one with `InvalidResourceId`.
///
/// # Errors
/// These two.
pub fn named_baseline(
    given: &str,
    scope: &Scope,
    own: &Versioned<Option<PatchBaseline>>,
) -> Result<Versioned<PatchBaseline>, Refused> {
    find_baseline(&BaselineReference::parse(given, scope)?, own)
}

#[cfg(test)]
mod tests;
