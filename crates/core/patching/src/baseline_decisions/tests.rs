use super::*;
use crate::testing::*;
use crate::{PatchFilterKey, SourceConfiguration, predefined};
use identifiers::{PatchGroupName, SeededIds};

fn made(os: OperatingSystem, members: BaselineMembers) -> Result<PatchBaseline, Refused> {
    let input = CreateBaseline { name: "mine".to_owned(), operating_system: Some(os), members };
    create_baseline(input, 0, &mut SeededIds::new(1), at("2026-03-01T00:00:00Z")).map(|(baseline, _)| baseline)
}

fn ruled(rule: RuleInput) -> BaselineMembers {
    BaselineMembers { approval_rules: Some(vec![rule]), ..BaselineMembers::default() }
}

fn texts(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|item| (*item).to_owned()).collect())
}

fn refusal(result: Result<PatchBaseline, Refused>) -> String {
    match result {
        Err(Refused::Validation(message)) => message,
        other => panic!("expected a validation error, not {other:?}"),
    }
}

fn source(configuration: &str) -> PatchSource {
    PatchSource {
        name: "mirror".to_owned(),
        products: vec!["*".to_owned()],
        configuration: SourceConfiguration::new(configuration.to_owned()),
    }
}

#[test]
fn a_baseline_with_a_name_alone_is_for_windows_and_has_awss_defaults() {
    let input = CreateBaseline { name: "mine".to_owned(), operating_system: None, members: BaselineMembers::default() };
    let now = at("2026-03-01T00:00:00Z");
    let (baseline, changes) = create_baseline(input, 0, &mut SeededIds::new(1), now).unwrap();
    assert_eq!(baseline.operating_system, OperatingSystem::Windows);
    assert_eq!(baseline.approved_patches_compliance_level, ComplianceLevel::Unspecified);
    assert_eq!(baseline.rejected_patches_action, RejectedPatchesAction::AllowAsDependency);
    assert_eq!((baseline.created_at, baseline.modified_at), (now, now));
    assert_eq!(baseline.public_id(&scope().region), baseline.id.to_string());
    assert_eq!(changes.read, [(aggregate::baseline(&baseline.id), Revision(0))]);
    assert_eq!(changes.writes, [Write::BaselinePut(Box::new(baseline))]);
}

#[test]
fn there_may_be_only_so_many() {
    let make = |count| {
        let input =
            CreateBaseline { name: "mine".to_owned(), operating_system: None, members: BaselineMembers::default() };
        create_baseline(input, count, &mut SeededIds::new(1), Timestamp::EPOCH)
    };
    assert!(make(OWN_BASELINES_MAX - 1).is_ok());
    assert_eq!(make(OWN_BASELINES_MAX).unwrap_err().aws_code(), "ResourceLimitExceededException");
}

#[test]
fn each_operating_system_has_its_own_filter_keys() {
    use OperatingSystem::{Debian, Macos, RockyLinux, Suse, Ubuntu, Windows};
    use PatchFilterKey::{Arch, Classification, MsrcSeverity, PatchSet, Priority, Product, Section, Severity};
    for (os, key, accepted) in [
        (Debian, Product, true),
        (Debian, Priority, true),
        (Ubuntu, Section, true),
        (Debian, Classification, false),
        (Ubuntu, Severity, false),
        (RockyLinux, Severity, true),
        (RockyLinux, Section, false),
        (Suse, Classification, true),
        (Macos, Classification, true),
        (Macos, Severity, false),
        (Windows, PatchSet, true),
        (Windows, MsrcSeverity, true),
        (Windows, Severity, false),
        (Debian, Arch, false),
    ] {
        let filters = vec![filter(key, &["*"])];
        let rule = RuleInput { filters: filters.clone(), approve_after_days: Some(7), ..RuleInput::default() };
        let global = BaselineMembers { global_filters: Some(filters), ..BaselineMembers::default() };
        assert_eq!(made(os, ruled(rule)).is_ok(), accepted, "{os:?} {key} in a rule");
        assert_eq!(made(os, global).is_ok(), accepted, "{os:?} {key} as a global filter");
    }
    let global =
        BaselineMembers { global_filters: Some(vec![filter(Severity, &["Low"])]), ..BaselineMembers::default() };
    assert_eq!(
        refusal(made(Debian, global)),
        "GlobalFilters: the filter key SEVERITY is not for DEBIAN, which has PRODUCT, PRIORITY, SECTION."
    );
}

