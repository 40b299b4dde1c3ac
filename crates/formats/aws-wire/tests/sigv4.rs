//! Signature Version 4 against requests that botocore signed (`botocore_requests.py` made the record), and against
//! everything that must be refused.

#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy does not see that helpers of tests are tests.

use aws_wire::Sensitive;
use aws_wire::sigv4::{Protocol, SignatureError, SignedRequest, Verified, verify};
use identifiers::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
struct Record {
    access_key_id: String,
    secret: String,
    signed_at: String,
    requests: Vec<Recorded>,
}

#[derive(Deserialize, Clone)]
struct Recorded {
    name: String,
    region: String,
    service: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn record() -> Record {
    serde_json::from_str(include_str!("botocore_requests.json")).unwrap()
}

fn check(request: &Recorded, at: Timestamp) -> Result<Verified, SignatureError> {
    check_with(request, at, &record().secret)
}

fn check_with(request: &Recorded, at: Timestamp, secret: &str) -> Result<Verified, SignatureError> {
    let known = record().access_key_id;
    let headers: Vec<(&str, &[u8])> = request.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let signed = SignedRequest {
        method: &request.method,
        path: &request.path,
        query: &request.query,
        headers: &headers,
        body: request.body.as_bytes(),
    };
    verify(&signed, |id| (id.as_str() == known).then(|| Sensitive::from(secret.to_owned())), at)
}

fn signed_at() -> Timestamp {
    Timestamp::parse(&record().signed_at).unwrap()
}

/// The first recorded request, changed.
fn changed(change: impl FnOnce(&mut Recorded)) -> Result<Verified, SignatureError> {
    let mut request = record().requests.remove(0);
    change(&mut request);
    check(&request, signed_at())
}

fn header<'r>(request: &'r mut Recorded, name: &str) -> &'r mut String {
    &mut request.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1
}

#[test]
fn every_request_of_botocore_is_verified() {
    let record = record();
    assert!(record.requests.len() >= 15);
    for request in &record.requests {
        let verified = check(request, signed_at()).unwrap_or_else(|error| panic!("{}: {error}", request.name));
        assert_eq!(verified.access_key_id.as_str(), record.access_key_id);
        assert_eq!(verified.region.as_str(), request.region, "{}", request.name);
        assert_eq!(verified.service, request.service, "{}", request.name);
        assert_eq!(verified.signed_at, signed_at(), "{}", request.name);
    }
}

#[test]
fn header_names_and_order_do_not_matter() {
    changed(|request| {
        request.headers.reverse();
        for (name, _) in &mut request.headers {
            *name = name.to_uppercase();
        }
    })
    .unwrap();
}

#[test]
fn any_change_of_what_was_signed_is_noticed() {
    for request in &record().requests {
        let refused = |changed: Recorded, what: &str| {
            let error = check(&changed, signed_at()).expect_err(what);
            assert_eq!(error, SignatureError::Mismatch, "{}: {what}", request.name);
        };
        let change = |change: &dyn Fn(&mut Recorded)| {
            let mut changed = request.clone();
            change(&mut changed);
            changed
        };
        refused(change(&|r| r.body.push(' ')), "the body");
        refused(change(&|r| r.method = "PUT".to_owned()), "the method");
        refused(change(&|r| r.path.push_str("/x")), "the path");
        refused(change(&|r| r.query.push_str("&z=1")), "the query");
        refused(change(&|r| header(r, "host").push('x')), "the host");
        let verified = check_with(request, signed_at(), "another secret");
        assert_eq!(verified, Err(SignatureError::Mismatch), "{}", request.name);
        let authorization = request.headers.iter().find(|(n, _)| n == "Authorization").unwrap().1.clone();
        let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
        for name in signed.split(';').filter(|name| !matches!(*name, "date" | "x-amz-date")) {
            refused(change(&|r| header(r, name).push_str(" more")), name);
            if name != "my-header" {
                let error = check(&change(&|r| r.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name))), signed_at());
                assert_eq!(error, Err(SignatureError::Mismatch), "{}: without {name}", request.name);
            }
        }
    }
}

