//! What happens without a request: due invocations are sent, deadlines kept, heartbeats written, what is over forgotten.
//!
//! Each is idempotent and has no retry inside: the next activation is the retry.

use std::{future::Future, sync::Arc, time::Duration};

use changes::Changes;
use identifiers::Scope;
use store::{ApplyError, InvocationQuery, RecordWrite, Write};

use crate::{Error, Server, snapshot::WHOLE_MAX};

/// The poll that is the truth; a wake only makes it come sooner.
const POLL: Duration = Duration::from_secs(1);

/// Between two looks at what has expired.
const SWEEP_TURNS: u64 = 60;

/// How long a client token is remembered, in seconds.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// What an activation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activation {
    /// How many commands were looked at.
    pub commands: usize,
    /// How many orders were handed to connections.
    pub orders: usize,
    /// How many heartbeats were written.
    pub pings: usize,
    /// In how many scopes something failed; the log says what.
    pub failures: usize,
}

/// Runs the reconcilers until `stopped`.
pub async fn run(server: Arc<Server>, stopped: impl Future<Output = ()>) {
    tokio::pin!(stopped);
    let mut turn: u64 = 0;
    loop {
        if let Err(error) = activate(&server, turn.is_multiple_of(SWEEP_TURNS)).await {
            tracing::error!("a reconciler failed: {}", error.detail.as_deref().unwrap_or(&error.message));
        }
        turn = turn.wrapping_add(1);
        tokio::select! {
            () = &mut stopped => break,
            () = server.woken.notified() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
    // The last heartbeats are kept too.
    if let Err(error) = write_pings(&server).await {
        tracing::error!("the last heartbeats were not written: {}", error.message);
    }
}

/// One turn of all of them.
///
/// # Errors
/// When the store fails; what was done stays done.
pub async fn activate(server: &Arc<Server>, sweep: bool) -> Result<Activation, Error> {
    let mut done = Activation { pings: write_pings(server).await?, ..Activation::default() };
    for scope in server.store.scope_list().await? {
        if sweep {
            server.end_commands_of_departed(&scope).await?;
            forget_tokens(server, &scope).await?;
        }
        // What fails in one scope must not hold up the others.
        if let Err(error) = dispatch(server, &scope, &mut done).await {
            done.failures += 1;
            let detail = error.detail.as_deref().unwrap_or(&error.message);
            tracing::error!(account = %scope.account, region = %scope.region, "commands were not moved on: {detail}");
        }
    }
    if sweep {
        forget_sessions(server).await?;
    }
    Ok(done)
}

async fn write_pings(server: &Arc<Server>) -> Result<usize, Error> {
    let pings = server.pings.take();
    let count = pings.len();
    if count > 0 {
        server.store.pings_put(pings).await?;
    }
    Ok(count)
}

/// Moves each open command on and sends what its invocations call for.
async fn dispatch(server: &Arc<Server>, scope: &Scope, done: &mut Activation) -> Result<(), Error> {
    for command in server.store.command_list_open(scope, None, WHOLE_MAX).await? {
        done.commands += 1;
        let query =
            InvocationQuery { command_id: Some(command.row.command_id.clone()), ..InvocationQuery::all(WHOLE_MAX) };
        let invocations = server.store.invocation_list(scope, &query).await?;
        let reachable = |node: &identifiers::NodeId| server.sessions.is_connected(node);
        let advance = commands::advance_command(&command, &invocations, reachable, server.now());
        let started = !advance.plan.start.is_empty();
        let changes: Changes<Write> = advance.changes.map(Write::from);
        if !changes.is_empty() {
            match server.store.apply(scope, changes).await {
                Ok(_) => {}
                // Someone else moved it on; the next turn sees how.
                Err(ApplyError::Conflict { .. }) => {
                    server.wake();
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let invocations = match started {
            true => server.store.invocation_list(scope, &query).await?,
            false => invocations,
        };
        for invocation in invocations.iter().map(|versioned| &versioned.row) {
            done.orders += usize::from(server.deliver(scope, invocation).await);
        }
    }
    Ok(())
}

async fn forget_sessions(server: &Arc<Server>) -> Result<(), Error> {
    let mut changes: Changes<Write> = Changes::new();
    changes.writes.push(Write::from(RecordWrite::SessionsExpire { now: server.now() }));
    server.store.apply(&server.settings.home, changes).await?;
    Ok(())
}

/// Client tokens are remembered for a day; AWS says nothing of how long, botocore's retries take minutes.
async fn forget_tokens(server: &Arc<Server>, scope: &Scope) -> Result<(), Error> {
    let before = server.now().plus_seconds(-TOKEN_SECONDS);
    let mut changes: Changes<Write> = Changes::new();
    changes.writes.push(Write::from(RecordWrite::IdempotencyExpire { before }));
    server.store.apply(scope, changes).await?;
    Ok(())
}
