//! Users, access keys, sessions and the own password, as somebody with a browser meets them.

use crate::browser::Browser;
use crate::furnished::{Furnished, scope};
use access::Principal;
use axum::http::StatusCode;
use identifiers::{Timestamp, UserName};
use identity::Secret;

const PASSWORD: &str = "correct horse battery";

async fn signed_in() -> (Furnished, Browser, String) {
    let furnished = Furnished::empty(Timestamp::parse("2026-11-22T15:00:00Z").unwrap()).await;
    let mut browser = Browser::new(&furnished);
    browser.sign_in(&furnished.link().await).await;
    let csrf = browser.csrf().await;
    (furnished, browser, csrf)
}

/// Adds a user with that role and a password.
async fn add(browser: &mut Browser, csrf: &str, name: &str, role: &str) {
    let answer = browser.post("/console/users", &format!("csrf={csrf}&name={name}&role={role}")).await;
    assert_eq!(answer.location(), "/console/users?done=added");
    let form = format!("csrf={csrf}&task=password&password={}", PASSWORD.replace(' ', "+"));
    let answer = browser.post(&format!("/console/users/{name}"), &form).await;
    assert_eq!(answer.location(), "/console/users?done=password");
}

async fn with_password(furnished: &Furnished, name: &str, password: &str) -> (Browser, StatusCode) {
    let mut browser = Browser::new(furnished);
    let form = format!("name={name}&password={}", password.replace(' ', "+"));
    let status = browser.post("/console/sign-in", &form).await.status;
    (browser, status)
}