#[test]
fn a_rule_needs_a_delay_or_a_date_except_for_apt_and_never_both() {
    use OperatingSystem::{Debian, Raspbian, RockyLinux, Ubuntu, Windows};
    let rule = |days: Option<i64>, date: Option<&str>| {
        ruled(RuleInput {
            approve_after_days: days,
            approve_until_date: date.map(str::to_owned),
            ..RuleInput::default()
        })
    };
    let date = Some("2026-02-28");
    for (os, days, until, accepted) in [
        (RockyLinux, Some(7), None, true),
        (RockyLinux, None, date, true),
        (RockyLinux, None, None, false),
        (RockyLinux, Some(7), date, false),
        (Windows, None, None, false),
        (Debian, None, None, true),
        (Ubuntu, Some(0), None, true),
        (Raspbian, None, date, true),
        (Debian, Some(7), date, false),
        (Debian, Some(360), None, true),
        (Debian, Some(361), None, false),
        (Debian, Some(-1), None, false),
        (Debian, Some(65_543), None, false),
        (Debian, None, Some("2026-02-30"), false),
        (Debian, None, Some("2026-2-28"), false),
        (Debian, None, Some("28.02.2026"), false),
        (Debian, None, Some("2024-02-29"), true),
    ] {
        assert_eq!(made(os, rule(days, until)).is_ok(), accepted, "{os:?} {days:?} {until:?}");
    }
}

#[test]
fn listed_patches_have_the_form_that_can_match_on_their_operating_system() {
    use OperatingSystem::{Debian, Macos, RockyLinux, Suse, Windows};
    for (os, item, accepted) in [
        (Debian, "openssl", true),
        (Debian, "libstdc++6", true),
        (Debian, "linux-image-6.1.0-40-amd64", true),
        (Debian, "openssl*", false),
        (Debian, "openssl:amd64", false),
        (Debian, "openssl=3.0.1-1", false),
        (Debian, "open ssl", false),
        (Debian, "", false),
        (RockyLinux, "openssl-*", true),
        (RockyLinux, "example-pkg-0.710.10-2.7.abcd.x86_64", true),
        (RockyLinux, "CVE-2018-1234567", true),
        (RockyLinux, "RHSA-2017:0864", true),
        (RockyLinux, "1463241", true),
        (RockyLinux, "*openssl*", false),
        (RockyLinux, "open ssl", false),
        (Suse, "SUSE-SLE-Example-Package-12-2018-123", true),
        (Macos, "XProtectPlistConfigData", true),
        (Macos, "XProtect*", false),
        (Windows, "KB2032276", true),
        (Windows, "MS10-048", true),
        (Windows, "openssl", false),
        (Windows, "KB", false),
    ] {
        let list = texts(&[item]);
        let approved = BaselineMembers { approved_patches: list.clone(), ..BaselineMembers::default() };
        let rejected = BaselineMembers { rejected_patches: list, ..BaselineMembers::default() };
        assert_eq!(made(os, approved).is_ok(), accepted, "{os:?} approves {item:?}");
        assert_eq!(made(os, rejected).is_ok(), accepted, "{os:?} rejects {item:?}");
    }
}

#[test]
fn what_only_some_operating_systems_have_is_refused_on_the_others() {
    use OperatingSystem::{Debian, Macos, Suse, Windows};
    let sources = || BaselineMembers { sources: Some(vec![source("deb x y z")]), ..BaselineMembers::default() };
    let non_security =
        || BaselineMembers { approved_patches_enable_non_security: Some(true), ..BaselineMembers::default() };
    let rule =
        || ruled(RuleInput { enable_non_security: Some(true), approve_after_days: Some(0), ..RuleInput::default() });
    let status = || BaselineMembers {
        available_security_updates_compliance_status: Some(AvailableSecurityUpdates::Compliant),
        ..BaselineMembers::default()
    };
    for os in [Debian, Suse] {
        assert!(made(os, sources()).is_ok() && made(os, non_security()).is_ok() && made(os, rule()).is_ok(), "{os:?}");
        assert!(made(os, status()).is_err(), "{os:?}");
    }
    for os in [Windows, Macos] {
        assert!(
            made(os, sources()).is_err() && made(os, non_security()).is_err() && made(os, rule()).is_err(),
            "{os:?}"
        );
    }
    assert!(made(Windows, status()).is_ok());
}

