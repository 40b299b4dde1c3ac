//! Users, their access keys and sessions, and the counts of failures.

use crate::support::{Lab, at, on_both, scope, scope_of, writes};
use access::{Failures, Role};
use identifiers::{AccessKeyId, Scope, UserName};
use store::{
    AccessKeyRow, AccessKeyStatus, ApplyError, FailureSubject, KeyUse, PeopleWrite, SessionRow, SignInLinkRow, Store,
    TokenDigest, UserRow,
};

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn user(text: &str) -> UserRow {
    UserRow {
        account: scope().account,
        name: name(text),
        user_id: "AIDA00000000000000".into(),
        role: Role::Reader,
        password_sealed: Some(vec![177, 0, 255]),
        disabled: false,
        created_at: at(1),
        password_changed_at: Some(at(2)),
        signed_in_at: None,
    }
}

async fn put(store: &Store, write: PeopleWrite) {
    store.apply(&scope(), writes([write])).await.unwrap();
}

/// Whether the write was not refused for somebody else's having been quicker.
async fn won(store: &Store, scope: &Scope, write: PeopleWrite) -> bool {
    match store.apply(scope, writes([write])).await {
        Ok(_) => true,
        Err(ApplyError::Duplicate { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

on_both! {
    async fn users_are_found_without_regard_to_case(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let ana = user("Ana");
        assert!(!format!("{ana:?}").contains("177"), "a sealed hash is not printed");
        put(store, PeopleWrite::UserPut(ana.clone())).await;
        assert_eq!(store.user_get(&scope, &name("aNA")).await.unwrap().row, Some(ana.clone()));
        assert_eq!(store.user_get(&scope, &name("ann")).await.unwrap().row, None);
        assert_eq!(store.user_get(&scope_of("999999999999", "us-east-1"), &name("ana")).await.unwrap().row, None);
        put(store, PeopleWrite::UserSignedIn { name: name("ANA"), now: at(7) }).await;
        let ana = UserRow { disabled: true, password_sealed: None, role: Role::Administrator, ..ana };
        put(store, PeopleWrite::UserPut(ana.clone())).await;
        put(store, PeopleWrite::UserPut(user("bob"))).await;
        let ana = UserRow { signed_in_at: Some(at(7)), ..ana };
        assert_eq!(store.user_list(&scope.account, None, 10).await.unwrap(), [ana.clone(), user("bob")]);
        assert_eq!(store.user_list(&scope.account, None, 1).await.unwrap(), [ana]);
        assert_eq!(store.user_list(&scope.account, Some("ana"), 10).await.unwrap(), [user("bob")]);
        put(store, PeopleWrite::UserDelete(name("ANA"))).await;
        assert_eq!(store.user_list(&scope.account, None, 10).await.unwrap(), [user("bob")]);
    }
}

on_both! {
    async fn access_keys_come_back_with_their_user(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let key = AccessKeyRow {
            access_key_id: AccessKeyId::parse("AKIAIOSFODNN7EXAMPLE").unwrap(),
            account: scope.account.clone(),
            user: name("Ana"),
            secret_sealed: vec![0, 200, 255],
            status: AccessKeyStatus::Active,
            created_at: at(1),
            last_use: None,
        };
        assert!(!format!("{key:?}").contains("200"), "a sealed secret is not printed");
        put(store, PeopleWrite::AccessKeyPut(key.clone())).await;
        assert_eq!(store.access_key_get(&key.access_key_id).await.unwrap(), Some((key.clone(), None)));
        put(store, PeopleWrite::UserPut(user("ana"))).await;
        assert_eq!(store.access_key_get(&key.access_key_id).await.unwrap(), Some((key.clone(), Some(user("ana")))));
        let used = |second: i64| KeyUse { at: at(second), service: "ssm".into(), region: "us-east-1".into() };
        for second in [5, 4] {
            let access_key_id = key.access_key_id.clone();
            put(store, PeopleWrite::AccessKeyUsed { access_key_id, used: used(second) }).await;
        }
        let key = AccessKeyRow { status: AccessKeyStatus::Inactive, ..key };
        put(store, PeopleWrite::AccessKeyPut(key.clone())).await;
        let key = AccessKeyRow { last_use: Some(used(5)), ..key };
        assert_eq!(store.access_key_list(&scope.account, None).await.unwrap(), vec![key.clone()]);
        assert_eq!(store.access_key_list(&scope.account, Some(&name("aNa"))).await.unwrap(), vec![key.clone()]);
        assert_eq!(store.access_key_list(&scope.account, Some(&name("bob"))).await.unwrap(), []);
        let stranger = scope_of("999999999999", "us-east-1");
        let delete = PeopleWrite::AccessKeyDelete(key.access_key_id.clone());
        store.apply(&stranger, writes([delete.clone()])).await.unwrap();
        assert!(store.access_key_get(&key.access_key_id).await.unwrap().is_some());
        put(store, delete).await;
        assert_eq!(store.access_key_get(&key.access_key_id).await.unwrap(), None);
    }
}

fn session(byte: u8, user: &str) -> SessionRow {
    SessionRow {
        token_digest: TokenDigest(vec![byte; 32]),
        scope: scope(),
        user: name(user),
        csrf_token: "c".into(),
        created_at: at(1),
        valid_until: at(100),
        seen_at: at(1),
        source_address: "192.0.2.1".into(),
        user_agent: "Browser".into(),
    }
}

on_both! {
    async fn sessions_end_by_time_by_silence_and_by_command(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let there = async |byte: u8| store.session_get(&TokenDigest(vec![byte; 32])).await.unwrap().is_some();
        put(store, PeopleWrite::UserPut(user("ana"))).await;
        put(store, PeopleWrite::SessionPut(session(1, "Ana"))).await;
        let found = store.session_get(&session(1, "Ana").token_digest).await.unwrap();
        assert_eq!(found, Some((session(1, "Ana"), Some(user("ana")))));
        put(store, PeopleWrite::SessionSeen { token_digest: TokenDigest(vec![1; 32]), now: at(50) }).await;
        put(store, PeopleWrite::SessionsExpire { now: at(99), seen_before: at(49) }).await;
        assert!(there(1).await);
        put(store, PeopleWrite::SessionsExpire { now: at(99), seen_before: at(50) }).await;
        assert!(!there(1).await);
        put(store, PeopleWrite::SessionPut(session(1, "ana"))).await;
        put(store, PeopleWrite::SessionsExpire { now: at(100), seen_before: at(0) }).await;
        assert!(!there(1).await);
        for (byte, of) in [(1, "ana"), (2, "ana"), (3, "ana"), (4, "bob")] {
            put(store, PeopleWrite::SessionPut(session(byte, of))).await;
        }
        assert_eq!(store.session_list(&scope.account, &name("ana"), at(99), 10).await.unwrap().len(), 3);
        assert_eq!(store.session_list(&scope.account, &name("ana"), at(100), 10).await.unwrap(), []);
        put(store, PeopleWrite::SessionDelete(TokenDigest(vec![3; 32]))).await;
        put(store, PeopleWrite::SessionsEnd { user: name("ANA"), except: Some(TokenDigest(vec![2; 32])) }).await;
        assert_eq!((there(1).await, there(2).await, there(3).await, there(4).await), (false, true, false, true));
        put(store, PeopleWrite::SessionsEnd { user: name("ana"), except: None }).await;
        assert!(!there(2).await && there(4).await);
    }
}

on_both! {
    async fn a_sign_in_link_is_used_once_and_not_too_late(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let link = |byte: u8| SignInLinkRow {
            token_digest: TokenDigest(vec![byte; 32]), scope: scope.clone(), user: UserName::root(),
            created_at: at(1), valid_until: at(100), used_at: None,
        };
        for byte in [1, 2] {
            put(store, PeopleWrite::SignInLinkPut(link(byte))).await;
        }
        assert_eq!(store.sign_in_link_get(&link(1).token_digest).await.unwrap(), Some(link(1)));
        let used = async |byte: u8, second: i64| {
            let write = PeopleWrite::SignInLinkUse { token_digest: link(byte).token_digest, now: at(second) };
            won(store, &scope, write).await
        };
        assert!(!used(2, 100).await, "expired");
        assert!(!used(3, 5).await, "never made");
        assert!(used(1, 5).await);
        assert!(!used(1, 6).await, "used before");
        assert_eq!(store.sign_in_link_get(&link(1).token_digest).await.unwrap().unwrap().used_at, Some(at(5)));
    }
}

on_both! {
    async fn no_failure_is_counted_twice_or_lost(lab: &Lab) {
        let (store, scope) = (&lab.store, scope());
        let subject = FailureSubject::Name("ana".into());
        let failures = |count: u32| Failures { count, last_at: at(i64::from(count)) };
        let failed = async |before: Option<Failures>, count: u32| {
            let write = PeopleWrite::SignInFailed { subject: subject.clone(), before, after: failures(count) };
            won(store, &scope, write).await
        };
        let read = async || store.sign_in_failures_get(&scope.account, &subject).await.unwrap();
        assert_eq!(read().await, None);
        assert!(failed(None, 1).await);
        assert!(!failed(None, 1).await, "another was quicker");
        assert!(failed(Some(failures(1)), 2).await);
        assert!(!failed(Some(failures(1)), 2).await, "another was quicker");
        assert_eq!(read().await, Some(failures(2)));
        let other = FailureSubject::Address("ana".into());
        assert_eq!(store.sign_in_failures_get(&scope.account, &other).await.unwrap(), None);
        put(store, PeopleWrite::SignInFailuresExpire { before: at(1) }).await;
        assert!(read().await.is_some());
        put(store, PeopleWrite::SignInFailuresExpire { before: at(2) }).await;
        assert_eq!(read().await, None);
        assert!(failed(None, 1).await);
        put(store, PeopleWrite::SignInFailuresForget(subject.clone())).await;
        assert_eq!(read().await, None);
    }
}
