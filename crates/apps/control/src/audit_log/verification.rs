//! Computes the chain of a scope's audit log anew, from the rows as they are.

use audit::{Digest, RecordDigest, Verification, Verifier};
use aws_wire::careen::VerifyAuditLogResult;
use identifiers::Timestamp;
use store::ReadError;

use crate::{Context, Error};

/// Records read at once.
const RECORDS_BATCH: u32 = 500;
/// Seals read at once; each may hold a list of 40,000 bytes.
const SEALS_BATCH: u32 = 20;

/// The whole log of the caller's scope. `head` is the digest of a seal that must be part of it.
pub(crate) async fn verify(context: &Context, head: Option<Digest>) -> Result<Verification, Error> {
    let found = verify_once(context, head).await?;
    // Retention may have removed a batch between two reads; what is wrong the second time is wrong.
    if found.is_unbroken() { Ok(found) } else { verify_once(context, head).await }
}

async fn verify_once(context: &Context, head: Option<Digest>) -> Result<Verification, Error> {
    let (server, scope) = (&context.server, &context.scope);
    let mut verifier = Verifier::new(scope.clone(), vec![server.keys.audit.public_key()], identity::verify_ed25519);
    if let Some(head) = head {
        verifier.expect_head(head);
    }
    // Read first: what is written meanwhile has higher numbers.
    let last_seq = server.store.audit_last_seq(scope).await?;
    let (mut number, mut at) = (0, i64::MIN);
    loop {
        let seals = match server.store.audit_seal_list(scope, number, SEALS_BATCH).await {
            Ok(seals) => seals,
            Err(ReadError::Corrupt(_)) => match server.store.audit_seal_list(scope, number, 1).await {
                Ok(seals) => seals,
                // What comes behind it shows that it is missing.
                Err(ReadError::Corrupt(detail)) => {
                    verifier.unreadable(detail);
                    number += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        if seals.is_empty() {
            break;
        }
        for seal in seals {
            let through = seal.last_seq;
            number = seal.number;
            verifier.seal(seal);
            records(context, &mut verifier, &mut at, through).await?;
        }
    }
    records(context, &mut verifier, &mut at, i64::MAX).await?;
    Ok(verifier.finish(Some(last_seq)))
}

/// Gives the records behind `at` up to `through` to the verifier.
async fn records(context: &Context, verifier: &mut Verifier, at: &mut i64, through: i64) -> Result<(), Error> {
    loop {
        let batch = digests(context, verifier, *at, through, RECORDS_BATCH).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        *at = last.0;
        for record in batch.iter().filter_map(|(_, record)| record.as_ref()) {
            verifier.record(record);
        }
    }
}

/// The next records, each with its place; where one cannot be read that is said, and it has no digest.
async fn digests(
    context: &Context,
    verifier: &mut Verifier,
    at: i64,
    through: i64,
    limit: u32,
) -> Result<Vec<(i64, Option<RecordDigest>)>, Error> {
    let (store, scope) = (&context.server.store, &context.scope);
    match store.audit_list_after(scope, at, through, limit).await {
        Ok(rows) => Ok(rows.iter().map(|row| (row.seq, Some(row.digest(scope)))).collect()),
        Err(ReadError::Corrupt(_)) => {
            let mut found = Vec::new();
            for seq in store.audit_seq_list_after(scope, at, through, limit).await? {
                match store.audit_list_after(scope, seq - 1, seq, 1).await {
                    Ok(rows) => found.extend(rows.iter().map(|row| (row.seq, Some(row.digest(scope))))),
                    Err(ReadError::Corrupt(detail)) => {
                        verifier.unreadable(format!("record {seq} cannot be read: {detail}"));
                        found.push((seq, None));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(found)
        }
        Err(error) => Err(error.into()),
    }
}

/// What was found, as the API says it; `public_key` is the one that the seals must be signed with.
#[must_use]
pub fn shown_verification(found: &Verification, public_key: &[u8; 32]) -> VerifyAuditLogResult {
    let count = |count: u64| i64::try_from(count).ok();
    let instant = |micros: i64| Timestamp::from_micros(micros).into();
    VerifyAuditLogResult {
        unbroken: Some(found.is_unbroken()),
        record_count: count(found.records),
        seal_count: count(found.seals),
        unsealed_count: count(found.unsealed),
        pruned_count: count(found.pruned),
        first_record_at: found.span_micros.map(|(first, _)| instant(first)),
        last_record_at: found.span_micros.map(|(_, last)| instant(last)),
        head_seal_number: found.head.map(|(number, _)| number),
        head: found.head.map(|(_, digest)| digest.to_string()),
        public_key: Some(audit::public_key_text(public_key)),
        late_seal_numbers: Some(found.late.clone()),
        faults: Some(found.faults.iter().map(ToString::to_string).collect()),
        more_fault_count: count(found.faults_more),
    }
}
