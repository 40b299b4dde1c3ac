use super::*;
use crate::predefined_default;
use crate::testing::*;
use proptest::prelude::*;

fn plan(baseline: &PatchBaseline, packages: &[HostPackage]) -> PatchPlan {
    plan_patches(baseline, &bookworm(), packages, at("2026-03-01T00:00:00Z")).unwrap()
}

fn one(baseline: &PatchBaseline, package: HostPackage) -> (PatchState, Reason, bool) {
    let plan = plan(baseline, &[package]);
    let decision = plan.decisions.into_iter().next().unwrap();
    (decision.state, decision.reason, !plan.install.is_empty())
}

/// One entry a case: a sentence, the baseline and the package, and what becomes of it.
macro_rules! cases {
    ($($case:literal: $baseline:expr, $package:expr => $state:expr, $reason:expr, $verb:ident;)+) => {$(
        assert_eq!(one($baseline, $package), ($state, $reason, stringify!($verb) == "installs"), $case);
    )+};
}

const RULE: Reason = Reason::ApprovedByRule { rule: 0 };

fn up_to_date(coverage: Coverage) -> Reason {
    Reason::UpToDate { coverage }
}

fn without_rules() -> PatchBaseline {
    changed(|b| b.approval_rules.clear())
}

#[test]
fn with_the_predefined_baseline_a_patch_is_missing_exactly_if_a_security_archive_offers_a_newer_candidate() {
    use PatchState::{Installed, InstalledOther, Missing};
    let d = debian();
    cases! {
        "a newer version from security is missing":
            &d, package("curl").update(SECURITY) => Missing, RULE, installs;
        "a newer version from security and another archive is missing":
            &d, package("curl").update_from(&[MAIN, SECURITY]) => Missing, RULE, installs;
        "a newer version from updates alone is not":
            &d, package("tzdata").update(UPDATES) => InstalledOther, Reason::NotFromSecurityArchive, leaves;
        "the same, installed from security, stays installed":
            &d, package("tzdata").from(SECURITY).update(UPDATES) => Installed, Reason::NotFromSecurityArchive, leaves;
        "the newest version from security is installed":
            &d, package("curl").from(SECURITY) => Installed, up_to_date(Coverage::ApprovedByRule { rule: 0 }), leaves;
        "the newest version from elsewhere is installed other":
            &d, package("curl").from(MAIN) => InstalledOther, up_to_date(Coverage::NotFromSecurityArchive), leaves;
        "a local package is installed other":
            &d, package("homemade").unoffered() => InstalledOther, Reason::NotOfferedAnyMore, leaves;
        "every priority counts, in any case of letters":
            &d, package("curl").update(SECURITY).with_update(|u| u.priority = "extra".to_owned())
                => Missing, RULE, installs;
        "no priority counts as optional":
            &d, package("curl").update(SECURITY).with_update(|u| u.priority.clear()) => Missing, RULE, installs;
    }
}