#[test]
fn every_limit_holds_at_its_edge() {
    use PatchFilterKey::{Priority, Section};
    let debian = |members| made(OperatingSystem::Debian, members).is_ok();
    let none = BaselineMembers::default;
    let long = |count: usize| "a".repeat(count);
    let description = |count| BaselineMembers { description: Some(long(count)), ..none() };
    assert!(debian(description(1024)) && !debian(description(1025)) && !debian(description(0)));
    let global = |filters| BaselineMembers { global_filters: Some(filters), ..none() };
    assert!(debian(global(vec![filter(Section, &["a"]); 4])) && !debian(global(vec![filter(Section, &["a"]); 5])));
    assert!(debian(global(vec![filter(Section, &["a"; 20])])) && !debian(global(vec![filter(Section, &["a"; 21])])));
    assert!(!debian(global(vec![filter(Section, &[])])));
    assert!(
        debian(global(vec![filter(Section, &[&long(64)])])) && !debian(global(vec![filter(Section, &[&long(65)])]))
    );
    assert!(debian(global(vec![filter(Priority, &["Extra"])])) && !debian(global(vec![filter(Priority, &["extra"])])));
    let rules = |count| BaselineMembers { approval_rules: Some(vec![RuleInput::default(); count]), ..none() };
    assert!(debian(rules(10)) && !debian(rules(11)));
    let listed = |items| BaselineMembers { approved_patches: Some(items), ..none() };
    assert!(debian(listed(vec![long(5); 50])) && !debian(listed(vec![long(5); 51])));
    assert!(debian(listed(vec![long(100)])) && !debian(listed(vec![long(101)])));
    let sources = |sources| BaselineMembers { sources: Some(sources), ..none() };
    assert!(debian(sources(vec![source("a"); 20])) && !debian(sources(vec![source("a"); 21])));
    assert!(debian(sources(vec![source(&long(1024))])) && !debian(sources(vec![source(&long(1025))])));
    assert!(!debian(sources(vec![source("")])));
    assert!(!debian(sources(vec![PatchSource { products: vec![], ..source("a") }])));
    assert!(!debian(sources(vec![PatchSource { name: "no spaces".to_owned(), ..source("a") }])));
}

#[test]
fn a_name_has_three_to_128_plain_characters() {
    for (name, accepted) in [("abc", true), ("ab", false), ("a b c", false), ("A.b-c_1", true)] {
        let input =
            CreateBaseline { name: name.to_owned(), operating_system: None, members: BaselineMembers::default() };
        let result = create_baseline(input, 0, &mut SeededIds::new(1), Timestamp::EPOCH);
        assert_eq!(result.is_ok(), accepted, "{name}");
    }
}

fn stored() -> Versioned<Option<PatchBaseline>> {
    let members = BaselineMembers {
        description: Some("old".to_owned()),
        approved_patches: texts(&["curl"]),
        rejected_patches: texts(&["vim"]),
        rejected_patches_action: Some(RejectedPatchesAction::Block),
        ..BaselineMembers::default()
    };
    versioned(5, Some(made(OperatingSystem::Debian, members).unwrap()))
}

fn updated(input: UpdateBaseline) -> Result<PatchBaseline, Refused> {
    let own = stored();
    let id = own.row.as_ref().unwrap().id.to_string();
    let (baseline, changes) = update_baseline(&id, &scope(), input, &own, at("2026-04-01T00:00:00Z"))?;
    assert_eq!(changes.read, [(aggregate::baseline(&baseline.id), Revision(5))]);
    assert_eq!(changes.touched, [aggregate::baseline(&baseline.id)]);
    assert_eq!(changes.writes, [Write::BaselinePut(Box::new(baseline.clone()))]);
    Ok(baseline)
}

#[test]
fn an_update_leaves_what_is_not_given_and_empties_what_is_given_empty() {
    let members = BaselineMembers { approved_patches: Some(vec![]), ..BaselineMembers::default() };
    let baseline = updated(UpdateBaseline { name: None, members, replace: false }).unwrap();
    assert_eq!((baseline.name.as_str(), baseline.description.as_str()), ("mine", "old"));
    assert_eq!(baseline.approved_patches, Vec::<String>::new());
    assert_eq!(baseline.rejected_patches, ["vim"]);
    assert_eq!(baseline.created_at, at("2026-03-01T00:00:00Z"));
    assert_eq!(baseline.modified_at, at("2026-04-01T00:00:00Z"));
}

