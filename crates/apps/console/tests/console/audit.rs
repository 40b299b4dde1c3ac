//! The rooms of the audit log.

use crate::browser::Browser;
use crate::furnished::{self, Furnished};
use access::Principal;
use aws_wire::ssm::{CreatePatchBaselineRequest, UpdatePatchBaselineRequest};
use axum::http::StatusCode;
use identifiers::{AccountId, Timestamp};

fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T15:00:00Z").unwrap()
}

/// Somebody is signed in, and a baseline with a name that a spreadsheet would run was made and renamed.
async fn signed_in() -> (Furnished, Browser) {
    let furnished = Furnished::new(now()).await;
    let mut browser = Browser::new(&furnished);
    browser.sign_in(&furnished.link().await).await;
    let principal = Principal::Console {
        account: AccountId::parse("000000000000").unwrap(),
        user: identifiers::UserName::parse("=cmd@x").unwrap(),
        role: access::Role::Administrator,
    };
    let context = furnished.server.context(furnished::scope(), principal, "192.0.2.77".to_owned());
    let make = CreatePatchBaselineRequest {
        name: Some("baseline".to_owned()),
        description: Some("before".to_owned()),
        ..CreatePatchBaselineRequest::default()
    };
    let id = control::perform(&context, make).await.unwrap().baseline_id;
    let rename = UpdatePatchBaselineRequest {
        baseline_id: id,
        description: Some("<b>after</b>".to_owned()),
        ..UpdatePatchBaselineRequest::default()
    };
    control::perform(&context, rename).await.unwrap();
    (furnished, browser)
}

#[tokio::test]
async fn the_log_is_searched_and_a_record_says_what_changed() {
    let (_furnished, mut browser) = signed_in().await;
    let page = browser.get("/console/audit").await.ok();
    page.shows("ssm:UpdatePatchBaseline");
    page.shows("not sealed yet");
    page.shows("=cmd@x");
    let page = browser
        .get("/console/audit?action=ssm%3AUpdatePatchBaseline&source_address=192.0.2.77&since=2026-11-22T14%3A00")
        .await
        .ok();
    page.shows(r#"value="ssm:UpdatePatchBaseline""#);
    page.shows(r#"value="2026-11-22T14:00""#);
    page.shows("format=csv");
    assert_eq!(page.count("<tr>"), 2, "{}", page.body);
    let seq = page.between(r#"data-label="Record"><a href="/console/audit/"#, "\"").unwrap();
    let record = browser.get(&format!("/console/audit/{seq}")).await.ok();
    record.shows("192.0.2.77");
    record.shows("before");
    record.shows("&#60;b&#62;after&#60;/b&#62;");
    record.lacks("<b>after");
    for (address, words) in [
        ("/console/audit?outcome=refused", "No such record"),
        ("/console/audit?until=1970-01-02", "No such record"),
        ("/console/audit?principal=%27%20OR%201%3D1", "No such record"),
    ] {
        browser.get(address).await.ok().shows(words);
    }
}

#[tokio::test]
async fn what_cannot_be_looked_for_is_said() {
    let (_furnished, mut browser) = signed_in().await;
    for (address, status) in [
        ("/console/audit?since=yesterday", StatusCode::BAD_REQUEST),
        ("/console/audit?outcome=perhaps", StatusCode::BAD_REQUEST),
        ("/console/audit?after=nonsense", StatusCode::BAD_REQUEST),
        ("/console/audit/export?since=yesterday", StatusCode::BAD_REQUEST),
        ("/console/audit/999999", StatusCode::NOT_FOUND),
        ("/console/audit/nonsense", StatusCode::NOT_FOUND),
        ("/console/audit/-5", StatusCode::NOT_FOUND),
        ("/console/audit/verify", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(browser.get(address).await.status, status, "{address}");
    }
    let foreign = browser.post("/console/audit/verify", "csrf=wrong&head=").await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_log_leaves_as_a_file_and_that_is_written_down() {
    let (furnished, mut browser) = signed_in().await;
    let csv = browser.get("/console/audit/export?format=csv&source_address=192.0.2.77").await.ok();
    let lines: Vec<&str> = csv.body.lines().collect();
    assert_eq!(lines.len(), 3, "{}", csv.body);
    assert!(
        lines[0].starts_with("seq,at,principal,") && lines[1].contains(r#","console/=cmd@x","ssm:"#),
        "{}",
        csv.body
    );
    assert_eq!(
        csv.header("content-disposition"),
        format!("attachment; filename=\"careen-audit-000000000000-{}.csv\"", furnished::scope().region)
    );
    let json = browser.get("/console/audit/export?format=json&source_address=192.0.2.77").await.ok();
    assert!(
        json.body.lines().all(|line| line.starts_with(r#"{"seq":"#)) && json.body.lines().count() == 2,
        "{}",
        json.body
    );
    let query =
        store::AuditQuery { action: Some("careen:ExportAuditRecords".to_owned()), ..store::AuditQuery::all(10) };
    let written = furnished.server.store.audit_list(&furnished::scope(), &query).await.unwrap();
    assert_eq!(written.len(), 2);
    assert!(written[0].record.principal.starts_with("console/"));
}

#[tokio::test]
async fn the_log_is_verified_from_here() {
    let (furnished, mut browser) = signed_in().await;
    furnished.clock.advance_seconds(11);
    control::reconcilers::activate_all(&furnished.server).await.unwrap();
    let page = browser.get("/console/audit").await.ok();
    page.shows(r#"<span class="soft">sealed</span>"#);
    let csrf = browser.csrf().await;
    let found = browser.post("/console/audit/verify", &format!("csrf={csrf}&head=")).await.ok();
    found.shows(r#"unbroken <span class="tag good">verified</span>"#);
    let lost = browser.post("/console/audit/verify", &format!("csrf={csrf}&head={}", "a".repeat(64))).await.ok();
    lost.shows("is not in the chain");
    lost.lacks("unbroken");
}
