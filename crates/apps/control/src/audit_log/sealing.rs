//! Seals the newest audit records. Every replica does it; a seal's number is taken once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use audit::{Digest, SEAL_RECORDS_MAX, Seal, SealDraft, seal_is_due};
use changes::Changes;
use identifiers::{Scope, Timestamp};
use store::{ApplyError, AuditWrite, Write};

use crate::{Error, Server};

/// How many seals of one scope are made in one turn: after an upgrade there may be years of records.
const SEALS_PER_TURN: usize = 50;

/// The newest seals that this process has seen. A database in which they are not the newest any more, or others, was put
/// back or changed by somebody else while it was open.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<BTreeMap<Scope, Head>>);

#[derive(Debug, Clone, Copy)]
struct Head {
    number: i64,
    last_seq: i64,
    digest: Digest,
}

impl Heads {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Scope, Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, scope: &Scope) -> Option<Head> {
        self.lock().get(scope).copied()
    }

    fn put(&self, scope: &Scope, seal: &Seal) {
        let head = Head { number: seal.number, last_seq: seal.last_seq, digest: seal.digest };
        self.lock().insert(scope.clone(), head);
    }
}

/// Seals what is due in every scope; `closing`: whatever there is. How many seals were made.
pub(crate) async fn seal_audit_records(server: &Arc<Server>, closing: bool) -> Result<usize, Error> {
    let mut made = 0;
    for (scope, last_seq) in server.store.audit_scope_list().await? {
        // Without a new record there is nothing to read.
        if server.audit_heads.get(&scope).is_some_and(|head| head.last_seq >= last_seq) {
            continue;
        }
        for _ in 0..SEALS_PER_TURN {
            if !seal_next(server, &scope, last_seq, closing).await? {
                break;
            }
            made += 1;
        }
    }
    Ok(made)
}

/// Makes the next seal of a scope if it is due; whether it did.
async fn seal_next(server: &Arc<Server>, scope: &Scope, last_seq: i64, closing: bool) -> Result<bool, Error> {
    let (store, now) = (&server.store, server.now());
    let previous = store.audit_seal_last(scope).await?;
    if let Some(head) = server.audit_heads.get(scope) {
        let number = previous.as_ref().map_or(0, |seal| seal.number);
        let replaced = previous.as_ref().is_some_and(|seal| seal.number == head.number && seal.digest != head.digest);
        if number < head.number || replaced {
            tracing::error!(
                account = %scope.account, region = %scope.region, seal = head.number,
                "a seal of the audit log that this server has seen is not in the database any more; \
                 nothing is sealed in this scope until the server is started again. See: careen audit verify"
            );
            return Ok(false);
        }
    }
    if let Some(seal) = &previous {
        server.audit_heads.put(scope, seal);
    }
    let from = previous.as_ref().map_or(i64::MIN, |seal| seal.last_seq);
    let oldest = store.audit_list_after(scope, from, i64::MAX, 1).await?;
    let Some(oldest) = oldest.first() else { return Ok(false) };
    let waiting = usize::try_from(last_seq.saturating_sub(oldest.seq).saturating_add(1)).unwrap_or(1);
    if !seal_is_due(waiting, Some(Timestamp::from_micros(oldest.at_micros)), now, closing) {
        return Ok(false);
    }
    let limit = u32::try_from(SEAL_RECORDS_MAX).unwrap_or(u32::MAX);
    let records = store.audit_list_after(scope, from, i64::MAX, limit).await?;
    let digests: Vec<_> = records.iter().map(|record| record.digest(scope)).collect();
    let Some(draft) = SealDraft::new(scope, previous.as_ref(), &digests, now) else { return Ok(false) };
    let key = &server.keys.audit;
    let signature = key.sign(&draft.text(scope));
    let seal = draft.signed(key.public_key(), signature);
    if seal.record_count != seal.last_seq - seal.first_seq + 1 {
        tracing::error!(
            account = %scope.account, region = %scope.region, seal = seal.number,
            "audit records are missing that were to be sealed. See: careen audit verify"
        );
    }
    let mut changes: Changes<Write> = Changes::new();
    changes.writes.push(Write::from(AuditWrite::SealPut(Box::new(seal.clone()))));
    match store.apply(scope, changes).await {
        Ok(_) => server.audit_heads.put(scope, &seal),
        // Another replica was quicker; what it left is looked at next time.
        Err(ApplyError::Duplicate { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}
