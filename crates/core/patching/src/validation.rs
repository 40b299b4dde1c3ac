//! What a well-formed patch baseline is: the limits of the SSM model, and what each operating system's packages have.

use crate::reference::shortened;
use crate::{ApprovalRule, PatchBaseline, PatchFilter, PatchFilterKey, PatchSource, Refused};
use packages::OperatingSystem;

/// The longest approval delay, in days.
pub(crate) const APPROVE_AFTER_DAYS_MAX: u16 = 360;
const RULES_MAX: usize = 10;
const FILTERS_MAX: usize = 4;
const FILTER_VALUES_MAX: usize = 20;
const LISTED_PATCHES_MAX: usize = 50;
const SOURCES_MAX: usize = 20;
const PRODUCTS_MAX: usize = 20;

/// The priorities of Debian packages (Debian Policy 2.5, with the deprecated `extra`), spelled as Patch Manager does.
const PRIORITIES: [&str; 5] = ["Required", "Important", "Standard", "Optional", "Extra"];

type Checked = Result<(), Refused>;

/// Checks a whole baseline.
///
/// # Errors
/// [`Refused::Validation`] for the first rule that is broken.
pub(crate) fn baseline(baseline: &PatchBaseline) -> Checked {
    let os = baseline.operating_system;
    let linux = is_linux(os);
    require(is_name(&baseline.name, 128), || {
        "Name must have 3 to 128 characters out of letters, digits, '_', '-' and '.'.".to_owned()
    })?;
    require(baseline.description.chars().count() <= 1024, || "Description must have 1 to 1024 characters.".to_owned())?;
    filters("GlobalFilters", os, &baseline.global_filters)?;
    at_most("ApprovalRules", baseline.approval_rules.len(), RULES_MAX)?;
    for (index, one) in baseline.approval_rules.iter().enumerate() {
        rule(&format!("Approval rule {}", index + 1), os, one)?;
    }
    listed("ApprovedPatches", os, &baseline.approved_patches)?;
    listed("RejectedPatches", os, &baseline.rejected_patches)?;
    require(linux || !baseline.approved_patches_enable_non_security, || {
        format!("ApprovedPatchesEnableNonSecurity is for Linux, not for {}.", os.as_str())
    })?;
    require(linux || baseline.sources.is_empty(), || format!("Sources are for Linux, not for {}.", os.as_str()))?;
    at_most("Sources", baseline.sources.len(), SOURCES_MAX)?;
    baseline.sources.iter().try_for_each(source)?;
    let windows = os == OperatingSystem::Windows;
    require(windows || baseline.available_security_updates_compliance_status.is_none(), || {
        format!("AvailableSecurityUpdatesComplianceStatus is for WINDOWS, not for {}.", os.as_str())
    })
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Refused::Validation(message())) }
}

fn at_most(what: &str, count: usize, max: usize) -> Checked {
    require(count <= max, || format!("{what} must have at most {max} items, not {count}."))
}

fn length(what: &str, text: &str, max: usize) -> Checked {
    require((1..=max).contains(&text.chars().count()), || format!("{what} must have 1 to {max} characters."))
}