#[test]
fn what_apt_would_not_take_says_why() {
    use PatchState::{Installed, InstalledOther, Missing};
    let d = debian();
    cases! {
        "a held package is missing, not installed":
            &d, package("curl").update(SECURITY).not_taken(NotTaken::Held) => Missing, Reason::Held, leaves;
        "a hold of dpkg alone counts too":
            &d, package("curl").held().update(SECURITY) => Missing, Reason::Held, leaves;
        "a hold says more than a phase":
            &d, package("curl").held().update(SECURITY).not_taken(NotTaken::Phased { percentage: 10 })
                => Missing, Reason::Held, leaves;
        "a phased update is missing, not installed":
            &d, package("curl").update(SECURITY).not_taken(NotTaken::Phased { percentage: 10 })
                => Missing, Reason::Phased { percentage: 10 }, leaves;
        "a held package without approval is not missing":
            &d, package("curl").held().update(UPDATES) => InstalledOther, Reason::NotFromSecurityArchive, leaves;
        "a pinned-out version is no candidate: nothing is missing":
            &d, package("curl").update(SECURITY).not_taken(NotTaken::Pinned { priority: -1 })
                => InstalledOther, Reason::Pinned { priority: -1 }, leaves;
        "the same, installed from security":
            &d, package("curl").from(SECURITY).update(SECURITY).not_taken(NotTaken::Pinned { priority: -1 })
                => Installed, Reason::Pinned { priority: -1 }, leaves;
        "an unfinished installation says so":
            &d, package("curl").from(SECURITY).state(InstallState::HalfConfigured)
                => Installed, Reason::NotFullyInstalled { state: InstallState::HalfConfigured }, leaves;
        "an unfinished installation is mended by its update":
            &d, package("curl").state(InstallState::Unpacked).update(SECURITY) => Missing, RULE, installs;
        "a package that waits for triggers works":
            &d, package("curl").from(SECURITY).state(InstallState::TriggersPending)
                => Installed, up_to_date(Coverage::ApprovedByRule { rule: 0 }), leaves;
    }
}

#[test]
fn filters_and_rules_choose() {
    use PatchFilterKey::{Priority, Product, Section};
    use PatchState::{Installed, InstalledOther, Missing};
    let curl = || package("curl").update(SECURITY);
    let global = |key, values: &[&str]| changed(|b| b.global_filters = vec![filter(key, values)]);
    let ruled = |key, values: &[&str]| changed(|b| b.approval_rules[0].filters = vec![filter(key, values)]);
    let out = |filter| Reason::FilteredOut { filter };
    cases! {
        "the product matches":
            &global(Product, &["Debian11", "Debian12"]), curl() => Missing, RULE, installs;
        "another product":
            &global(Product, &["Debian11"]), curl() => InstalledOther, out(Product), leaves;
        "another product in the rule":
            &ruled(Product, &["Debian11"]), curl() => InstalledOther, Reason::NoRuleMatches, leaves;
        "the section matches":
            &ruled(Section, &["web"]), curl() => Missing, RULE, installs;
        "another section":
            &ruled(Section, &["net"]), curl() => InstalledOther, Reason::NoRuleMatches, leaves;
        "another section, globally":
            &global(Section, &["net"]), curl() => InstalledOther, out(Section), leaves;
        "a star is everything":
            &ruled(Section, &["*"]), curl() => Missing, RULE, installs;
        "another priority":
            &ruled(Priority, &["Required"]), curl() => InstalledOther, Reason::NoRuleMatches, leaves;
        "no rules approve nothing":
            &without_rules(), curl() => InstalledOther, Reason::NoRuleMatches, leaves;
        "all filters of a rule must match":
            &changed(|b| b.approval_rules[0].filters = vec![filter(Section, &["web"]), filter(Priority, &["Required"])]), curl()
                => InstalledOther, Reason::NoRuleMatches, leaves;
        "a rule without filters approves all of security":
            &changed(|b| b.approval_rules[0].filters.clear()), curl() => Missing, RULE, installs;
        "a rule may take what is no security update":
            &changed(|b| b.approval_rules[0].enable_non_security = true), package("tzdata").update(UPDATES)
                => Missing, RULE, installs;
        "and then covers what is installed from any archive":
            &changed(|b| b.approval_rules[0].enable_non_security = true), package("tzdata").from(MAIN)
                => Installed, up_to_date(Coverage::ApprovedByRule { rule: 0 }), leaves;
        "but not what comes from no archive":
            &changed(|b| b.approval_rules[0].enable_non_security = true), package("homemade").unoffered()
                => InstalledOther, Reason::NotOfferedAnyMore, leaves;
        "the flag is the rule's own: another rule's does not help":
            &changed(|b| {
                let mut other = b.approval_rules[0].clone();
                other.filters = vec![filter(Section, &["net"])];
                other.enable_non_security = true;
                b.approval_rules.push(other);
            }), package("tzdata").update(UPDATES) => InstalledOther, Reason::NotFromSecurityArchive, leaves;
        "the update's section counts, not the installed version's":
            &ruled(Section, &["net"]), curl().with_update(|u| u.section = "net".to_owned()) => Missing, RULE, installs;
    }
}