#[test]
fn the_clock_may_differ_by_five_minutes() {
    let request = record().requests.remove(0);
    check(&request, signed_at().plus_seconds(300)).unwrap();
    check(&request, signed_at().plus_seconds(-300)).unwrap();
    let late = check(&request, signed_at().plus_seconds(301)).unwrap_err();
    assert_eq!(
        late.to_string(),
        "Signature expired: 20260301T123045Z is now earlier than 20260301T123046Z (20260301T123546Z - 5 min.)"
    );
    let early = check(&request, signed_at().plus_seconds(-301)).unwrap_err();
    assert_eq!(
        early.to_string(),
        "Signature not yet current: 20260301T123045Z is still later than 20260301T123044Z (20260301T122544Z + 5 min.)"
    );
    assert_eq!(late.to_aws_error(Protocol::AwsJson).code, "InvalidSignatureException");
    assert_eq!(late.to_aws_error(Protocol::Query).code, "SignatureDoesNotMatch");
    // An unknown key is told as such, whatever else is wrong.
    let mut unknown = request;
    let authorization = header(&mut unknown, "authorization");
    *authorization = authorization.replace("AKIDCAREENEXAMPLE000", "AKIDCAREENEXAMPLE001");
    assert_eq!(check(&unknown, signed_at().plus_seconds(10_000)), Err(SignatureError::UnknownKey));
}

#[test]
fn each_failure_is_told_as_the_protocol_does() {
    let json = |error: &SignatureError| {
        let error = error.to_aws_error(Protocol::AwsJson);
        (error.code, error.http_status)
    };
    let query = |error: &SignatureError| {
        let error = error.to_aws_error(Protocol::Query);
        (error.code, error.http_status)
    };
    let pair = |code: &str, status| (code.to_owned(), status);
    let missing = changed(|r| r.headers.retain(|(name, _)| name != "Authorization")).unwrap_err();
    assert_eq!(json(&missing), pair("MissingAuthenticationTokenException", 400));
    assert_eq!(query(&missing), pair("MissingAuthenticationToken", 403));
    let unknown = changed(|r| *header(r, "authorization") = header(r, "authorization").replace("E000/", "E001/"));
    let unknown = unknown.unwrap_err();
    assert_eq!(json(&unknown), pair("UnrecognizedClientException", 400));
    assert_eq!(query(&unknown), pair("InvalidClientTokenId", 403));
    assert_eq!(unknown.to_string(), "The security token included in the request is invalid.");
    let wrong = changed(|r| r.body.clear()).unwrap_err();
    assert_eq!(json(&wrong), pair("InvalidSignatureException", 400));
    assert_eq!(query(&wrong), pair("SignatureDoesNotMatch", 403));
    let half = changed(|r| *header(r, "authorization") = "AWS4-HMAC-SHA256 Credential=a/b/c/d/e".to_owned());
    let half = half.unwrap_err();
    assert_eq!(json(&half), pair("IncompleteSignatureException", 400));
    assert_eq!(query(&half), pair("IncompleteSignature", 400));
    assert_eq!(
        half.to_string(),
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
    );
}

#[test]
fn malformed_authorization_headers_are_incomplete() {
    let good = header(&mut record().requests.remove(0), "authorization").clone();
    let cases = [
        String::new(),
        "AWS4-HMAC-SHA256".to_owned(),
        "Basic dXNlcjpwYXNz".to_owned(),
        good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        good.replace("SignedHeaders=", "SignedHeaders"),
        good.replace("/aws4_request", ""),
        good.replace("/aws4_request", "/x/aws4_request"),
        format!("{good}, Signature=00"),
        format!("{good}, Extra=00"),
        good.replace("host;", "höst;"),
        format!("{good} {}", "x".repeat(10_000)),
    ];
    for case in cases {
        let result = changed(|r| header(r, "authorization").clone_from(&case));
        assert!(matches!(result, Err(SignatureError::Incomplete(_))), "{case}: {result:?}");
    }
    for signature in ["", "00", "zz", "é"] {
        let case = format!("{}Signature={signature}", good.split("Signature=").next().unwrap());
        assert!(changed(|r| header(r, "authorization").clone_from(&case)).is_err());
    }
    let upper = good.split_once("Signature=").map(|(start, end)| format!("{start}Signature={}", end.to_uppercase()));
    assert_eq!(changed(|r| *header(r, "authorization") = upper.unwrap()), Err(SignatureError::Mismatch));
}