#[tokio::test]
async fn name_and_password_sign_in_and_wrong_ones_are_told_nothing() {
    let (furnished, mut root, csrf) = signed_in().await;
    add(&mut root, &csrf, "ana", "reader").await;
    let page = Browser::new(&furnished).get("/console/sign-in").await.ok();
    page.shows(r#"autocomplete="current-password""#);
    let mut said = Vec::new();
    for (name, password) in [("ana", "wrong password"), ("nobody", PASSWORD), ("root", PASSWORD), ("<b>", "")] {
        let form = format!("name={name}&password={}", password.replace(' ', "+"));
        let refused = Browser::new(&furnished).post("/console/sign-in", &form).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        said.push(refused.body);
    }
    assert!(said.iter().all(|body| *body == said[0]), "one answer for all");
    let (mut ana, status) = with_password(&furnished, "ana", PASSWORD).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    ana.get("/console").await.ok().shows("<summary>ana</summary>");
    for _ in 0..5 {
        with_password(&furnished, "ana", "wrong password").await;
    }
    let refused = Browser::new(&furnished).post("/console/sign-in", "name=ana&password=wrong").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    refused.shows("Try again in 1 s");
}

#[tokio::test]
async fn a_reader_sees_the_pages_and_changes_nothing() {
    let (furnished, mut root, csrf) = signed_in().await;
    add(&mut root, &csrf, "ana", "reader").await;
    let (mut ana, _) = with_password(&furnished, "ana", PASSWORD).await;
    let own = ana.csrf().await;
    for page in ["/console/users", "/console/access-keys"] {
        ana.get(page).await.ok().lacks("name=\"task\"");
    }
    for (path, form) in [
        ("/console/users", "name=eve&role=administrator"),
        ("/console/users/ana", "task=administrator"),
        ("/console/users/root", "task=link"),
        ("/console/users/root", "task=password&password=correct+horse+battery"),
        ("/console/access-keys", "user=root"),
        ("/console/access-keys", "user=ana"),
    ] {
        let refused = ana.post(path, &format!("csrf={own}&{form}")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path} {form}");
        refused.shows("is not authorized to perform");
    }
    let users = furnished.server.users(&context(&furnished)).await.unwrap();
    assert_eq!(users.len(), 2);
    assert_eq!(users[0].keys.len(), 0, "ana has no key");
}

fn context(furnished: &Furnished) -> control::Context {
    furnished.server.context(scope(), Principal::System, String::new())
}

#[tokio::test]
async fn an_access_key_is_made_rotated_and_shown_once() {
    let (furnished, mut root, csrf) = signed_in().await;
    add(&mut root, &csrf, "ana", "reader").await;
    let made = root.post("/console/access-keys", &format!("csrf={csrf}&user=ana")).await.ok();
    let id = made.between("aws_access_key_id = ", "\n").unwrap();
    let secret = made.between("aws_secret_access_key = ", "\n").unwrap();
    let list = root.get("/console/access-keys").await.ok();
    list.shows(&id);
    list.lacks(&secret);
    let change = async |root: &mut Browser, id: &str, task: &str| {
        root.post(&format!("/console/access-keys/{id}"), &format!("csrf={csrf}&user=ana&task={task}")).await
    };
    let rotated = change(&mut root, &id, "rotate").await.ok();
    rotated.shows("still works");
    assert_ne!(rotated.between("aws_access_key_id = ", "\n").unwrap(), id);
    let third = change(&mut root, &id, "rotate").await;
    assert_eq!(third.status, StatusCode::BAD_REQUEST);
    third.shows("Cannot exceed quota for AccessKeysPerUser: 2");
    assert_eq!(change(&mut root, &id, "disable").await.location(), "/console/access-keys?done=key-disabled");
    let key = identifiers::AccessKeyId::parse(&id).unwrap();
    assert!(furnished.server.access_key(&key).await.unwrap().is_none());
    assert_eq!(change(&mut root, &id, "delete").await.location(), "/console/access-keys?done=key-deleted");
    assert_eq!(change(&mut root, &id, "delete").await.status, StatusCode::NOT_FOUND);
    assert_eq!(change(&mut root, &id, "nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn sessions_are_seen_and_ended_and_a_new_password_ends_all_others() {
    let (furnished, mut root, csrf) = signed_in().await;
    add(&mut root, &csrf, "ana", "reader").await;
    let (mut one, _) = with_password(&furnished, "ana", PASSWORD).await;
    let (mut other, _) = with_password(&furnished, "ana", PASSWORD).await;
    let own = one.csrf().await;
    let page = one.get("/console/sessions").await.ok();
    page.shows("this one");
    page.shows("127.0.0.1");
    let id = page.between(r#"name="end" value=""#, "\"").unwrap();
    let ended = one.post("/console/sessions", &format!("csrf={own}&end={id}")).await;
    assert_eq!(ended.location(), "/console/sessions?done=session");
    assert_eq!(other.get("/console").await.location(), "/console/sign-in?expired");
    // Nobody ends another's sessions by a guess.
    let root_session = root.get("/console/sessions").await.ok();
    assert!(root_session.between(r#"name="end" value=""#, "\"").is_none(), "root has one session");

    let (mut other, _) = with_password(&furnished, "ana", PASSWORD).await;
    let form = |present: &str, new: &str, again: &str| {
        format!("csrf={own}&present={present}&password={new}&again={again}").replace(' ', "+")
    };
    for (present, new, again, words) in [
        (PASSWORD, "another horse one", "another horse two", "differ"),
        ("wrong", "another horse one", "another horse one", "another one"),
        (PASSWORD, "short", "short", "at least 12"),
    ] {
        let refused = one.post("/console/account", &form(present, new, again)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        refused.shows(words);
    }
    other.get("/console").await.ok();
    let new = "another horse one";
    let changed = one.post("/console/account", &form(PASSWORD, new, new)).await;
    assert_eq!(changed.location(), "/console/account?done=changed");
    one.get("/console").await.ok();
    assert_eq!(other.get("/console").await.location(), "/console/sign-in?expired");
    assert_eq!(with_password(&furnished, "ana", PASSWORD).await.1, StatusCode::FORBIDDEN);
    assert_eq!(with_password(&furnished, "ana", new).await.1, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn forms_of_others_change_nobody() {
    let (furnished, mut root, csrf) = signed_in().await;
    add(&mut root, &csrf, "ana", "administrator").await;
    for path in
        ["/console/users", "/console/users/ana", "/console/access-keys", "/console/sessions", "/console/account"]
    {
        for form in ["csrf=wrong&task=disable&end=others&user=root", ""] {
            assert_eq!(root.post(path, form).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        let stranger = Browser::new(&furnished).post(path, "csrf=x").await;
        assert_eq!(stranger.location(), "/console/sign-in", "{path}");
    }
    let link = root.post("/console/users/ana", &format!("csrf={csrf}&task=link")).await.ok();
    let path = link.between("<pre>", "</pre>").unwrap();
    let token = path.split_once("token=").unwrap().1.to_owned();
    let mut ana = Browser::new(&furnished);
    ana.sign_in(&token).await;
    ana.get("/console").await.ok().shows("<summary>ana</summary>");
    let removed = root.post("/console/users/ana", &format!("csrf={csrf}&task=remove")).await;
    assert_eq!(removed.location(), "/console/users?done=removed");
    assert_eq!(ana.get("/console").await.location(), "/console/sign-in?expired");
    let refused = root.post("/console/users/root", &format!("csrf={csrf}&task=disable")).await;
    refused.shows("way back in");
    let user = UserName::parse("ana").unwrap();
    let gone = furnished.server.set_password(&context(&furnished), &user, &Secret::new(PASSWORD)).await;
    assert_eq!(gone.unwrap_err().code, "NoSuchEntity");
}
