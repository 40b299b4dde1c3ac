//! How much an agent may say. A node is root on its host and may lie about it, but it must not fill the server, stall
//! the others' writes, or write control characters into the log.

use agent_wire::{InventoryReport, PatchRunReport, ToServerBody};
use identifiers::Timestamp;

/// More packages than any host has.
const PACKAGES_MAX: usize = 50_000;

/// The longest name or version, in bytes. Debian's longest are below 200.
const TEXT_BYTES_MAX: usize = 1024;

/// The longest reason of a refusal, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The most notes and warnings of one report.
const NOTES_MAX: usize = 100;

/// Cuts texts for people and instants of the future; says what cannot be taken at all.
pub(super) fn bound(body: &mut ToServerBody, now: Timestamp) -> Result<(), &'static str> {
    match body {
        ToServerBody::JobRefused { reason, .. } | ToServerBody::OrderRefused { reason, .. } => {
            *reason = clean(reason);
            Ok(())
        }
        ToServerBody::ImpostorMet { at, address, reason, .. } => {
            (*address, *reason) = (clean(address), clean(reason));
            *at = (*at).min(now);
            Ok(())
        }
        ToServerBody::StepStarted { step, at, .. } => {
            *at = (*at).min(now);
            fits([step.as_str()])
        }
        ToServerBody::Output(chunk) => fits([chunk.step.as_str()]),
        ToServerBody::Inventory(report) => inventory(report, now),
        ToServerBody::PatchRun(run) => patch_run(run, now),
        _ => Ok(()),
    }
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect()
}

fn fits<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<(), &'static str> {
    match texts.into_iter().all(|text| text.len() <= TEXT_BYTES_MAX) {
        true => Ok(()),
        false => Err("a name or version of a node's report is too long"),
    }
}

fn digest(text: &str) -> Result<(), &'static str> {
    match text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err("the digest of a node's inventory is none"),
    }
}

fn inventory(report: &mut InventoryReport, now: Timestamp) -> Result<(), &'static str> {
    report.at = report.at.min(now);
    digest(&report.to_digest)?;
    report.from_digest.as_deref().map_or(Ok(()), digest)?;
    if report.present.len() > PACKAGES_MAX || report.absent.len() > PACKAGES_MAX {
        return Err("a node's inventory has more packages than any host");
    }
    let distribution = &report.distribution;
    fits([&distribution.id, &distribution.name, &distribution.version_id, &distribution.codename].map(String::as_str))?;
    fits([distribution.pretty_name.as_str()])?;
    for package in &report.present {
        let texts = [&package.name, &package.architecture, &package.version, &package.source, &package.source_version];
        fits(texts.map(String::as_str))?;
        fits([package.section.as_str(), package.priority.as_str()])?;
    }
    report.absent.iter().try_for_each(|key| fits([key.name.as_str(), key.architecture.as_str()]))
}

fn patch_run(run: &mut PatchRunReport, now: Timestamp) -> Result<(), &'static str> {
    let report = &mut run.report;
    report.summary.started_at = report.summary.started_at.min(now);
    report.summary.ended_at = report.summary.ended_at.min(now);
    report.notes.truncate(NOTES_MAX);
    report.summary.notes.clear();
    if report.rows.len() > PACKAGES_MAX || run.offered.len() > PACKAGES_MAX {
        return Err("a node's report has more patches than any host");
    }
    fits([report.summary.patch_group.as_str(), report.summary.snapshot_id.as_str(), run.report_id.as_str()])?;
    for row in &report.rows {
        let texts = [&row.name, &row.architecture, &row.version, &row.classification, &row.severity];
        fits(texts.map(String::as_str))?;
        fits([row.installed_version.as_str()].into_iter().chain(row.available_version.as_deref()))?;
    }
    run.offered.iter().try_for_each(|o| fits([o.name.as_str(), o.architecture.as_str(), o.version.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_wire::JobRefusal;
    use identifiers::{JobId, SeededIds};
    use packages::{Distribution, PackageKey};

    fn report() -> InventoryReport {
        InventoryReport {
            at: Timestamp::from_seconds(2_000),
            command_id: None,
            distribution: Distribution::default(),
            from_digest: None,
            to_digest: "0".repeat(64),
            present: Vec::new(),
            absent: Vec::new(),
        }
    }

    fn bounded(report: InventoryReport) -> Result<InventoryReport, &'static str> {
        let mut body = ToServerBody::Inventory(Box::new(report));
        bound(&mut body, Timestamp::from_seconds(1_000))?;
        match body {
            ToServerBody::Inventory(report) => Ok(*report),
            _ => Err("another kind"),
        }
    }

    #[test]
    fn an_inventory_of_the_future_counts_as_of_now() {
        assert_eq!(bounded(report()).unwrap().at, Timestamp::from_seconds(1_000));
    }

    #[test]
    fn what_no_host_has_is_refused() {
        assert!(bounded(InventoryReport { to_digest: "x".repeat(16 << 20), ..report() }).is_err());
        let key = |name: &str| PackageKey { name: name.to_owned(), architecture: "amd64".to_owned() };
        assert!(bounded(InventoryReport { absent: vec![key("a"); PACKAGES_MAX + 1], ..report() }).is_err());
        assert!(bounded(InventoryReport { absent: vec![key(&"a".repeat(TEXT_BYTES_MAX + 1))], ..report() }).is_err());
        assert!(bounded(InventoryReport { absent: vec![key("a")], ..report() }).is_ok());
    }

    #[test]
    fn a_reason_is_short_and_on_one_line() {
        let job_id = JobId::generate(&mut SeededIds::new(1));
        let reason = format!("a\n\x1b]52;{}", "b".repeat(9_000));
        let mut body = ToServerBody::JobRefused { job_id, reason, cause: JobRefusal::Other };
        bound(&mut body, Timestamp::EPOCH).unwrap();
        let ToServerBody::JobRefused { reason, .. } = body else { panic!("another kind") };
        assert!(reason.starts_with("a  ]52;b") && reason.chars().count() == REASON_CHARS_MAX, "{reason}");
    }
}
