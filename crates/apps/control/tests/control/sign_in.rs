//! Name and password: who comes in, how often it may be tried, and what is left behind.

use access::Role;
use aws_wire::{Sensitive, iam};
use control::{Context, SignIn, perform};
use identifiers::UserName;
use identity::Secret;
use store::AuditQuery;
use testkit::fleet::SimulatedFleet;

use crate::{
    people::from,
    support::{home, on_both},
};

const PASSWORD: &str = "correct horse battery";

on_both! {
    a_password_signs_in_and_changing_it_ends_the_sessions: 0;
    guessing_is_slow_and_success_takes_it_back: 0;
    a_disabled_user_and_a_reader_are_so_at_once: 0;
    a_user_has_two_keys_at_most_and_a_disabled_one_is_refused: 0;
}

fn ana() -> UserName {
    UserName::parse("ana").unwrap()
}

async fn add_ana(context: &Context) {
    let request = iam::CreateUserRequest { user_name: Some("ana".to_owned()), ..iam::CreateUserRequest::default() };
    perform(context, request).await.unwrap();
    context.server.set_password(context, &ana(), &Secret::new(PASSWORD)).await.unwrap();
}

async fn attempt(fleet: &SimulatedFleet, name: &str, password: &str, address: &str) -> SignIn {
    fleet.server().sign_in_with_password(name, &Secret::new(password), &from(address)).await.unwrap()
}

async fn token(fleet: &SimulatedFleet, name: &str, password: &str) -> String {
    match attempt(fleet, name, password, "192.0.2.1").await {
        SignIn::In(token) => token,
        other => panic!("{other:?}"),
    }
}

async fn sign_in_records(fleet: &SimulatedFleet) -> Vec<(String, String)> {
    let query = AuditQuery { action: Some("careen:SignIn".to_owned()), ..AuditQuery::all(1000) };
    let found = fleet.server().store.audit_list(&home(), &query).await.unwrap();
    found.into_iter().map(|entry| (entry.record.principal, entry.record.outcome)).collect()
}

async fn a_password_signs_in_and_changing_it_ends_the_sessions(fleet: &mut SimulatedFleet) {
    let context = fleet.context().unwrap();
    let server = fleet.server().clone();
    add_ana(&context).await;
    assert_eq!(attempt(fleet, "root", "", "192.0.2.1").await, SignIn::Wrong, "root has no password yet");
    assert_eq!(attempt(fleet, "ana", "another password", "192.0.2.1").await, SignIn::Wrong);
    let (one, other) = (token(fleet, "ANA", PASSWORD).await, token(fleet, "ana", PASSWORD).await);
    let session = server.session(&one).await.unwrap().unwrap();
    assert_eq!((session.user.as_str(), session.role), ("ana", Role::Reader));
    let own = server.context(home(), session.principal, "192.0.2.1".to_owned());
    let sessions = server.user_sessions(&own, &ana(), &one).await.unwrap();
    assert_eq!(sessions.iter().filter(|session| session.own).count(), 1);
    let foreign = sessions.iter().find(|session| !session.own).unwrap();
    assert_eq!((foreign.source_address.as_str(), foreign.user_agent.as_str()), ("192.0.2.1", "Browser"));
    server.revoke_session(&own, &ana(), &foreign.id).await.unwrap();
    assert!(server.session(&other).await.unwrap().is_none());
    assert_eq!(server.revoke_session(&own, &ana(), &foreign.id).await.unwrap_err().code, "NoSuchEntity");

    let other = token(fleet, "ana", PASSWORD).await;
    let new = Secret::new("another horse entirely");
    let visit = from("192.0.2.1");
    let wrong = server.change_password(&own, &Secret::new("wrong"), &new, &visit).await.unwrap_err();
    assert_eq!(wrong.code, "InvalidInput");
    let weak = server.change_password(&own, &Secret::new(PASSWORD), &Secret::new("short"), &visit).await.unwrap_err();
    assert_eq!(weak.code, "PasswordPolicyViolation");
    assert!(server.session(&other).await.unwrap().is_some(), "nothing was changed by these");
    let fresh = server.change_password(&own, &Secret::new(PASSWORD), &new, &visit).await.unwrap();
    assert!(server.session(&fresh).await.unwrap().is_some());
    for ended in [&one, &other] {
        assert!(server.session(ended).await.unwrap().is_none());
    }
    assert_eq!(attempt(fleet, "ana", PASSWORD, "192.0.2.1").await, SignIn::Wrong);
    let records = server.store.audit_list(&home(), &AuditQuery::all(1000)).await.unwrap();
    let text = format!("{records:?}");
    for secret in [PASSWORD, "another horse", "argon2", &one, &fresh] {
        assert!(!text.contains(secret), "{secret}");
    }
}