#[test]
fn the_lists_add_and_remove() {
    use PatchState::{Installed, InstalledOther, InstalledRejected, Missing};
    let approved = |change: fn(&mut PatchBaseline)| {
        changed(move |b| {
            b.approval_rules.clear();
            b.approved_patches = vec!["curl".to_owned()];
            change(b);
        })
    };
    let rejected = |action| {
        changed(move |b| {
            b.rejected_patches = vec!["curl".to_owned()];
            b.rejected_patches_action = action;
        })
    };
    let (allow, block) = (RejectedPatchesAction::AllowAsDependency, RejectedPatchesAction::Block);
    let curl = || package("curl").update(SECURITY);
    cases! {
        "an approved name needs no rule":
            &approved(|_| {}), curl() => Missing, Reason::ApprovedByList, installs;
        "an approved name passes global filters":
            &approved(|b| b.global_filters = vec![filter(PatchFilterKey::Product, &["Debian11"])]), curl()
                => Missing, Reason::ApprovedByList, installs;
        "an approved name must come from security all the same":
            &approved(|_| {}), package("curl").update(UPDATES)
                => InstalledOther, Reason::NotFromSecurityArchive, leaves;
        "unless the list says otherwise":
            &approved(|b| b.approved_patches_enable_non_security = true), package("curl").update(UPDATES)
                => Missing, Reason::ApprovedByList, installs;
        "the list covers what is installed":
            &approved(|_| {}), package("curl").from(SECURITY)
                => Installed, up_to_date(Coverage::ApprovedByList), leaves;
        "a hold is stronger than the list":
            &approved(|_| {}), curl().held() => Missing, Reason::Held, leaves;
        "a rejected name is never missing, and may be there":
            &rejected(allow), curl() => InstalledOther, Reason::Rejected { action: allow }, leaves;
        "a blocked name does not comply where it is there":
            &rejected(block), package("curl").from(SECURITY)
                => InstalledRejected, Reason::Rejected { action: block }, leaves;
        "rejected wins over approved":
            &changed(|b| {
                b.approved_patches = vec!["curl".to_owned()];
                b.rejected_patches = vec!["curl".to_owned()];
            }), curl() => InstalledOther, Reason::Rejected { action: allow }, leaves;
        "a list of other names changes nothing":
            &rejected(block), package("vim").update(SECURITY) => Missing, RULE, installs;
    }
    assert_eq!(plan(&rejected(block), &[curl()]).blocked, ["curl"]);
    assert_eq!(plan(&rejected(allow), &[curl()]).blocked, Vec::<String>::new());
}

#[test]
fn the_highest_compliance_level_of_those_who_approve_counts() {
    let baseline = changed(|b| {
        let rule = b.approval_rules[0].clone();
        let level = |compliance_level| ApprovalRule { compliance_level, ..rule.clone() };
        b.approval_rules = vec![
            level(ComplianceLevel::Low),
            level(ComplianceLevel::High),
            level(ComplianceLevel::High),
            ApprovalRule {
                filters: vec![filter(PatchFilterKey::Section, &["net"])],
                ..level(ComplianceLevel::Critical)
            },
        ];
        b.approved_patches = vec!["vim".to_owned(), "tzdata".to_owned()];
        b.approved_patches_compliance_level = ComplianceLevel::Critical;
    });
    let packages = ["curl", "vim"].map(|name| package(name).update(SECURITY));
    let decided: Vec<_> = plan(&baseline, &packages)
        .decisions
        .into_iter()
        .map(|d| (d.key.name, d.rule, d.compliance_level, d.reason))
        .collect();
    assert_eq!(
        decided,
        [
            ("curl".to_owned(), Some(1), ComplianceLevel::High, Reason::ApprovedByRule { rule: 1 }),
            ("vim".to_owned(), None, ComplianceLevel::Critical, Reason::ApprovedByList),
        ]
    );
}