#[test]
fn a_replacement_clears_what_is_not_given_and_needs_a_name() {
    let members = BaselineMembers { approved_patches: texts(&["bash"]), ..BaselineMembers::default() };
    let replace =
        |name: Option<&str>| UpdateBaseline { name: name.map(str::to_owned), members: members.clone(), replace: true };
    let baseline = updated(replace(Some("other"))).unwrap();
    assert_eq!((baseline.name.as_str(), baseline.description.as_str()), ("other", ""));
    assert_eq!(baseline.approved_patches, ["bash"]);
    assert_eq!(baseline.rejected_patches, Vec::<String>::new());
    assert_eq!(baseline.rejected_patches_action, RejectedPatchesAction::AllowAsDependency);
    assert_eq!(baseline.operating_system, OperatingSystem::Debian, "it cannot be changed");
    assert_eq!(baseline.created_at, at("2026-03-01T00:00:00Z"));
    assert_eq!(baseline.id, stored().row.unwrap().id);
    assert_eq!(refusal(updated(replace(None))), "Name is required when Replace is true.");
}

#[test]
fn an_update_is_checked_like_a_new_baseline() {
    let members = BaselineMembers { approved_patches: texts(&["openssl*"]), ..BaselineMembers::default() };
    assert!(updated(UpdateBaseline { name: None, members, replace: false }).is_err());
}

#[test]
fn unknown_malformed_and_predefined_baselines_are_not_updated() {
    let code = |given: &str| {
        let input = UpdateBaseline { name: None, members: BaselineMembers::default(), replace: false };
        update_baseline(given, &scope(), input, &versioned(0, None), Timestamp::EPOCH).unwrap_err().aws_code()
    };
    assert_eq!(code("pb-00112233445566778"), "DoesNotExistException");
    assert_eq!(code("rubbish"), "DoesNotExistException");
    assert_eq!(code(&debian().public_id(&scope().region)), "ValidationException");
}

#[test]
fn a_baseline_in_use_is_not_deleted() {
    let own = stored();
    let baseline = own.row.clone().unwrap();
    let group = |name: &str| PatchGroupRegistration {
        patch_group: PatchGroupName::parse(name).unwrap(),
        operating_system: OperatingSystem::Debian,
        baseline: baseline.id.clone(),
        predefined: false,
    };
    let default = |id: &BaselineId| DefaultBaseline {
        operating_system: OperatingSystem::Debian,
        baseline: id.clone(),
        predefined: false,
    };
    let delete = |default: Option<DefaultBaseline>, groups: &[PatchGroupRegistration]| {
        delete_baseline(baseline.id.as_str(), &scope(), &own, &versioned(9, default), groups)
    };
    let refused = delete(None, &[group("web"), group("db")]).unwrap_err();
    assert_eq!(refused.aws_code(), "ResourceInUseException");
    assert_eq!(refused.to_string(), "PatchBaseline to be deleted is used for Patch Group: db, web");
    let refused = delete(Some(default(&baseline.id)), &[]).unwrap_err();
    assert_eq!(refused.aws_code(), "ResourceInUseException");

    let elsewhere = PatchGroupRegistration { baseline: debian().id, predefined: true, ..group("web") };
    let changes = delete(Some(default(&debian().id)), &[elsewhere]).unwrap();
    assert_eq!(changes.writes, [Write::BaselineDelete(baseline.id.clone())]);
    let read =
        [(aggregate::baseline(&baseline.id), Revision(5)), (aggregate::default(OperatingSystem::Debian), Revision(9))];
    assert_eq!(changes.read, read, "so that becoming the default meanwhile conflicts");
    assert_eq!(changes.touched, [aggregate::baseline(&baseline.id)]);
}

#[test]
fn deleting_what_is_not_there_succeeds_and_predefined_ones_stay() {
    let delete = |given: &str| delete_baseline(given, &scope(), &versioned(0, None), &versioned(0, None), &[]);
    assert!(delete("pb-00112233445566778").unwrap().is_empty());
    assert!(delete("arn:aws:ssm:us-east-1:111111111111:patchbaseline/pb-00112233445566778").unwrap().is_empty());
    assert_eq!(delete("rubbish").unwrap_err().aws_code(), "ValidationException");
    for baseline in predefined() {
        assert_eq!(delete(&baseline.public_id(&scope().region)).unwrap_err().aws_code(), "ValidationException");
    }
}

#[test]
fn a_sources_configuration_is_stored_but_never_printed_nor_audited() {
    let members =
        BaselineMembers { sources: Some(vec![source("deb http://user:hunter2@x y z")]), ..BaselineMembers::default() };
    let baseline = made(OperatingSystem::Debian, members).unwrap();
    assert!(!format!("{baseline:?}").contains("hunter2"));
    assert!(!baseline.audit_json().to_string().contains("hunter2"));
    let json = serde_json::to_string(&baseline).unwrap();
    assert!(json.contains("hunter2"));
    assert_eq!(serde_json::from_str::<PatchBaseline>(&json).unwrap(), baseline);
}
