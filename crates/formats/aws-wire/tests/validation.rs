//! What inputs are refused, and in which words.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy does not see that helpers of tests are tests.

use aws_wire::ssm::{
    CreateActivationRequest, CreatePatchBaselineRequest, DescribeInstanceInformationRequest,
    DescribeInstancePatchStatesRequest, GetCommandInvocationRequest, ListCommandsRequest, SendCommandRequest,
};
use aws_wire::{Input, decode};
use serde_json::{Value, json};

/// The code and message of what is refused.
fn refused<I: Input + std::fmt::Debug>(input: Value) -> (String, String) {
    let error = decode::<I>(input.to_string().as_bytes()).expect_err("it should have been refused");
    assert_eq!(error.http_status, 400);
    (error.code, error.message.unwrap())
}

fn invalid<I: Input + std::fmt::Debug>(input: Value) -> String {
    let (code, message) = refused::<I>(input);
    assert_eq!(code, "ValidationException");
    message
}

fn misfit<I: Input + std::fmt::Debug>(input: Value) -> String {
    let (code, message) = refused::<I>(input);
    assert_eq!(code, "SerializationException");
    message
}

#[test]
fn a_required_member_must_not_be_absent_or_null() {
    let expected =
        "1 validation error detected: Value null at 'iamRole' failed to satisfy constraint: Member must not be null";
    assert_eq!(invalid::<CreateActivationRequest>(json!({})), expected);
    assert_eq!(invalid::<CreateActivationRequest>(json!({ "IamRole": null })), expected);
}

#[test]
fn an_empty_body_is_an_empty_structure() {
    assert_eq!(decode::<ListCommandsRequest>(b""), Ok(ListCommandsRequest::default()));
    assert_eq!(decode::<ListCommandsRequest>(b"{}"), Ok(ListCommandsRequest::default()));
}

