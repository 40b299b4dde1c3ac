//! What a restored database means, before any server opens it: nobody knows what nodes have done since the backup, so
//! nothing that was unfinished is sent (again).
//!
//! Whoever calls this holds the database alone. It may be called again after it was interrupted.

use access::Principal;
use changes::{AuditRecord, Changes};
use identifiers::{Scope, Timestamp};
use identity::MasterKey;
use store::{BackupSource, CommandKey, InvocationQuery, ReadError, RecordWrite, Store, Write};

use crate::{Error, Server, snapshot::WHOLE_MAX};

/// How many commands are read at once.
const COMMANDS_PER_READ: u32 = 200;

/// What became of a restored database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// How many commands were unfinished and are Cancelled now.
    pub commands_ended: usize,
    /// The incarnation from now on; agents refuse orders of an older one.
    pub incarnation: u64,
}

/// Ends every unfinished command as Cancelled, raises the incarnation, signs everybody out, and removes the mark of the restore.
/// `of` says which backup this was, for the audit log; `home` is the scope whose log has it where no scope is in use.
///
/// # Errors
/// When the store fails; then it is to be called again.
pub async fn finish_restore(store: &Store, home: &Scope, of: &str, now: Timestamp) -> Result<Restored, Error> {
    let mut scopes = store.scope_list().await?;
    if scopes.is_empty() {
        scopes.push(home.clone());
    }
    let mut commands_ended = 0;
    for scope in &scopes {
        commands_ended += end_commands(store, scope, now).await?;
    }
    let before = store.incarnation().await?;
    // Later than any that was given out since the backup was made, also by another restore of the same backup.
    let incarnation = before.saturating_add(1).max(u64::try_from(now.as_seconds()).unwrap_or_default());
    let last = scopes.len() - 1;
    for (index, scope) in scopes.iter().enumerate() {
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(audit(of, before, incarnation, commands_ended, now));
        if index == last {
            changes.writes.push(Write::from(RecordWrite::RestoreFinish { incarnation }));
        }
        store.apply(scope, changes).await?;
    }
    Ok(Restored { commands_ended, incarnation })
}

async fn end_commands(store: &Store, scope: &Scope, now: Timestamp) -> Result<usize, Error> {
    let (mut ended, mut after) = (0, None);
    loop {
        let open = store.command_list_open(scope, after, COMMANDS_PER_READ).await?;
        let Some(last) = open.last() else { return Ok(ended) };
        after = Some(CommandKey { requested_at: last.row.requested_at, command_id: last.row.command_id.clone() });
        for command in open {
            let id = command.row.command_id.clone();
            let query = InvocationQuery { command_id: Some(id), ..InvocationQuery::all(WHOLE_MAX) };
            let invocations = store.invocation_list(scope, &query).await?;
            let (_, changes) = commands::restore_command(&command, &invocations, now);
            store.apply(scope, changes.map(Write::from)).await?;
            ended += 1;
        }
    }
}

fn audit(of: &str, before: u64, incarnation: u64, commands_ended: usize, now: Timestamp) -> AuditRecord {
    AuditRecord {
        at: now,
        request_id: String::new(),
        principal: Principal::System.to_string(),
        source_address: String::new(),
        action: "careen:Restore".to_owned(),
        resource: "database".to_owned(),
        outcome: "done".to_owned(),
        before: serde_json::json!({ "incarnation": before }),
        after: serde_json::json!({ "incarnation": incarnation, "backup": of, "commands_ended": commands_ended }),
    }
}

/// Which sealed secrets of a database cannot be opened with a key file, in words; empty: all can.
///
/// # Errors
/// When the database cannot be read.
pub async fn unopened_secrets(source: &mut BackupSource, master: &MasterKey) -> Result<Vec<String>, ReadError> {
    if source.key_fingerprint().await?.is_some_and(|known| known != master.fingerprint()) {
        return Ok(vec!["the key file is not the one this database was made with".to_owned()]);
    }
    let sealed = source.sealed_secrets().await?;
    let unopened = sealed.iter().filter(|secret| {
        let purpose = if secret.is_server_key { "server-key" } else { "access-key" };
        master.sealer(purpose).open(&secret.sealed, &secret.name).is_err()
    });
    Ok(unopened.map(|secret| format!("the secret of {} cannot be opened with the key file", secret.name)).collect())
}

impl Server {
    /// Writes down that somebody takes a backup. That it cannot be written (a full disk) is no reason to refuse one.
    pub async fn audit_backup(self: &std::sync::Arc<Self>) {
        let context = self.context(self.settings.home.clone(), Principal::System, String::new());
        let mut changes: Changes<Write> = Changes::new();
        changes.audit.push(context.audit(
            "careen:Backup",
            "database",
            &serde_json::Value::Null,
            &serde_json::Value::Null,
        ));
        if let Err(error) = self.store.apply(&context.scope, changes).await {
            tracing::warn!("that a backup is taken was not recorded: {error}");
        }
    }
}
