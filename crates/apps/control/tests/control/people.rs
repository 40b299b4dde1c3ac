//! People at the console, and the first start of a server.

use std::path::Path;

use aws_wire::{Operation, iam, query::Form, sts};
use control::Visit;
use identity::{MasterKey, Secret};
use store::{Store, TokenDigest};
use testkit::fleet::{FleetDatabase, SimulatedFleet};

use crate::support::{home, on_both, run, with_fleet};

on_both! {
    a_link_signs_in_once: 0;
    a_session_ends_when_its_time_is_over: 0;
    a_session_that_is_left_alone_ends: 0;
}

pub(crate) fn from(address: &str) -> Visit {
    Visit { address: address.to_owned(), user_agent: "Browser".to_owned() }
}

async fn a_link_signs_in_once(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    let link = server.sign_in_link().await.unwrap();
    let (here, there) = (from("192.0.2.1"), from("192.0.2.2"));
    let (one, other) = tokio::join!(server.sign_in(&link, &here), server.sign_in(&link, &there));
    let sessions: Vec<String> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(sessions.len(), 1, "of two at the same moment one gets in");
    assert_eq!(server.sign_in(&link, &from("192.0.2.1")).await.unwrap(), None);
    assert_eq!(server.sign_in("made up", &from("192.0.2.1")).await.unwrap(), None);
    let session = server.session(&sessions[0]).await.unwrap().unwrap();
    assert_eq!((session.scope, session.principal.to_string().as_str()), (home(), "console/root"));

    let late = server.sign_in_link().await.unwrap();
    fleet.clock().advance_seconds(control::settings::SIGN_IN_LINK_SECONDS);
    assert_eq!(server.sign_in(&late, &from("192.0.2.1")).await.unwrap(), None);
    let query = store::AuditQuery { action: Some("careen:SignIn".to_owned()), ..store::AuditQuery::all(10) };
    assert_eq!(server.store.audit_list(&home(), &query).await.unwrap().len(), 1);
}

async fn a_session_ends_when_its_time_is_over(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let link = server.sign_in_link().await.unwrap();
        tokens.push(server.sign_in(&link, &from("192.0.2.1")).await.unwrap().unwrap());
    }
    assert!(server.session(&tokens[0]).await.unwrap().is_some());
    assert!(server.session("made up").await.unwrap().is_none());
    server.sign_out(&tokens[0], "192.0.2.1").await.unwrap();
    assert!(server.session(&tokens[0]).await.unwrap().is_none());
    // Seen now and then it lasts as long as it may, and no longer.
    let step = control::settings::SESSION_IDLE_SECONDS - 1;
    let mut left = control::settings::SESSION_SECONDS - 1;
    while left > 0 {
        fleet.clock().advance_seconds(step.min(left));
        assert!(server.session(&tokens[1]).await.unwrap().is_some(), "{left}");
        left -= step.min(left);
    }
    fleet.clock().advance_seconds(1);
    assert!(server.session(&tokens[1]).await.unwrap().is_none());
    let digest = TokenDigest(identity::sha256(tokens[1].as_bytes()).to_vec());
    assert!(server.store.session_get(&digest).await.unwrap().is_some(), "only the clock has moved");
    fleet.activate().await.unwrap();
    assert!(server.store.session_get(&digest).await.unwrap().is_none(), "what is over is forgotten");
}

async fn a_session_that_is_left_alone_ends(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    let link = server.sign_in_link().await.unwrap();
    let token = server.sign_in(&link, &from("192.0.2.1")).await.unwrap().unwrap();
    fleet.clock().advance_seconds(control::settings::SESSION_IDLE_SECONDS - 1);
    assert!(server.session(&token).await.unwrap().is_some());
    fleet.clock().advance_seconds(control::settings::SESSION_IDLE_SECONDS);
    assert!(server.session(&token).await.unwrap().is_none());
}

#[test]
fn tokens_themselves_are_kept_nowhere() {
    with_fleet(0, FleetDatabase::Sqlite, async |fleet| {
        let server = fleet.server().clone();
        let link = server.sign_in_link().await.unwrap();
        let token = server.sign_in(&link, &from("192.0.2.1")).await.unwrap().unwrap();
        let records = server.store.audit_list(&home(), &store::AuditQuery::all(100)).await.unwrap();
        let text = format!("{records:?}");
        assert!(!text.contains(&link) && !text.contains(&token));
        let as_if = TokenDigest(token.as_bytes().to_vec());
        assert!(server.store.session_get(&as_if).await.unwrap().is_none());
    });
}

