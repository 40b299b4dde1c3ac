//! Nothing that comes over the wire makes the readers panic.

use aws_wire::query::Form;
use aws_wire::sigv4::{SignedRequest, verify};
use aws_wire::ssm::{CreatePatchBaselineRequest, SendCommandRequest};
use aws_wire::{Sensitive, decode};
use identifiers::Timestamp;
use proptest::prelude::*;

proptest! {
    #[test]
    fn forms(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Form::parse(&text).map(|form| {
            let _ = aws_wire::query::decode::<aws_wire::iam::CreateUserRequest>(&form);
            form.operation()
        });
    }

    #[test]
    fn forms_that_look_right(text in "([a-zA-Z%+=&0-9]{0,6}[=&%]){0,20}") {
        let _ = Form::parse(text.as_bytes());
    }

    #[test]
    fn bodies(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<SendCommandRequest>(&text);
    }

    #[test]
    fn bodies_that_look_right(name in ".{0,200}", value in ".{0,100}", days in any::<i64>()) {
        let rules = serde_json::json!({ "PatchRules": [{ "ApproveAfterDays": days, "ComplianceLevel": value }] });
        let body = serde_json::json!({ "Name": name, "Description": value, "ApprovalRules": rules, value.clone(): 1 });
        let _ = decode::<CreatePatchBaselineRequest>(body.to_string().as_bytes());
    }

    #[test]
    fn signatures(
        method in ".{0,8}",
        path in ".{0,50}",
        query in ".{0,50}",
        authorization in "(AWS4-HMAC-SHA256 )?(Credential=[^ ]{0,40}(/[0-9]{8}/r/s/aws4_request)?, ?)?(SignedHeaders=[a-z;-]{0,40},)?(Signature=.{0,70})?",
        date in "([0-9]{8}T[0-9]{6}Z|.{0,40})",
        other in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let headers: [(&str, &[u8]); 4] = [
            ("host", b"h"),
            ("authorization", authorization.as_bytes()),
            ("x-amz-date", date.as_bytes()),
            ("other", &other),
        ];
        let request = SignedRequest { method: &method, path: &path, query: &query, headers: &headers, body: &other };
        let secret = |_: &_| Some(Sensitive::from("secret".to_owned()));
        prop_assert!(verify(&request, secret, Timestamp::from_seconds(1_700_000_000)).is_err());
    }
}