#[test]
fn a_decision_says_what_it_is_about_and_the_plan_installs_exactly_that_version() {
    let plan = plan(&debian(), &[package("curl").update(SECURITY), package("bash").from(MAIN)]);
    let [bash, curl] = plan.decisions.as_slice() else { panic!("two decisions, by name") };
    assert_eq!(bash.classification, "");
    assert_eq!(curl.classification, "Security");
    assert!(curl.security && !bash.security);
    assert_eq!(curl.severity, "");
    assert_eq!((curl.installed_version.as_str(), curl.available_version.as_deref()), ("1.0-1", Some("1.0-1+deb12u1")));
    assert_eq!(
        plan.install,
        [PlannedInstall {
            name: "curl".to_owned(),
            architecture: "amd64".to_owned(),
            from: "1.0-1".to_owned(),
            to: "1.0-1+deb12u1".to_owned(),
        }]
    );
    assert_eq!(plan.planned_at, at("2026-03-01T00:00:00Z"));
}

#[test]
fn what_is_only_configuration_files_is_not_installed() {
    let plan = plan(&debian(), &[package("curl").state(InstallState::ConfigFiles).update(SECURITY)]);
    assert_eq!((plan.decisions, plan.install), (vec![], vec![]));
}

#[test]
fn notes_tell_what_has_no_effect() {
    let baseline = changed(|b| b.approved_patches = vec!["zsh".to_owned(), "curl".to_owned(), "ash".to_owned()]);
    let plan = plan(&baseline, &[package("curl").state(InstallState::Unpacked).update(SECURITY)]);
    let texts: Vec<String> = plan.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "approval delays and dates have no effect here, because apt archives carry no release dates (approval rule 1)",
            "approved by name but not installed, so not added: ash, zsh",
            "curl:amd64: dpkg has not finished installing it (unpacked)",
        ]
    );
    let undated = changed(|b| b.approval_rules[0].approve_after_days = Some(0));
    assert_eq!(super::notes(&undated, &[]), []);
    let until = changed(|b| {
        b.approval_rules[0].approve_after_days = None;
        b.approval_rules[0].approve_until_date = Some(crate::ApprovalDate::parse("2000-01-01").unwrap());
    });
    assert_eq!(super::notes(&until, &[]), [PlanNote::ApprovalDatesIgnored { rules: vec![0] }]);
    assert_eq!(one(&until, package("curl").update(SECURITY)), (PatchState::Missing, RULE, true));
}

#[test]
fn what_cannot_be_planned_is_refused_by_name() {
    let refusal = |baseline: &PatchBaseline, id: &str| {
        let host = Distribution { id: id.to_owned(), ..bookworm() };
        plan_patches(baseline, &host, &[], Timestamp::EPOCH).unwrap_err().to_string()
    };
    let of = |os| predefined_default(os).unwrap();
    assert_eq!(refusal(&debian(), "gentoo"), "patching does not know the distribution 'gentoo'");
    assert_eq!(refusal(&debian(), "ubuntu"), "the patch baseline is for DEBIAN, but this host is UBUNTU");
    assert_eq!(refusal(&of(OperatingSystem::RockyLinux), "rocky"), "patching ROCKY_LINUX is not supported yet");
    let wrong_filter = changed(|b| b.global_filters = vec![filter(PatchFilterKey::Severity, &["Critical"])]);
    assert_eq!(
        refusal(&wrong_filter, "debian"),
        "the patch baseline filters by SEVERITY, which packages of this operating system do not have"
    );
    let with_source = |product: &str| {
        let source = crate::PatchSource {
            name: "mirror".to_owned(),
            products: vec![product.to_owned()],
            configuration: crate::SourceConfiguration::new("deb http://user:secret@mirror bookworm main".to_owned()),
        };
        changed(|b| b.sources = vec![source])
    };
    assert!(refusal(&with_source("*"), "debian").contains("'mirror'"));
    assert!(refusal(&with_source("Debian12"), "debian").contains("'mirror'"));
    assert!(plan_patches(&with_source("Debian11"), &bookworm(), &[], Timestamp::EPOCH).is_ok());
}

