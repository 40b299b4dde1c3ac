use super::*;
use crate::testing::*;
use changes::Revision;

const OWN: &str = "pb-00112233445566778";

fn own(os: OperatingSystem) -> PatchBaseline {
    changed(|b| {
        b.id = BaselineId::parse(OWN).unwrap();
        b.owner = BaselineOwner::Own;
        b.operating_system = os;
    })
}

fn group(name: &str) -> PatchGroupName {
    PatchGroupName::parse(name).unwrap()
}

fn registration(name: &str, os: OperatingSystem, baseline: &PatchBaseline) -> PatchGroupRegistration {
    PatchGroupRegistration {
        patch_group: group(name),
        operating_system: os,
        baseline: baseline.id.clone(),
        predefined: baseline.owner == BaselineOwner::Predefined,
    }
}

fn default_row(baseline: &PatchBaseline) -> DefaultBaseline {
    DefaultBaseline {
        operating_system: baseline.operating_system,
        baseline: baseline.id.clone(),
        predefined: baseline.owner == BaselineOwner::Predefined,
    }
}

#[test]
fn a_default_is_registered_for_the_baselines_own_operating_system() {
    let baseline = own(OperatingSystem::Ubuntu);
    let changes = register_default(&versioned(3, baseline.clone()), &versioned(7, None));
    assert_eq!(changes.writes, [Write::DefaultPut(default_row(&baseline))]);
    let touched =
        [(aggregate::baseline(&baseline.id), Revision(3)), (aggregate::default(OperatingSystem::Ubuntu), Revision(7))];
    assert_eq!(changes.read, touched, "so that deleting the baseline meanwhile conflicts");
    assert_eq!(changes.touched, touched.map(|(aggregate, _)| aggregate));
}

#[test]
fn going_back_to_the_predefined_default_touches_no_baseline() {
    let changes =
        register_default(&versioned(0, debian()), &versioned(1, Some(default_row(&own(OperatingSystem::Debian)))));
    let [Write::DefaultPut(row)] = changes.writes.as_slice() else { panic!("one write") };
    assert!(row.predefined);
    assert_eq!(changes.read, [(aggregate::default(OperatingSystem::Debian), Revision(1))]);
}

#[test]
fn a_patch_group_has_one_baseline_for_each_operating_system() {
    let os = OperatingSystem::Debian;
    let baseline = own(os);
    let web = group("web");
    let changes = register_patch_group(&versioned(2, baseline.clone()), &web, &versioned(0, None)).unwrap();
    assert_eq!(changes.writes, [Write::PatchGroupPut(registration("web", os, &baseline))]);
    assert_eq!(changes.touched, [aggregate::baseline(&baseline.id), aggregate::patch_group(&web, os)]);
    assert_eq!(aggregate::patch_group(&web, os).id, "DEBIAN/web");

    let same = versioned(1, Some(registration("web", os, &baseline)));
    assert!(register_patch_group(&versioned(2, baseline.clone()), &web, &same).unwrap().is_empty());

    let other = versioned(1, Some(registration("web", os, &debian())));
    let refused = register_patch_group(&versioned(2, baseline), &web, &other).unwrap_err();
    assert_eq!(refused.aws_code(), "AlreadyExistsException");
    assert_eq!(
        refused.to_string(),
        "Patch Group baseline already has a baseline registered for OperatingSystem DEBIAN."
    );
}

#[test]
fn deregistering_takes_exactly_the_named_pair_away() {
    let os = OperatingSystem::Debian;
    let mine = own(os);
    let rows = [
        versioned(4, registration("web", os, &mine)),
        versioned(5, registration("db", os, &mine)),
        versioned(6, registration("web", OperatingSystem::Ubuntu, &debian())),
    ];
    let writes = |given: &str, name: &str| {
        deregister_patch_group(given, &scope(), &group(name), &rows).map(|changes| (changes.writes, changes.read))
    };
    let gone = Write::PatchGroupDelete { patch_group: group("web"), operating_system: os };
    assert_eq!(writes(OWN, "web"), Ok((vec![gone], vec![(aggregate::patch_group(&group("web"), os), Revision(4))])));
    assert_eq!(writes(OWN, "mail"), Ok((vec![], vec![])), "a group that is not registered");
    assert_eq!(writes("pb-0ffffffffffffffff", "web"), Ok((vec![], vec![])), "another baseline");
    let arn = debian().public_id(&scope().region);
    assert_eq!(writes(&arn, "web").unwrap().0.len(), 1, "a predefined baseline by its ARN");
    assert_eq!(writes("rubbish", "web").unwrap_err().aws_code(), "InvalidResourceId");
}

#[test]
fn the_patch_groups_baseline_comes_before_the_accounts_and_that_before_the_predefined_one() {
    let os = OperatingSystem::Debian;
    let mine = own(os);
    let ubuntu = predefined_default(OperatingSystem::Ubuntu).unwrap();
    let web = group("web");
    let of_group = [registration("web", os, &mine), registration("web", OperatingSystem::Ubuntu, &ubuntu)];
    let of_account = [default_row(&mine)];
    let in_group = Why::PatchGroup { patch_group: web.clone() };
    type Case<'a> = (
        &'a str,
        Option<&'a PatchGroupName>,
        OperatingSystem,
        &'a [PatchGroupRegistration],
        &'a [DefaultBaseline],
        &'a BaselineId,
        Why,
    );
    let (predefined, mail) = (debian(), group("mail"));
    let alma = predefined_default(OperatingSystem::AlmaLinux).unwrap();
    let cases: [Case<'_>; 6] = [
        ("its group is registered", Some(&web), os, &of_group, &[], &mine.id, in_group.clone()),
        (
            "the group counts for each system apart",
            Some(&web),
            OperatingSystem::Ubuntu,
            &of_group,
            &of_account,
            &ubuntu.id,
            in_group,
        ),
        ("its group is not registered", Some(&mail), os, &of_group, &of_account, &mine.id, Why::AccountDefault),
        ("it has no group", None, os, &of_group, &of_account, &mine.id, Why::AccountDefault),
        ("nothing was chosen", None, os, &of_group, &[], &predefined.id, Why::PredefinedDefault),
        (
            "others were chosen",
            Some(&web),
            OperatingSystem::AlmaLinux,
            &of_group,
            &of_account,
            &alma.id,
            Why::PredefinedDefault,
        ),
    ];
    for (case, group, os, registrations, defaults, id, why) in cases {
        let found = resolve_baseline(group, os, registrations, defaults, std::slice::from_ref(&mine)).unwrap();
        assert_eq!((&found.baseline.id, found.why), (id, why), "{case}");
    }
}

#[test]
fn a_baseline_is_named_or_refused_with_the_right_error() {
    let row = versioned(2, Some(own(OperatingSystem::Debian)));
    assert_eq!(named_baseline(OWN, &scope(), &row).unwrap().revision, Revision(2));
    let code = |given: &str, row| named_baseline(given, &scope(), &row).unwrap_err().aws_code();
    assert_eq!(code(OWN, versioned(0, None)), "DoesNotExistException");
    assert_eq!(code(debian().id.as_str(), versioned(0, None)), "DoesNotExistException");
    assert_eq!(code("pb-0ffffffffffffffff", row.clone()), "DoesNotExistException", "a row of another id is not it");
    assert_eq!(code("pb-too-short-to-be-one", row), "InvalidResourceId");
}
