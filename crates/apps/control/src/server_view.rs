//! What the console shows of the server itself: plain values, read for one page.

use std::time::Duration;

use identifiers::Timestamp;
use store::Moment;

use crate::{
    Context, Error,
    call::authorise,
    readiness::Findings,
    reconcilers::{Reconciler, Turn},
};

/// The server that answers.
#[derive(Debug)]
pub struct ServerView {
    /// Its version.
    pub version: &'static str,
    /// Its name among the replicas.
    pub replica: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// For how long it has been running, by the steady clock.
    pub running_for: Duration,
    /// How many agents are connected to it.
    pub agents: usize,
    /// Which database it has.
    pub database_kind: &'static str,
    /// The version of its schema.
    pub schema: i64,
    /// How its database is now.
    pub database: Moment,
    /// What `/readyz` says.
    pub findings: Findings,
    /// Each reconciler with its last turn.
    pub turns: Vec<(&'static Reconciler, Option<Turn>)>,
}

/// The server that answers.
///
/// # Errors
/// When the caller may not know.
pub async fn server(context: &Context) -> Result<ServerView, Error> {
    authorise(context, "careen:DescribeServer", vec![context.scope.ssm_arn("*")]).await?;
    let server = &context.server;
    Ok(ServerView {
        version: env!("CARGO_PKG_VERSION"),
        replica: server.settings.replica.clone(),
        started_at: server.started_at(),
        running_for: server.running_for(),
        agents: server.sessions.count(),
        database_kind: server.store.kind(),
        schema: server.store.schema_get().await?,
        database: server.store.moment().await,
        findings: server.readiness().await,
        turns: server.turns.list(),
    })
}