#[test]
fn ubuntu_and_raspbian_are_planned_for_likewise() {
    for (os, id, suite) in [
        (OperatingSystem::Ubuntu, "ubuntu", "jammy-security"),
        (OperatingSystem::Raspbian, "raspbian", "bookworm-security"),
    ] {
        let host = Distribution { id: id.to_owned(), ..bookworm() };
        let archive = Archive { suite: suite.to_owned(), ..Archive::default() };
        let curl = package("curl").update(SECURITY).with_update(|u| u.archives = vec![archive]);
        let plan = plan_patches(&predefined_default(os).unwrap(), &host, &[curl], Timestamp::EPOCH).unwrap();
        assert_eq!(plan.install.len(), 1, "{id}");
    }
}

#[test]
fn every_reason_is_a_sentence_and_survives_json() {
    let action = RejectedPatchesAction::Block;
    for (reason, sentence) in [
        (Reason::ApprovedByRule { rule: 1 }, "approval rule 2 approves the newer version"),
        (Reason::Rejected { action }, "the list of rejected patches names it, and rejected patches are blocked"),
        (Reason::Held, "the newer version is approved, but the package is on hold"),
        (
            up_to_date(Coverage::NotFromSecurityArchive),
            "nothing newer is offered; the installed version comes from no security archive",
        ),
        (
            Reason::Phased { percentage: 20 },
            "the newer version is approved, but so far offered to 20 % of hosts, and not to this one",
        ),
        (Reason::InstallFailed { message: "no space".to_owned() }, "its installation failed: no space"),
    ] {
        assert_eq!(reason.to_string(), sentence);
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), reason);
    }
}

fn any_not_taken() -> impl Strategy<Value = Option<NotTaken>> {
    prop_oneof![
        5 => Just(None),
        1 => Just(Some(NotTaken::Held)),
        1 => (0u8..100).prop_map(|percentage| Some(NotTaken::Phased { percentage })),
        1 => (-1i32..500).prop_map(|priority| Some(NotTaken::Pinned { priority })),
    ]
}

fn any_package(name: String) -> impl Strategy<Value = HostPackage> {
    let archives = || proptest::sample::subsequence(vec![MAIN, UPDATES, SECURITY], 0..=3);
    let offered = || proptest::sample::subsequence(vec![MAIN, UPDATES, SECURITY], 1..=3);
    let update = proptest::option::of((offered(), any_not_taken(), proptest::sample::select(vec!["web", "net"])));
    let state =
        proptest::sample::select(vec![InstallState::Installed, InstallState::Unpacked, InstallState::ConfigFiles]);
    (archives(), update, state, any::<bool>()).prop_map(move |(installed, update, state, held)| {
        let mut made = package(&name).state(state);
        made.installed.held = held;
        made.archives = installed.into_iter().map(archive).collect();
        if let Some((offered, not_taken, section)) = update {
            made = made.update_from(&offered).with_update(|u| {
                u.not_taken = not_taken;
                u.section = section.to_owned();
            });
        }
        made
    })
}

fn any_host() -> impl Strategy<Value = Vec<HostPackage>> {
    let names: Vec<String> = (0..12).map(|n| format!("package{n}")).collect();
    names.into_iter().map(any_package).collect::<Vec<_>>().prop_shuffle()
}