async fn guessing_is_slow_and_success_takes_it_back(fleet: &mut SimulatedFleet) {
    let context = fleet.context().unwrap();
    add_ana(&context).await;
    // A name that nobody has is treated like one that somebody has.
    for name in ["ana", "nobody", "not/a name"] {
        for guess in 0..5 {
            assert_eq!(
                attempt(fleet, name, &format!("guess number {guess}"), "192.0.2.1").await,
                SignIn::Wrong,
                "{name}"
            );
        }
        assert_eq!(attempt(fleet, name, PASSWORD, "192.0.2.2").await, SignIn::Wait(1), "{name}: from elsewhere too");
    }
    fleet.clock().advance_seconds(1);
    token(fleet, "ana", PASSWORD).await;
    for _ in 0..5 {
        assert_eq!(attempt(fleet, "ana", "wrong again and again", "192.0.2.3").await, SignIn::Wrong, "begun anew");
    }
    // A link is not held up, and neither is the next one by the count.
    let link = fleet.server().sign_in_link_for(&context, &ana()).await.unwrap();
    assert!(fleet.server().sign_in(&link, &from("192.0.2.3")).await.unwrap().is_some());
    // Many at the same moment are no more guesses than one after the other.
    fleet.clock().advance_seconds(access::FORGET_SECONDS);
    let server = fleet.server().clone();
    let guesses = (0..12).map(|guess| {
        let server = server.clone();
        tokio::spawn(async move {
            let (password, visit) = (Secret::new(format!("guess number {guess}")), from("198.51.100.1"));
            server.sign_in_with_password("ana", &password, &visit).await
        })
    });
    let guesses: Vec<_> = guesses.collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += usize::from(matches!(guess.await.unwrap(), Ok(SignIn::Wrong)));
    }
    assert!(looked_at <= 5, "{looked_at}");
    let failed = sign_in_records(fleet).await.into_iter().filter(|(who, _)| who == "anonymous").count();
    assert!((20..40).contains(&failed), "failures are recorded, and not without bound: {failed}");
}

async fn a_disabled_user_and_a_reader_are_so_at_once(fleet: &mut SimulatedFleet) {
    let context = fleet.context().unwrap();
    let server = fleet.server().clone();
    add_ana(&context).await;
    server.set_role(&context, &ana(), Role::Administrator).await.unwrap();
    let session = token(fleet, "ana", PASSWORD).await;
    server.set_role(&context, &ana(), Role::Reader).await.unwrap();
    let found = server.session(&session).await.unwrap().unwrap();
    assert_eq!(found.role, Role::Reader);
    let own = server.context(home(), found.principal, String::new());
    for result in [
        server.set_password(&own, &UserName::root(), &Secret::new(PASSWORD)).await,
        server.set_role(&own, &ana(), Role::Administrator).await,
        server.set_disabled(&own, &ana(), false).await,
        server.sign_in_link_for(&own, &UserName::root()).await.map(drop),
        server.revoke_sessions(&own, &UserName::root(), None).await,
    ] {
        assert_eq!(result.unwrap_err().code, "AccessDeniedException");
    }
    let link = server.sign_in_link_for(&context, &ana()).await.unwrap();
    server.set_disabled(&context, &ana(), true).await.unwrap();
    assert!(server.session(&session).await.unwrap().is_none());
    assert_eq!(server.sign_in(&link, &from("192.0.2.1")).await.unwrap(), None);
    assert_eq!(attempt(fleet, "ana", PASSWORD, "192.0.2.1").await, SignIn::Wrong);
    server.set_disabled(&context, &ana(), false).await.unwrap();
    assert_eq!(server.sign_in(&link, &from("192.0.2.1")).await.unwrap(), None, "links ended too");
    token(fleet, "ana", PASSWORD).await;
    for error in [
        server.set_disabled(&context, &UserName::root(), true).await,
        server.set_role(&context, &UserName::root(), Role::Reader).await,
    ] {
        assert_eq!(error.unwrap_err().code, "InvalidInput", "root stays the way back in");
    }
}

async fn a_user_has_two_keys_at_most_and_a_disabled_one_is_refused(fleet: &mut SimulatedFleet) {
    let context = fleet.context().unwrap();
    let server = fleet.server().clone();
    add_ana(&context).await;
    let create = || iam::CreateAccessKeyRequest { user_name: Some("ana".to_owned()) };
    // Of three at the same moment two are made.
    let (a, b, c) = tokio::join!(perform(&context, create()), perform(&context, create()), perform(&context, create()));
    let (made, refused): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused[0].as_ref().unwrap_err().code), (2, "LimitExceeded"));
    let key = made[0].as_ref().unwrap().access_key.clone().unwrap();
    let id = identifiers::AccessKeyId::parse(key.access_key_id.as_deref().unwrap()).unwrap();
    let usable = server.access_key(&id).await.unwrap().unwrap();
    assert_eq!(Some(usable.secret.expose()), key.secret_access_key.as_ref().map(Sensitive::expose));
    server.access_key_used(&usable, "ssm", "us-east-1");
    fleet.activate().await.unwrap();
    let last = iam::GetAccessKeyLastUsedRequest { access_key_id: key.access_key_id.clone() };
    let used = perform(&context, last).await.unwrap().access_key_last_used.unwrap();
    assert_eq!((used.service_name.as_deref(), used.last_used_date.is_some()), (Some("ssm"), true));
    let update = |status: &str| iam::UpdateAccessKeyRequest {
        user_name: Some("ana".to_owned()),
        access_key_id: key.access_key_id.clone(),
        status: Some(status.to_owned()),
    };
    perform(&context, update("Inactive")).await.unwrap();
    assert!(server.access_key(&id).await.unwrap().is_none());
    perform(&context, update("Active")).await.unwrap();
    server.set_disabled(&context, &ana(), true).await.unwrap();
    assert!(server.access_key(&id).await.unwrap().is_none());
    let delete = iam::DeleteUserRequest { user_name: Some("ana".to_owned()) };
    assert_eq!(perform(&context, delete).await.unwrap_err().code, "DeleteConflict");
}
