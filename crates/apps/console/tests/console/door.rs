//! Who comes in, by what address, and which forms are believed.

use crate::browser::{Browser, HOST};
use crate::furnished::{Furnished, WEB, scope};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use identifiers::Timestamp;
use store::{AuditQuery, CommandQuery};

fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T15:00:00Z").unwrap()
}

async fn arrived() -> (Furnished, Browser) {
    let furnished = Furnished::new(now()).await;
    let browser = Browser::new(&furnished);
    (furnished, browser)
}

/// Sets a header, or takes it away where the value is empty.
fn with(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.remove(name);
    if !value.is_empty() {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
}

async fn commands_sent(furnished: &Furnished) -> usize {
    furnished.server.store.command_list(&scope(), &CommandQuery::all(100)).await.unwrap().len()
}

#[tokio::test]
async fn a_link_signs_in_once_by_its_button_alone() {
    let (furnished, mut browser) = arrived().await;
    let link = furnished.link().await;
    let address = format!("/console/sign-in?token={link}");
    // Looked at twice, as a chat's preview does, it is not used up.
    for _ in 0..2 {
        let page = browser.get(&address).await.ok();
        page.shows(r#"<form method="post" action="/console/sign-in">"#);
        page.shows(&link);
        assert_eq!(browser.cookie, None);
    }
    browser.sign_in(&link).await;
    browser.get("/console").await.ok().shows("Sign out");

    let mut second = Browser::new(&furnished);
    let refused = second.post("/console/sign-in", &format!("token={link}")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    refused.shows("was used already, or has expired");
    assert_eq!(second.cookie, None);

    let query = AuditQuery { action: Some("careen:SignIn".to_owned()), ..AuditQuery::all(10) };
    let audit = furnished.server.store.audit_list(&scope(), &query).await.unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].record.source_address, "127.0.0.1");
}

#[tokio::test]
async fn old_and_unknown_links_are_refused() {
    let (furnished, mut browser) = arrived().await;
    let link = furnished.link().await;
    furnished.clock.advance_seconds(control::settings::SIGN_IN_LINK_SECONDS);
    for form in [format!("token={link}"), "token=unknown".to_owned(), "token=".to_owned(), String::new()] {
        let refused = browser.post("/console/sign-in", &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{form}");
        assert_eq!(browser.cookie, None);
    }
}

#[tokio::test]
async fn nobody_reads_anything_without_a_session() {
    let (furnished, mut browser) = arrived().await;
    let rooms = [
        "/console",
        "/console/nodes/mi-00000000000000001",
        "/console/nodes/mi-00000000000000001/history",
        "/console/commands",
        "/console/commands/11111111-1111-4111-8111-111111111111",
        "/console/commands/11111111-1111-4111-8111-111111111111/mi-00000000000000001",
        "/console/nowhere",
    ];
    for cookie in [None, Some("careen-8470=guessed".to_owned()), Some("careen-8470=".to_owned())] {
        browser.cookie = cookie;
        for path in rooms {
            let page = browser.get(path).await;
            assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
            assert!(page.location().starts_with("/console/sign-in"), "{path}");
            assert_eq!(page.body, "");
        }
    }
    // A session ends by itself.
    browser.sign_in(&furnished.link().await).await;
    browser.get("/console").await.ok();
    furnished.clock.advance_seconds(control::settings::SESSION_SECONDS);
    assert_eq!(browser.get("/console").await.location(), "/console/sign-in?expired");
    browser.get("/console/sign-in?expired").await.ok().shows("Your session has ended.");
}

#[tokio::test]
async fn the_cookie_is_for_this_console_alone() {
    let (furnished, mut browser) = arrived().await;
    let link = furnished.link().await;
    let answer = browser.post("/console/sign-in", &format!("token={link}")).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("careen-8470="), "{cookie}");
    for part in ["; Path=/console", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_server() {
    let (furnished, mut browser) = arrived().await;
    browser.sign_in(&furnished.link().await).await;
    let (cookie, csrf) = (browser.cookie.clone(), browser.csrf().await);
    assert_eq!(browser.post("/console/sign-out", "csrf=wrong").await.status, StatusCode::FORBIDDEN);
    browser.get("/console").await.ok();
    let answer = browser.post("/console/sign-out", &format!("csrf={csrf}")).await;
    assert_eq!(answer.location(), "/console/sign-in?left");
    assert_eq!(browser.cookie, None);
    browser.get("/console/sign-in?left").await.ok().shows("You are signed out.");
    browser.cookie = cookie;
    assert_eq!(browser.get("/console").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn forms_that_this_session_did_not_make_do_nothing() {
    let (furnished, mut browser) = arrived().await;
    browser.sign_in(&furnished.link().await).await;
    let csrf = browser.csrf().await;
    let mut other = Browser::new(&furnished);
    other.sign_in(&furnished.link().await).await;
    let (of_other, before) = (other.csrf().await, commands_sent(&furnished).await);
    assert_ne!(csrf, of_other);
    let path = format!("/console/nodes/{WEB}/patch");
    let right = format!("csrf={csrf}&operation=Scan");
    for form in ["operation=Scan", "csrf=&operation=Scan", "csrf=wrong", &format!("csrf={of_other}"), "%%%", ""] {
        let page = browser.post(&path, form).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{form}");
        page.shows("nothing was done");
        page.shows("Open the page again");
    }
    for (name, value) in [
        ("origin", "null"),
        ("origin", "http://evil.example"),
        ("origin", "http://127.0.0.1:8471"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("content-type", "text/plain"),
    ] {
        let page = browser.ask("POST", &path, &right, |headers| with(headers, name, value)).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let large = format!("{right}&filling={}", "x".repeat(20_000));
    assert_eq!(browser.post(&path, &large).await.status, StatusCode::FORBIDDEN);
    assert_eq!(commands_sent(&furnished).await, before);
    // A client that sends neither header is believed by its token.
    let strip =
        |headers: &mut HeaderMap| ["origin", "sec-fetch-site"].into_iter().for_each(|name| with(headers, name, ""));
    let page = browser.ask("POST", &path, &right, strip).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(commands_sent(&furnished).await, before + 1);
}

#[tokio::test]
async fn another_sites_name_for_this_address_is_refused_everywhere() {
    let (furnished, mut browser) = arrived().await;
    browser.sign_in(&furnished.link().await).await;
    let link = furnished.link().await;
    for host in ["evil.example:8470", "evil.example", "10.0.0.7:8470", ""] {
        for (method, path) in [
            ("GET", "/console"),
            ("GET", "/console/sign-in"),
            ("GET", "/console/assets/console.css"),
            ("GET", "/console/nowhere"),
            ("POST", "/console/sign-in"),
        ] {
            let origin = format!("http://{host}");
            let change = |headers: &mut HeaderMap| {
                with(headers, "host", host);
                if method == "POST" {
                    with(headers, "origin", &origin);
                }
            };
            let page = browser.ask(method, path, &format!("token={link}"), change).await;
            assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
            page.shows("ssh -L 8470:127.0.0.1:8470");
            page.lacks("web-1");
        }
    }
    // The link was not used up by any of these.
    browser.sign_in(&link).await;
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let (furnished, mut browser) = arrived().await;
    let signed_out = ["/console", "/console/sign-in", "/console/nowhere", "/console/assets/console.css"];
    let mut answers = Vec::new();
    for path in signed_out {
        answers.push(browser.get(path).await);
    }
    answers.push(browser.ask("GET", "/console", "", |headers| with(headers, "host", "evil.example")).await);
    answers.push(browser.post("/console/sign-in", "token=x").await);
    browser.sign_in(&furnished.link().await).await;
    for path in ["/console", "/console/nodes/nonsense", "/console/nodes/nonsense/patch"] {
        answers.push(browser.get(path).await);
    }
    for answer in &answers {
        let policy = answer.header("content-security-policy");
        for part in ["default-src 'self'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        let css = answer.header("content-type").starts_with("text/css");
        let kept = if css { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), kept);
    }
    assert_eq!(answers.iter().filter(|answer| answer.header("content-type").starts_with("text/css")).count(), 1);
}

#[tokio::test]
async fn the_style_sheet_is_asked_for_by_its_version() {
    let (_furnished, mut browser) = arrived().await;
    let page = browser.get("/console/sign-in").await.ok();
    let address = page.between(r#"<link rel="stylesheet" href=""#, "\"").unwrap();
    assert!(address.starts_with("/console/assets/console.css?v="), "{address}");
    browser.get(&address).await.ok().shows("prefers-color-scheme: dark");
    assert_eq!(HOST, "127.0.0.1:8470");
}