fn any_baseline() -> impl Strategy<Value = PatchBaseline> {
    let names = || proptest::sample::subsequence((0..12).map(|n| format!("package{n}")).collect::<Vec<_>>(), 0..4);
    let levels = proptest::sample::select(ComplianceLevel::ALL.to_vec());
    let sections = proptest::sample::select(vec!["web", "net", "*"]);
    let rule = (sections, levels, any::<bool>());
    (names(), names(), any::<bool>(), any::<bool>(), proptest::collection::vec(rule, 0..3)).prop_map(
        |(approved, rejected, block, non_security, rules)| {
            changed(|b| {
                b.approved_patches = approved;
                b.rejected_patches = rejected;
                b.approved_patches_enable_non_security = non_security;
                if block {
                    b.rejected_patches_action = RejectedPatchesAction::Block;
                }
                let rule = |(section, compliance_level, enable_non_security)| ApprovalRule {
                    filters: vec![filter(PatchFilterKey::Section, &[section])],
                    compliance_level,
                    approve_after_days: None,
                    approve_until_date: None,
                    enable_non_security,
                };
                b.approval_rules = rules.into_iter().map(rule).collect();
            })
        },
    )
}

proptest! {
    #[test]
    fn the_order_of_the_packages_does_not_matter(baseline in any_baseline(), host in any_host()) {
        let mut sorted = host.clone();
        sorted.sort_by(|a, b| a.installed.cmp(&b.installed));
        prop_assert_eq!(plan(&baseline, &host), plan(&baseline, &sorted));
    }

    #[test]
    fn nothing_rejected_held_phased_or_pinned_is_installed(baseline in any_baseline(), host in any_host()) {
        let plan = plan(&baseline, &host);
        for install in &plan.install {
            let package = host.iter().find(|p| p.installed.name == install.name).unwrap();
            let update = package.update.as_ref().unwrap();
            prop_assert!(!baseline.rejected_patches.contains(&install.name));
            prop_assert!(!package.installed.held);
            prop_assert_eq!(&update.not_taken, &None);
            prop_assert_eq!(&update.version, &install.to);
            let free = baseline.approved_patches_enable_non_security
                || baseline.approval_rules.iter().any(|rule| rule.enable_non_security);
            prop_assert!(free || update.is_security());
        }
        for blocked in &plan.blocked {
            prop_assert!(plan.install.iter().all(|install| install.name != *blocked));
        }
    }

    #[test]
    fn every_installed_package_has_one_decision_and_the_missing_ones_an_update(
        baseline in any_baseline(),
        host in any_host(),
    ) {
        let plan = plan(&baseline, &host);
        let present = host.iter().filter(|p| p.installed.state != InstallState::ConfigFiles).count();
        prop_assert_eq!(plan.decisions.len(), present);
        for decision in &plan.decisions {
            match decision.state {
                PatchState::Missing => prop_assert!(decision.available_version.is_some()),
                PatchState::Installed | PatchState::InstalledOther => {}
                PatchState::InstalledRejected => prop_assert!(plan.blocked.contains(&decision.key.name)),
                other => prop_assert!(false, "a plan knows no {}", other),
            }
        }
        let missing = plan.decisions.iter().filter(|d| d.state == PatchState::Missing).count();
        prop_assert!(plan.install.len() <= missing);
    }

    #[test]
    fn with_the_predefined_baseline_missing_means_a_security_archive_offers_the_candidate(host in any_host()) {
        for decision in plan(&debian(), &host).decisions {
            let package = host.iter().find(|p| p.installed.name == decision.key.name).unwrap();
            let candidate = package
                .update
                .as_ref()
                .filter(|update| !matches!(update.not_taken, Some(NotTaken::Pinned { .. })));
            let expected = candidate.is_some_and(AvailableUpdate::is_security);
            prop_assert_eq!(decision.state == PatchState::Missing, expected);
        }
    }

    #[test]
    fn a_plan_survives_json(baseline in any_baseline(), host in any_host()) {
        let plan = plan(&baseline, &host);
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<PatchPlan>(&json).unwrap(), plan);
    }
}