#[test]
fn absent_and_empty_lists_differ_and_unknown_members_are_ignored() {
    let absent: SendCommandRequest = decode(br#"{"DocumentName":"AWS-RunShellScript","Later":{"a":[1]}}"#).unwrap();
    assert_eq!(absent.instance_ids, None);
    let empty: SendCommandRequest = decode(br#"{"DocumentName":"AWS-RunShellScript","InstanceIds":[]}"#).unwrap();
    assert_eq!(empty.instance_ids, Some(Vec::new()));
    let null: SendCommandRequest = decode(br#"{"DocumentName":"AWS-RunShellScript","InstanceIds":null}"#).unwrap();
    assert_eq!(null.instance_ids, None);
}

#[test]
fn numbers_have_ends() {
    assert_eq!(
        invalid::<ListCommandsRequest>(json!({ "MaxResults": 51 })),
        "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value \
         less than or equal to 50"
    );
    assert_eq!(
        invalid::<DescribeInstanceInformationRequest>(json!({ "MaxResults": 4 })),
        "1 validation error detected: Value '4' at 'maxResults' failed to satisfy constraint: Member must have value \
         greater than or equal to 5"
    );
    decode::<DescribeInstanceInformationRequest>(br#"{"MaxResults":5}"#).unwrap();
    decode::<ListCommandsRequest>(br#"{"MaxResults":50}"#).unwrap();
}

#[test]
fn one_value_may_break_several_constraints() {
    assert_eq!(
        invalid::<CreatePatchBaselineRequest>(json!({ "Name": "a!c", "OperatingSystem": "PLAN9" })),
        "2 validation errors detected: Value 'a!c' at 'name' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: ^[a-zA-Z0-9_\\-.]{3,128}$; Value 'PLAN9' at 'operatingSystem' failed to satisfy \
         constraint: Member must satisfy enum value set: [WINDOWS, AMAZON_LINUX, AMAZON_LINUX_2, AMAZON_LINUX_2022, \
         UBUNTU, REDHAT_ENTERPRISE_LINUX, SUSE, CENTOS, ORACLE_LINUX, DEBIAN, MACOS, RASPBIAN, ROCKY_LINUX, \
         ALMA_LINUX, AMAZON_LINUX_2023]"
    );
}

#[test]
fn paths_lead_through_lists_and_structures() {
    let rules = json!({ "PatchRules": [{ "PatchFilterGroup": { "PatchFilters": [] } }, { "ApproveAfterDays": 361 }] });
    assert_eq!(
        invalid::<CreatePatchBaselineRequest>(json!({ "Name": "abc", "ApprovalRules": rules })),
        "2 validation errors detected: Value '361' at 'approvalRules.patchRules.2.member.approveAfterDays' failed to \
         satisfy constraint: Member must have value less than or equal to 360; Value null at \
         'approvalRules.patchRules.2.member.patchFilterGroup' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn constraints_of_list_elements_are_told_at_the_list() {
    let states = |ids: Value| invalid::<DescribeInstancePatchStatesRequest>(json!({ "InstanceIds": ids }));
    assert_eq!(
        states(json!(["mi-0123456789abcdef0", "nonsense"])),
        "1 validation error detected: Value '[mi-0123456789abcdef0, nonsense]' at 'instanceIds' failed to satisfy \
         constraint: Member must satisfy constraint: [Member must satisfy regular expression pattern: \
         (^i-(\\w{8}|\\w{17})$)|(^mi-\\w{17}$)]"
    );
    assert_eq!(
        states(json!(["mi-0123456789abcdef0", null])),
        "1 validation error detected: Value null at 'instanceIds.2.member' failed to satisfy constraint: Member must \
         not be null"
    );
    assert!(
        states(json!(vec!["mi-0123456789abcdef0"; 51])).contains("Member must have length less than or equal to 50")
    );
}

#[test]
fn patterns_match_the_whole_value_and_ascii_words_only() {
    let id = |id: &str| json!({ "CommandId": "ef7fdfd8-9b57-4151-a15c-db9a12345678", "InstanceId": id }).to_string();
    decode::<GetCommandInvocationRequest>(id("mi-0123456789abcdef0").as_bytes()).unwrap();
    for wrong in ["xmi-0123456789abcdef0", "mi-0123456789abcdef0\n", "mi-é123456789abcdef0", "mi-0123456789abcdef"] {
        assert!(decode::<GetCommandInvocationRequest>(id(wrong).as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn lengths_count_characters() {
    let role = |name: String| decode::<CreateActivationRequest>(json!({ "IamRole": name }).to_string().as_bytes());
    role("é".repeat(64)).unwrap();
    let message = role("é".repeat(65)).unwrap_err().message.unwrap();
    assert!(
        message.ends_with("'iamRole' failed to satisfy constraint: Member must have length less than or equal to 64")
    );
}

#[test]
fn a_blank_that_needs_a_hand_written_check_is_refused() {
    let alarm = |name: &str| json!({ "DocumentName": "AWS-RunShellScript", "AlarmConfiguration": { "Alarms": [{ "Name": name }] } });
    decode::<SendCommandRequest>(alarm("an alarm").to_string().as_bytes()).unwrap();
    assert!(invalid::<SendCommandRequest>(alarm("  ")).contains("alarmConfiguration.alarms.1.member.name"));
}

#[test]
fn sensitive_values_are_never_echoed() {
    let secret = "s3cret-value";
    let source = json!({ "Name": "n", "Products": ["p"], "Configuration": secret.repeat(100) });
    let message = invalid::<CreatePatchBaselineRequest>(json!({ "Name": "abc", "Sources": [source] }));
    assert_eq!(
        message,
        "2 validation errors detected: Value at 'sources.1.member.configuration' failed to satisfy constraint: Member \
         must have length less than or equal to 1024; Value 'n' at 'sources.1.member.name' failed to satisfy \
         constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9_\\-.]{3,50}$"
    );
    let parameters = json!({ "DocumentName": "AWS-RunShellScript", "Parameters": { "commands": [secret, null] } });
    let message = invalid::<SendCommandRequest>(parameters);
    assert!(message.contains("'parameters.*.member.2.member'") && !message.contains(secret), "{message}");

    let input = json!({ "DocumentName": "AWS-RunShellScript", "Parameters": { "commands": [secret] } });
    let request: SendCommandRequest = decode(input.to_string().as_bytes()).unwrap();
    assert!(!format!("{request:?}").contains(secret));
    assert_eq!(request.parameters.unwrap().expose()["commands"], [secret]);
    let result =
        aws_wire::ssm::CreateActivationResult { activation_code: Some(secret.to_owned().into()), ..Default::default() };
    assert!(!format!("{result:?}").contains(secret));
}

#[test]
fn a_list_of_structures_with_secrets_hides_them_too() {
    let source = json!({ "Name": "name", "Products": ["p"], "Configuration": "s3cret" });
    let message = invalid::<CreatePatchBaselineRequest>(json!({ "Name": "abc", "Sources": vec![source; 21] }));
    assert!(message.contains("at 'sources' failed to satisfy constraint: Member must have length"), "{message}");
    assert!(message.contains("'[{Configuration=***, Name=name, Products=[p]}, "), "{message}");
    assert!(!message.contains("s3cret"));
}

#[test]
fn the_wrong_type_comes_before_any_constraint() {
    let both = json!({ "MaxResults": 51, "NextToken": 5 });
    assert_eq!(misfit::<ListCommandsRequest>(both), "NUMBER_VALUE can not be converted to a String");
    let wrong = |value: Value| misfit::<ListCommandsRequest>(json!({ "MaxResults": value }));
    assert_eq!(wrong(json!("5")), "STRING_VALUE can not be converted to an Integer");
    assert_eq!(wrong(json!([5])), "Start of list found where not expected");
    assert_eq!(wrong(json!({})), "Start of structure or map found where not expected.");
    for number in [json!(5.5), json!(5.0), json!(2_147_483_648_i64), json!(-2_147_483_649_i64), json!(u64::MAX)] {
        assert_eq!(wrong(number.clone()), "NUMBER_VALUE can not be converted to an Integer", "{number}");
    }
    assert_eq!(
        misfit::<ListCommandsRequest>(json!({ "Filters": {} })),
        "Start of structure or map found where not expected."
    );
    assert_eq!(
        misfit::<ListCommandsRequest>(json!({ "Filters": [5] })),
        "NUMBER_VALUE can not be converted to a structure or map"
    );
    assert_eq!(misfit::<ListCommandsRequest>(json!([])), "Start of list found where not expected");
    assert_eq!(
        misfit::<CreateActivationRequest>(json!({ "IamRole": "r", "ExpirationDate": "2026-01-01" })),
        "STRING_VALUE can not be converted to a Timestamp"
    );
}

#[test]
fn what_is_not_json_is_not_read() {
    for body in [&b"{"[..], b"{}{}", b"\xff", b"Action=GetCallerIdentity", b"{\"a\":1e999}"] {
        assert_eq!(decode::<ListCommandsRequest>(body).unwrap_err().code, "SerializationException");
    }
    let deep = format!("{{\"Unknown\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(decode::<ListCommandsRequest>(deep.as_bytes()).unwrap_err().code, "SerializationException");
}

#[test]
fn errors_and_echoes_are_bounded() {
    let filter = json!({ "key": "k", "value": "" });
    let message = invalid::<ListCommandsRequest>(json!({ "Filters": vec![filter; 5000] }));
    assert!(message.starts_with("10 validation errors detected: "), "{message}");
    assert!(message.len() < 10_000, "{}", message.len());
    let message = invalid::<ListCommandsRequest>(json!({ "InstanceId": "é".repeat(1_000_000) }));
    assert!(message.len() < 5_000 && message.contains("é...'"), "{}", message.len());
}