#[test]
fn a_credential_for_something_else_is_refused() {
    let cases = [("/us-east-1/", "/US EAST/"), ("aws4_request", "aws5_request"), ("/20260301/", "/20260302/")];
    for (from, to) in cases {
        let result = changed(|r| *header(r, "authorization") = header(r, "authorization").replace(from, to));
        assert!(matches!(result, Err(SignatureError::Refused(_))), "{to}: {result:?}");
    }
    for (from, to) in [("/us-east-1/", "/us-east-2/"), ("/ssm/", "/sts/")] {
        let result = changed(|r| *header(r, "authorization") = header(r, "authorization").replace(from, to));
        assert_eq!(result, Err(SignatureError::Mismatch), "{to}");
    }
    let verified = changed(|_| {}).unwrap();
    assert_eq!(verified.signed_for("ssm"), Ok(()));
    let error = verified.signed_for("sts").unwrap_err();
    assert_eq!(error.to_string(), "Credential should be scoped to correct service: 'sts'.");
}

#[test]
fn what_would_leave_room_for_doubt_is_refused() {
    let incomplete = |change: &dyn Fn(&mut Recorded)| {
        let result = changed(|r| change(r));
        assert!(matches!(result, Err(SignatureError::Incomplete(_))), "{result:?}");
    };
    for name in ["Authorization", "host", "X-AMZ-DATE", "x-amz-target"] {
        incomplete(&|r| {
            let value = header(r, name).clone();
            r.headers.push((name.to_owned(), value));
        });
    }
    incomplete(&|r| r.query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00".to_owned());
    incomplete(&|r| *header(r, "x-amz-date") = "2026-03-01T12:30:45Z".to_owned());
    incomplete(&|r| *header(r, "x-amz-date") = "20261301T123045Z".to_owned());
    incomplete(&|r| *header(r, "x-amz-date") = "2026030112304500".to_owned());
    incomplete(&|r| r.headers.retain(|(name, _)| name != "X-Amz-Date"));
    let refused = |change: &dyn Fn(&mut Recorded)| {
        let result = changed(|r| change(r));
        assert!(matches!(result, Err(SignatureError::Refused(_))), "{result:?}");
    };
    refused(&|r| *header(r, "authorization") = header(r, "authorization").replace(";x-amz-target", ""));
    refused(&|r| *header(r, "authorization") = header(r, "authorization").replace("host;", ""));
    refused(&|r| r.headers.push(("X-Amz-Content-Sha256".to_owned(), "UNSIGNED-PAYLOAD".to_owned())));
    let again = changed(|r| *header(r, "authorization") = header(r, "authorization").replace("host;", "host;host;"));
    assert_eq!(again, Err(SignatureError::Mismatch));
}

#[test]
fn a_session_token_is_an_unknown_one() {
    let result = changed(|r| {
        let authorization = header(r, "authorization");
        *authorization = authorization.replace("x-amz-date;", "x-amz-date;x-amz-security-token;");
        r.headers.push(("X-Amz-Security-Token".to_owned(), "token".to_owned()));
    });
    assert_eq!(result, Err(SignatureError::UnknownKey));
}

#[test]
fn unsigned_headers_are_free() {
    changed(|r| r.headers.push(("X-Forwarded-For".to_owned(), "127.0.0.1, ü".to_owned()))).unwrap();
    changed(|r| *header(r, "amz-sdk-request") = "attempt=2; max=3".to_owned()).unwrap();
}

#[test]
fn a_declared_body_must_be_the_one_received() {
    let request = record().requests.into_iter().find(|r| r.name == "a declared body").unwrap();
    check(&request, signed_at()).unwrap();
    for declared in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"] {
        let mut request = request.clone();
        *header(&mut request, "x-amz-content-sha256") = declared.to_owned();
        assert!(matches!(check(&request, signed_at()), Err(SignatureError::Refused(_))), "{declared}");
    }
}
