//! AWS's predefined patch baselines, as GetPatchBaseline answers them in us-east-1 (December 2025), with the ids of that
//! region in every region.

use crate::{
    ApprovalRule, AvailableSecurityUpdates, BaselineOwner, ComplianceLevel, PatchBaseline, PatchFilter, PatchFilterKey,
    RejectedPatchesAction,
};
use identifiers::{BaselineId, Timestamp};
use packages::OperatingSystem;

/// The account that owns the predefined baselines (AWS's in us-east-1).
pub const PREDEFINED_OWNER_ACCOUNT: &str = "075727635805";

/// The day of creation and change of all of them: 2018-05-01T17:13:20.068Z, as the Ubuntu baseline has it. AWS's differ
/// from one to the other and change with its releases; a constant serves, since nothing is decided by it.
const CREATED_AT_MICROS: i64 = 1_525_194_800_068_000;

/// AWS's delay in every rule; without effect for apt.
const APPROVE_AFTER_DAYS: u16 = 7;

type Filters = &'static [(PatchFilterKey, &'static [&'static str])];

struct Predefined {
    operating_system: OperatingSystem,
    id: &'static str,
    name: &'static str,
    description: &'static str,
    rules: &'static [Filters],
}

use OperatingSystem as Os;
use PatchFilterKey::{Classification, MsrcSeverity, PatchSet, Priority, Product, Severity};

const SECURITY_AND_BUGFIX: &[Filters] =
    &[&[(Classification, &["Security"]), (Severity, &["Critical", "Important"])], &[(Classification, &["Bugfix"])]];
const EVERY_PRIORITY: &[Filters] = &[&[(Priority, &["Required", "Important", "Standard", "Optional", "Extra"])]];
const WINDOWS_CLASSES: &[&str] = &["CriticalUpdates", "SecurityUpdates"];
const WINDOWS_SEVERITIES: &[&str] = &["Critical", "Important"];

const fn entry(
    operating_system: Os,
    id: &'static str,
    name: &'static str,
    description: &'static str,
    rules: &'static [Filters],
) -> Predefined {
    Predefined { operating_system, id, name, description, rules }
}

/// The first entry of an operating system is its default.
const PREDEFINED: [Predefined; 17] = [
    entry(
        Os::AlmaLinux,
        "pb-0cb0c4966f86b059b",
        "AWS-AlmaLinuxDefaultPatchBaseline",
        "Default Patch Baseline for Alma Linux Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::AmazonLinux2022,
        "pb-0028ca011460d5eaf",
        "AWS-AmazonLinux2022DefaultPatchBaseline",
        "Default Patch Baseline for Amazon Linux 2022 Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::AmazonLinux2023,
        "pb-05c9c9bf778d4c4d0",
        "AWS-AmazonLinux2023DefaultPatchBaseline",
        "Default Patch Baseline for Amazon Linux 2023 Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::AmazonLinux2,
        "pb-0be8c61cde3be63f3",
        "AWS-AmazonLinux2DefaultPatchBaseline",
        "Default Patch Baseline for Amazon Linux 2 Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::AmazonLinux,
        "pb-0c10e657807c7a700",
        "AWS-AmazonLinuxDefaultPatchBaseline",
        "Default Patch Baseline for Amazon Linux Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::Centos,
        "pb-03e3f588eec25344c",
        "AWS-CentOSDefaultPatchBaseline",
        "Default Patch Baseline for CentOS Provided by AWS.",
        &[&[(Product, &["*"])]],
    ),
    entry(
        Os::Debian,
        "pb-09a5f8eb62bde80b1",
        "AWS-DebianDefaultPatchBaseline",
        "Default Patch Baseline for Debian Provided by AWS.",
        EVERY_PRIORITY,
    ),
    entry(
        Os::Windows,
        "pb-09ca3fb51f0412ec3",
        "AWS-DefaultPatchBaseline",
        "Default Patch Baseline Provided by AWS.",
        &[&[(Classification, WINDOWS_CLASSES), (MsrcSeverity, WINDOWS_SEVERITIES)]],
    ),
    entry(
        Os::Macos,
        "pb-0ee4f94581368c0d4",
        "AWS-MacOSDefaultPatchBaseline",
        "Default Patch Baseline for MacOS Provided by AWS.",
        &[&[(Classification, &["softwareupdate", "installer", "brew", "brew_cask"])]],
    ),
    entry(
        Os::OracleLinux,
        "pb-06bff38e95fe85c02",
        "AWS-OracleLinuxDefaultPatchBaseline",
        "Default Patch Baseline for Oracle Linux Server Provided by AWS.",
        &[
            &[(Classification, &["Security"]), (Severity, &["Critical", "Important", "Moderate"])],
            &[(Classification, &["Enhancement", "Bugfix"])],
        ],
    ),
    entry(
        Os::Raspbian,
        "pb-0ec16280999c5c75e",
        "AWS-RaspbianDefaultPatchBaseline",
        "Default Patch Baseline for Raspbian Provided by AWS.",
        EVERY_PRIORITY,
    ),
    entry(
        Os::RedhatEnterpriseLinux,
        "pb-0cbb3a633de00f07c",
        "AWS-RedHatDefaultPatchBaseline",
        "Default Patch Baseline for Redhat Enterprise Linux Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::RockyLinux,
        "pb-03ec98bc512aa3ac0",
        "AWS-RockyLinuxDefaultPatchBaseline",
        "Default Patch Baseline for Rocky Linux Provided by AWS.",
        SECURITY_AND_BUGFIX,
    ),
    entry(
        Os::Suse,
        "pb-07d8884178197b66b",
        "AWS-SuseDefaultPatchBaseline",
        "Default Patch Baseline for Suse Provided by AWS.",
        &[&[(Classification, &["Security"]), (Severity, &["Critical", "Important"])]],
    ),
    entry(
        Os::Ubuntu,
        "pb-0c7e89f711c3095f4",
        "AWS-UbuntuDefaultPatchBaseline",
        "Default Patch Baseline for Ubuntu Provided by AWS.",
        EVERY_PRIORITY,
    ),
    entry(
        Os::Windows,
        "pb-096d816473f2bdb03",
        "AWS-WindowsPredefinedPatchBaseline-OS",
        "Windows Server: critical and security updates of MSRC severity Critical or Important, seven days after release.",
        &[&[(PatchSet, &["OS"]), (Classification, WINDOWS_CLASSES), (MsrcSeverity, WINDOWS_SEVERITIES)]],
    ),
    entry(
        Os::Windows,
        "pb-0fafa8379afee7c83",
        "AWS-WindowsPredefinedPatchBaseline-OS-Applications",
        "Windows Server: critical and security updates of MSRC severity Critical or Important; Microsoft's applications: all patches; seven days after release.",
        &[
            &[(PatchSet, &["OS"]), (Classification, WINDOWS_CLASSES), (MsrcSeverity, WINDOWS_SEVERITIES)],
            &[(PatchSet, &["APPLICATION"])],
        ],
    ),
];

fn filters(of: Filters) -> Vec<PatchFilter> {
    of.iter()
        .map(|(key, values)| PatchFilter { key: *key, values: values.iter().map(|v| (*v).to_owned()).collect() })
        .collect()
}

impl Predefined {
    fn baseline(&self, id: BaselineId) -> PatchBaseline {
        let centos = self.operating_system == Os::Centos;
        let windows = self.operating_system == Os::Windows;
        let rule = |of: &Filters| ApprovalRule {
            filters: filters(of),
            compliance_level: ComplianceLevel::Unspecified,
            approve_after_days: Some(APPROVE_AFTER_DAYS),
            approve_until_date: None,
            enable_non_security: centos,
        };
        PatchBaseline {
            id,
            owner: BaselineOwner::Predefined,
            name: self.name.to_owned(),
            operating_system: self.operating_system,
            description: self.description.to_owned(),
            global_filters: if centos { Vec::new() } else { filters(&[(Product, &["*"])]) },
            approval_rules: self.rules.iter().map(rule).collect(),
            approved_patches: Vec::new(),
            approved_patches_compliance_level: ComplianceLevel::Unspecified,
            approved_patches_enable_non_security: false,
            rejected_patches: Vec::new(),
            rejected_patches_action: RejectedPatchesAction::AllowAsDependency,
            sources: Vec::new(),
            available_security_updates_compliance_status: windows.then_some(AvailableSecurityUpdates::NonCompliant),
            created_at: Timestamp::from_micros(CREATED_AT_MICROS),
            modified_at: Timestamp::from_micros(CREATED_AT_MICROS),
        }
    }
}

/// All predefined baselines, by name. They are the same in every region; only their ARNs differ
/// ([`PatchBaseline::public_id`]).
#[must_use]
pub fn predefined() -> Vec<PatchBaseline> {
    PREDEFINED.iter().filter_map(|entry| Some(entry.baseline(BaselineId::parse(entry.id).ok()?))).collect()
}

/// The predefined default of an operating system. There is one for each (a test holds this), so `None` never comes.
#[must_use]
pub fn predefined_default(operating_system: OperatingSystem) -> Option<PatchBaseline> {
    let entry = PREDEFINED.iter().find(|entry| entry.operating_system == operating_system)?;
    Some(entry.baseline(BaselineId::parse(entry.id).ok()?))
}

pub(crate) fn predefined_by_id(id: &BaselineId) -> Option<PatchBaseline> {
    PREDEFINED.iter().find(|entry| entry.id == id.as_str()).map(|entry| entry.baseline(id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use identifiers::Region;

    #[test]
    fn every_operating_system_has_a_default_and_windows_has_two_more() {
        let all = predefined();
        assert_eq!(all.len(), 17, "every id is well formed");
        for (os, name) in OperatingSystem::ALL {
            assert_eq!(predefined_default(os).unwrap().operating_system, os, "{name}");
            let count = all.iter().filter(|baseline| baseline.operating_system == os).count();
            assert_eq!(count, if os == Os::Windows { 3 } else { 1 }, "{name}");
        }
        assert_eq!(predefined_default(Os::Windows).unwrap().name, "AWS-DefaultPatchBaseline");
    }

    #[test]
    fn names_and_ids_are_unique_and_sorted_by_name() {
        let all = predefined();
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
        let ids: std::collections::BTreeSet<_> = all.iter().map(|baseline| baseline.id.clone()).collect();
        assert_eq!(ids.len(), all.len());
    }

    #[test]
    fn they_obey_the_rules_for_baselines_themselves() {
        for baseline in predefined() {
            crate::validation::baseline(&baseline).unwrap_or_else(|refused| panic!("{}: {refused}", baseline.name));
        }
    }

    #[test]
    fn debian_approves_security_updates_of_every_priority_whatever_their_age() {
        let debian = predefined_default(Os::Debian).unwrap();
        assert_eq!(debian.global_filters, vec![PatchFilter { key: Product, values: vec!["*".to_owned()] }]);
        let [rule] = debian.approval_rules.as_slice() else { panic!("one rule") };
        assert_eq!(rule.filters[0].values, ["Required", "Important", "Standard", "Optional", "Extra"]);
        assert!(!rule.enable_non_security);
        assert_eq!(rule.approve_after_days, Some(7));
        assert_eq!(debian.available_security_updates_compliance_status, None);
        assert_eq!(debian.created_at.to_rfc3339_millis(), "2018-05-01T17:13:20.068Z");
        assert_eq!(
            debian.public_id(&Region::parse("mars-north-1").unwrap()),
            "arn:aws:ssm:mars-north-1:075727635805:patchbaseline/pb-09a5f8eb62bde80b1"
        );
    }

    #[test]
    fn centos_alone_takes_what_is_no_security_update_and_windows_alone_has_a_status() {
        for baseline in predefined() {
            let centos = baseline.operating_system == Os::Centos;
            assert!(baseline.approval_rules.iter().all(|rule| rule.enable_non_security == centos));
            assert_eq!(baseline.global_filters.is_empty(), centos);
            let windows = baseline.operating_system == Os::Windows;
            assert_eq!(baseline.available_security_updates_compliance_status.is_some(), windows);
        }
    }
}
