//! What the tests share: a fleet on either database, and requests.

use access::{Principal, Role};
use aws_wire::ssm::Operation;
use control::Context;
use identifiers::{AccessKeyId, AccountId, Region, Scope, UserName};
use serde_json::Value;
use testkit::fleet::{FleetDatabase, FleetOptions, SimulatedFleet};

/// Runs a test, a function of a fleet, on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($name:ident: $agents:expr;)*) => {$(
        mod $name {
            #[test]
            fn on_sqlite() {
                let database = testkit::fleet::FleetDatabase::Sqlite;
                crate::support::with_fleet($agents, database, super::$name);
            }

            #[test]
            fn on_postgres() {
                let database = testkit::fleet::FleetDatabase::Postgres;
                crate::support::with_fleet($agents, database, super::$name);
            }
        }
    )*};
}
pub(crate) use on_both;

/// Runs a test with as many agents, registered and connected.
pub(crate) fn with_fleet(agents: usize, database: FleetDatabase, test: impl AsyncFnOnce(&mut SimulatedFleet)) {
    run(async {
        let options = FleetOptions { seed: 11, agents, database, ..FleetOptions::default() };
        let mut fleet = SimulatedFleet::new(options).await.unwrap();
        for agent in 0..agents {
            assert!(fleet.connect(agent).await.unwrap());
            fleet.exchange(agent).await.unwrap();
        }
        test(&mut fleet).await;
        fleet.close().await;
    });
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

pub(crate) fn scope(account: &str, region: &str) -> Scope {
    Scope { account: AccountId::parse(account).unwrap(), region: Region::parse(region).unwrap() }
}

pub(crate) fn home() -> Scope {
    testkit::fleet::home().unwrap()
}

pub(crate) fn root(account: &str) -> Principal {
    let access_key_id = AccessKeyId::parse("AKIAFLEETFLEETFLEET0").unwrap();
    let (account, user) = (AccountId::parse(account).unwrap(), UserName::root());
    Principal::Key { account, user, role: Role::Administrator, access_key_id }
}

/// A request of the administrator in another region.
pub(crate) fn context_in(fleet: &SimulatedFleet, region: &str) -> Context {
    let account = home().account;
    let principal = root(account.as_str());
    fleet.server().context(scope(account.as_str(), region), principal, "192.0.2.10".to_owned())
}

/// One awsJson1.1 request: the answer, or the error's code.
pub(crate) async fn ask(context: &Context, operation: Operation, body: &Value) -> Result<Value, String> {
    ask_any(context, aws_wire::Operation::Ssm(operation), body).await
}

/// The same for any service of JSON.
pub(crate) async fn ask_any(context: &Context, operation: aws_wire::Operation, body: &Value) -> Result<Value, String> {
    let body = serde_json::to_vec(body).unwrap();
    match control::operations::answer_json(context, operation, &body).await {
        Ok(answer) => Ok(serde_json::from_slice(&answer).unwrap()),
        Err(error) => Err(error.code.clone()),
    }
}

/// One request of the administrator.
pub(crate) async fn call(fleet: &SimulatedFleet, operation: Operation, body: Value) -> Value {
    let answer = ask(&fleet.context().unwrap(), operation, &body).await;
    answer.unwrap_or_else(|code| panic!("{operation:?}: {code}"))
}

pub(crate) fn node(fleet: &SimulatedFleet, agent: usize) -> String {
    fleet.agents()[agent].node_id().unwrap().to_string()
}