async fn set_up(store: &Store, master: &MasterKey) -> (control::Keys, control::FirstKey) {
    control::set_up(store, master, &home(), None, identifiers::Timestamp::from_seconds(1)).await.unwrap()
}

async fn open(folder: &Path) -> (Store, MasterKey) {
    let store = Store::open_sqlite(&folder.join("careen.db")).await.unwrap();
    (store, MasterKey::open_or_create(&folder.join("key")).unwrap())
}

/// Two replicas that start on an empty database at the same moment are one server to their agents.
async fn start_together(store: &Store, master: &MasterKey) {
    let (one, other, third) = tokio::join!(set_up(store, master), set_up(store, master), set_up(store, master));
    for (keys, first) in [&other, &third] {
        assert_eq!(keys.ring().identity.current.public_key(), one.0.ring().identity.current.public_key());
        assert_eq!(keys.ring().job.current.public_key(), one.0.ring().job.current.public_key());
        assert_eq!((&first.access_key_id, &first.secret), (&one.1.access_key_id, &one.1.secret));
    }
    let (again, first) = set_up(store, master).await;
    let identity = |keys: &control::Keys| keys.ring().identity.current.public_key();
    assert_eq!(identity(&again), identity(&one.0));
    assert_eq!(first.access_key_id, one.1.access_key_id);
    assert_eq!(store.access_key_list(&home().account, None).await.unwrap().len(), 1);
}

#[test]
fn servers_that_start_together_have_the_same_keys_on_sqlite() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (store, master) = open(folder.path()).await;
        start_together(&store, &master).await;
        store.close().await;
    });
}

#[test]
fn servers_that_start_together_have_the_same_keys_on_postgres() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::open_or_create(&folder.path().join("key")).unwrap();
        let database = testkit::TestDatabase::postgres(None).unwrap();
        let store = Store::open_postgres(&database.url()).await.unwrap();
        start_together(&store, &master).await;
        store.close().await;
    });
}

#[test]
fn another_key_file_is_refused() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (store, master) = open(folder.path()).await;
        set_up(&store, &master).await;
        let other = MasterKey::open_or_create(&folder.path().join("other")).unwrap();
        let now = identifiers::Timestamp::from_seconds(2);
        let refused = control::set_up(&store, &other, &home(), None, now).await.err().unwrap();
        assert!(matches!(refused, control::SetupError::OtherKey), "{refused}");
        store.close().await;
    });
}

#[test]
fn an_access_key_from_outside_counts_and_follows_its_secret() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (store, master) = open(folder.path()).await;
        let now = identifiers::Timestamp::from_seconds(1);
        let given = |secret: &str| Some(("AKIAOUTSIDEOUTSIDE00".to_owned(), Secret::new(secret)));
        for secret in ["first secret", "first secret", "second secret"] {
            let (_, key) = control::set_up(&store, &master, &home(), given(secret), now).await.unwrap();
            assert_eq!(key.secret.reveal(), secret);
        }
        let malformed = Some(("short".to_owned(), Secret::new("x")));
        let refused = control::set_up(&store, &master, &home(), malformed, now).await.err().unwrap();
        assert!(matches!(refused, control::SetupError::AccessKeyId(_)), "{refused}");
        let elsewhere = crate::support::scope("111111111111", "us-east-1");
        let refused = control::set_up(&store, &master, &elsewhere, given("x"), now).await.err().unwrap();
        assert!(matches!(refused, control::SetupError::AccessKeyTaken(_)), "{refused}");
        store.close().await;
    });
}

/// A form for each operation of the Query services.
pub(crate) fn queries() -> Vec<(Operation, Form)> {
    let form = |text: &str| Form::parse(text.as_bytes()).unwrap();
    let key = "AccessKeyId=AKIA0123456789ABCDEF";
    let iam = |operation: iam::Operation| {
        let text = match operation {
            iam::Operation::ListUsers => String::new(),
            iam::Operation::GetAccessKeyLastUsed => key.to_owned(),
            iam::Operation::UpdateAccessKey => format!("UserName=ana&{key}&Status=Inactive"),
            iam::Operation::DeleteAccessKey => format!("UserName=ana&{key}"),
            _ => "UserName=ana".to_owned(),
        };
        (Operation::Iam(operation), form(&text))
    };
    let mut all = vec![(Operation::Sts(sts::Operation::GetCallerIdentity), Form::default())];
    all.extend(iam::Operation::ALL.iter().map(|operation| iam(*operation)));
    all
}