fn is_name(text: &str, max: usize) -> bool {
    (3..=max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn is_linux(os: OperatingSystem) -> bool {
    !matches!(os, OperatingSystem::Windows | OperatingSystem::Macos)
}

/// The filter keys that the packages of an operating system have (PatchFilter in the SSM model).
pub(crate) fn filter_keys(os: OperatingSystem) -> &'static [PatchFilterKey] {
    use PatchFilterKey::{Classification, MsrcSeverity, PatchSet, Priority, Product, ProductFamily, Section, Severity};
    match os {
        OperatingSystem::Windows => &[PatchSet, Product, ProductFamily, Classification, MsrcSeverity],
        OperatingSystem::Macos => &[Product, Classification],
        _ if os.uses_apt() => &[Product, Priority, Section],
        _ => &[Product, Classification, Severity],
    }
}

fn filters(what: &str, os: OperatingSystem, filters: &[PatchFilter]) -> Checked {
    at_most(&format!("{what}: PatchFilters"), filters.len(), FILTERS_MAX)?;
    for filter in filters {
        let allowed = filter_keys(os);
        require(allowed.contains(&filter.key), || {
            let allowed: Vec<&str> = allowed.iter().map(|key| key.as_str()).collect();
            let os = os.as_str();
            format!("{what}: the filter key {} is not for {os}, which has {}.", filter.key, allowed.join(", "))
        })?;
        require(!filter.values.is_empty(), || format!("{what}: the filter {} has no values.", filter.key))?;
        at_most(&format!("{what}: the values of the filter {}", filter.key), filter.values.len(), FILTER_VALUES_MAX)?;
        for value in &filter.values {
            length(&format!("{what}: a value of the filter {}", filter.key), value, 64)?;
            let known = filter.key != PatchFilterKey::Priority || value == "*" || PRIORITIES.contains(&value.as_str());
            require(known, || {
                format!("{what}: '{}' is not a PRIORITY: those are {}.", shortened(value), PRIORITIES.join(", "))
            })?;
        }
    }
    Ok(())
}

/// Outside apt exactly one of ApproveAfterDays and ApproveUntilDate is required. For apt neither has an effect: either may
/// be given, as Terraform always does, but not both.
fn rule(what: &str, os: OperatingSystem, rule: &ApprovalRule) -> Checked {
    filters(what, os, &rule.filters)?;
    let given = usize::from(rule.approve_after_days.is_some()) + usize::from(rule.approve_until_date.is_some());
    require(given == 1 || (given == 0 && os.uses_apt()), || {
        format!("{what} must have exactly one of ApproveAfterDays and ApproveUntilDate.")
    })?;
    require(rule.approve_after_days.is_none_or(|days| days <= APPROVE_AFTER_DAYS_MAX), || {
        format!("{what}: ApproveAfterDays must be between 0 and {APPROVE_AFTER_DAYS_MAX}.")
    })?;
    require(is_linux(os) || !rule.enable_non_security, || {
        format!("{what}: EnableNonSecurity is for Linux, not for {}.", os.as_str())
    })
}

fn listed(what: &str, os: OperatingSystem, list: &[String]) -> Checked {
    at_most(what, list.len(), LISTED_PATCHES_MAX)?;
    for item in list {
        length(&format!("An item of {what}"), item, 100)?;
        let (fits, form) = listed_form(os, item);
        require(fits, || format!("{what}: '{}' is not of the form for {}: {form}.", shortened(item), os.as_str()))?;
    }
    Ok(())
}

/// Whether an item of the lists of approved and rejected patches has a form that can match anything (user guide, "Package
/// name formats for approved and rejected patch lists"), and what that form is. What could match nothing is refused
/// rather than kept without effect.
fn listed_form(os: OperatingSystem, item: &str) -> (bool, &'static str) {
    let stars = item.bytes().filter(|b| *b == b'*').count();
    let graphic = item.bytes().all(|b| b.is_ascii_graphic());
    match os {
        OperatingSystem::Windows => {
            (is_windows_patch(item), "the id of an article or bulletin, e.g. KB2032276 or MS10-048")
        }
        OperatingSystem::Macos => (stars == 0 && !item.chars().any(char::is_control), "a package's full name"),
        _ if os.uses_apt() => (is_debian_name(item), "a package's name without version, architecture or wildcard"),
        OperatingSystem::Suse => {
            (graphic && stars <= 1, "a patch's or a package file's name, with one * at most and no spaces")
        }
        _ => (
            graphic && stars <= 1,
            "an advisory, CVE or Bugzilla id, or a package's full name, with one * at most and no spaces",
        ),
    }
}

/// Debian Policy 5.6.1 asks for lower case; the documentation's own example has capitals.
fn is_debian_name(item: &str) -> bool {
    item.starts_with(|c: char| c.is_ascii_alphanumeric())
        && item.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'))
}

fn is_windows_patch(item: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let bulletin = || item.strip_prefix("MS").and_then(|rest| rest.split_once('-'));
    item.strip_prefix("KB").is_some_and(digits)
        || bulletin().is_some_and(|(year, number)| digits(year) && digits(number))
}

fn source(source: &PatchSource) -> Checked {
    require(is_name(&source.name, 50), || {
        "A source's Name must have 3 to 50 characters out of letters, digits, '_', '-' and '.'.".to_owned()
    })?;
    let what = format!("Source {}", source.name);
    require(!source.products.is_empty(), || format!("{what} has no Products."))?;
    at_most(&format!("{what}: Products"), source.products.len(), PRODUCTS_MAX)?;
    source.products.iter().try_for_each(|product| length(&format!("{what}: a product"), product, 128))?;
    length(&format!("{what}: Configuration"), source.configuration.expose(), 1024)
}
