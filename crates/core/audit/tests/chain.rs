//! Whatever is done to a sealed log is found; a log that nobody touched is unbroken.

// What the tests share is not itself marked as a test.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use audit::export::{self, Line};
use audit::{Digest, Fault, RecordDigest, Seal, SealDraft, StoredRecord, Verification, Verifier, seal_is_due};
use identifiers::{AccountId, Region, Scope, Timestamp};
use proptest::prelude::*;

const KEY: [u8; 32] = [7; 32];

fn scope() -> Scope {
    Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("eu-west-1").unwrap() }
}

/// Stands in for Ed25519: sixty-four bytes that depend on the key and on every byte of the text.
fn sign(key: &[u8; 32], text: &str) -> [u8; 64] {
    let mut state = key.iter().fold(17_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let mut signature = [0; 64];
    for byte in text.bytes() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(byte) + 1);
    }
    for slot in &mut signature {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *slot = (state >> 56) as u8;
    }
    signature
}

fn verify(key: &[u8; 32], text: &str, signature: &[u8; 64]) -> bool {
    sign(key, text) == *signature
}

fn record(seq: i64) -> StoredRecord {
    StoredRecord {
        seq,
        at_micros: seq * 1_000_000,
        request_id: format!("request-{seq}"),
        principal: "key/AKIA0123456789ABCDEF".to_owned(),
        source_address: "127.0.0.1".to_owned(),
        action: "ssm:SendCommand".to_owned(),
        resource: format!("command/{seq}"),
        outcome: "done".to_owned(),
        before: "null".to_owned(),
        after: format!(r#"{{"n":{seq}}}"#),
    }
}

#[derive(Clone, Debug)]
struct Log {
    records: Vec<StoredRecord>,
    seals: Vec<Seal>,
}

impl Log {
    /// Records in batches of these sizes, and some that are not sealed.
    fn new(batches: &[usize], unsealed: usize) -> Self {
        let total = batches.iter().sum::<usize>() + unsealed;
        let mut log = Self { records: (1..=total as i64).map(record).collect(), seals: Vec::new() };
        let mut from = 0;
        for size in batches {
            log.seal(from, from + size);
            from += size;
        }
        log
    }

    fn seal(&mut self, from: usize, to: usize) {
        let digests: Vec<RecordDigest> = self.records[from..to].iter().map(|record| record.digest(&scope())).collect();
        let now = Timestamp::from_micros(digests.last().unwrap().at_micros + 1);
        let draft = SealDraft::new(&scope(), self.seals.last(), &digests, now).unwrap();
        let signature = sign(&KEY, &draft.text(&scope()));
        self.seals.push(draft.signed(KEY, signature));
    }

    /// As the shell reads it: each seal, the records up to its last, the rest.
    fn verified(&self, head: Option<Digest>) -> Verification {
        let mut verifier = Verifier::new(scope(), vec![KEY], verify);
        if let Some(head) = head {
            verifier.expect_head(head);
        }
        let mut records = self.records.iter().peekable();
        for seal in &self.seals {
            verifier.seal(seal.clone());
            while let Some(record) = records.next_if(|record| record.seq <= seal.last_seq) {
                verifier.record(&record.digest(&scope()));
            }
        }
        for record in records {
            verifier.record(&record.digest(&scope()));
        }
        verifier.finish(None)
    }

    fn faults(&self) -> Vec<Fault> {
        self.verified(None).faults
    }
}

#[test]
fn what_nobody_touched_is_unbroken() {
    let log = Log::new(&[3, 1, 5], 2);
    let found = log.verified(Some(log.seals[1].digest));
    assert_eq!(found.faults, []);
    assert_eq!((found.records, found.seals, found.unsealed, found.pruned), (11, 3, 2, 0));
    assert_eq!(found.span_micros, Some((1_000_000, 11_000_000)));
    assert_eq!(found.head, Some((3, log.seals[2].digest)));
    assert_eq!(Log::new(&[], 0).faults(), []);
    assert_eq!(Log::new(&[], 3).faults(), []);
}

#[test]
fn the_very_record_is_named() {
    let log = Log::new(&[3, 4], 2);
    let with = |change: &dyn Fn(&mut Log)| {
        let mut log = log.clone();
        change(&mut log);
        log.faults()
    };
    assert_eq!(with(&|log| log.records[4].outcome = "refused".into()), [Fault::RecordChanged { seq: 5, seal: 2 }]);
    assert_eq!(with(&|log| log.records[4].after.push(' ')), [Fault::RecordChanged { seq: 5, seal: 2 }]);
    assert_eq!(with(&|log| drop(log.records.remove(2))), [Fault::RecordsRemoved { from: 3, to: 3, seal: 1 }]);
    assert_eq!(with(&|log| drop(log.records.drain(1..3))), [Fault::RecordsRemoved { from: 2, to: 3, seal: 1 }]);
    assert_eq!(with(&|log| drop(log.records.remove(7))), [Fault::RecordsMissing { from: 8, to: 8 }]);
    assert_eq!(with(&|log| log.records.insert(0, record(0))), [Fault::RecordInserted { seq: 0 }]);
    assert_eq!(with(&|log| log.records.push(record(9))), [Fault::RecordInserted { seq: 9 }]);
    let swapped = with(&|log| {
        let (one, other) = (log.records[3].after.clone(), log.records[5].after.clone());
        (log.records[3].after, log.records[5].after) = (other, one);
    });
    assert_eq!(swapped, [Fault::RecordChanged { seq: 4, seal: 2 }, Fault::RecordChanged { seq: 6, seal: 2 }]);
}

#[test]
fn seals_hang_together() {
    let log = Log::new(&[2, 2, 2], 0);
    let with = |change: &dyn Fn(&mut Log)| {
        let mut log = log.clone();
        change(&mut log);
        log.faults()
    };
    let removed = with(&|log| drop(log.seals.remove(1)));
    assert!(removed.contains(&Fault::SealsMissing { from: 2, to: 2 }), "{removed:?}");
    let first = with(&|log| drop(log.seals.remove(0)));
    assert!(first.contains(&Fault::SealsMissing { from: 1, to: 1 }), "{first:?}");
    // The newest seal can be taken away, and then its records are only not sealed; an anchor shows it.
    let mut cut = log.clone();
    let head = cut.seals.pop().unwrap().digest;
    assert_eq!(cut.faults(), []);
    assert_eq!(cut.verified(Some(head)).faults, [Fault::HeadLost { head }]);
    // A record changed and sealed again, with everything after it, but with another key.
    let mut forged = log.clone();
    forged.records[2].principal = "system".to_owned();
    forged.seals.truncate(1);
    forged.seal(2, 4);
    forged.seal(4, 6);
    assert_eq!(forged.faults(), [], "whoever holds the key can write the log anew");
    assert_eq!(forged.verified(Some(log.seals[2].digest)).faults.len(), 1, "but not so that a kept head is in it");
    forged.seals[1].public_key = [8; 32];
    forged.seals[1].signature = sign(&[8; 32], &forged.seals[1].signed_text(&scope()));
    assert_eq!(forged.faults(), [Fault::SealForged { seal: 2 }]);
}

#[test]
fn retention_removes_whole_batches_and_says_so() {
    let mut log = Log::new(&[2, 2, 2], 1);
    log.records.drain(..4);
    log.seals[0].records.clear();
    log.seals[1].records.clear();
    assert_eq!(log.faults(), [Fault::RecordsMissing { from: 1, to: 4 }], "nobody said that they were removed");
    let mut said = record(8);
    said.action = audit::PRUNE_ACTION.to_owned();
    said.after = r#"{"through_seq":4}"#.to_owned();
    log.records.push(said);
    let found = log.verified(Some(log.seals[0].digest));
    assert_eq!((found.faults.as_slice(), found.pruned, found.records), (&[][..], 4, 4));
    let mut more = log.clone();
    more.records.drain(..2);
    assert_eq!(more.faults(), [Fault::RecordsRemoved { from: 5, to: 6, seal: 3 }]);
}

#[test]
fn what_was_gone_before_it_was_sealed_is_missing_for_ever() {
    let mut log = Log::new(&[2], 4);
    log.records.remove(3);
    log.seal(2, 5);
    assert_eq!(log.seals[1].record_count, 3);
    assert_eq!(log.faults(), [Fault::RecordsMissing { from: 4, to: 4 }]);
    let verifier = Verifier::new(scope(), vec![], verify);
    assert_eq!(verifier.finish(Some(2)).faults, [Fault::RecordsMissing { from: 1, to: 2 }], "the newest are missing");
}

#[test]
fn a_record_waits_ten_seconds_at_most() {
    let at = Timestamp::from_seconds;
    assert!(!seal_is_due(0, None, at(100), true));
    assert!(!seal_is_due(1, Some(at(91)), at(100), false));
    assert!(seal_is_due(1, Some(at(90)), at(100), false));
    assert!(seal_is_due(1, Some(at(99)), at(100), true));
    assert!(seal_is_due(1_000, Some(at(99)), at(100), false));
    assert!(seal_is_due(1, Some(at(101)), at(100), false), "the clock was set back");
}

#[test]
fn no_cell_is_a_formula() {
    let mut one = record(1);
    one.principal = "=HYPERLINK(\"http://evil.example\")".to_owned();
    one.resource = "plain, \"quoted\"".to_owned();
    one.outcome = " @SUM(1)".to_owned();
    let line = export::csv_line(&one);
    assert!(line.starts_with("1,1970-01-01T00:00:01.000000Z,\"'=HYPERLINK(\"\"http://evil.example\"\")\","), "{line}");
    assert!(line.contains("\"plain, \"\"quoted\"\"\",\"' @SUM(1)\""), "{line}");
    assert_eq!(export::CSV_HEADER.split(',').count(), 10);
}

/// One way to tamper with a log.
fn tamper(log: &mut Log, what: u8, at: usize, with: &str) -> bool {
    let records = log.records.len();
    let sealed = log.seals.iter().map(|seal| seal.record_count as usize).sum::<usize>();
    let record = at % sealed;
    let seal = at % log.seals.len();
    match what {
        0 => log.records[record].after.push_str(with),
        1 => log.records[record].principal.insert_str(0, with),
        2 => log.records[record].at_micros += 1 + at as i64,
        3 => drop(log.records.remove(record)),
        4 => {
            // Moves a byte over the border of two fields.
            let Some(last) = log.records[record].action.pop() else { return false };
            log.records[record].resource.insert(0, last);
        }
        5 => log.records.insert(0, StoredRecord { seq: -(at as i64), ..log.records[0].clone() }),
        6 if records > 1 && sealed > 1 => {
            let other = (record + 1) % sealed;
            let seqs = (log.records[record].seq, log.records[other].seq);
            log.records.swap(record, other);
            (log.records[record].seq, log.records[other].seq) = seqs;
        }
        7 if log.seals.len() > 1 => drop(log.seals.remove(at % (log.seals.len() - 1))),
        8 if log.seals.len() > 1 => {
            let other = (seal + 1) % log.seals.len();
            log.seals.swap(seal, other);
        }
        9 => log.seals[seal].sealed_at_micros += 1,
        10 => log.seals[seal].record_count += 1,
        11 => log.seals[seal].signature[at % 64] ^= 1,
        12 => log.seals[seal].public_key[at % 32] ^= 1,
        13 => log.seals[seal].last_seq += 1,
        14 => {
            // The record, its digest in the list and the list's digest fit each other, the seal does not.
            log.records[record].outcome.push_str(with);
            let digest = log.records[record].digest(&scope());
            for seal in &mut log.seals {
                for listed in seal.records.iter_mut().filter(|listed| listed.seq == digest.seq) {
                    listed.digest = digest.digest;
                }
            }
        }
        15 => {
            let kept = log.seals[seal].records.len() - 1;
            log.seals[seal].records.truncate(kept);
            return kept > 0;
        }
        _ => return false,
    }
    true
}

proptest! {
    #[test]
    fn whatever_is_done_to_what_was_sealed_is_found(
        batches in prop::collection::vec(1_usize..6, 1..5),
        unsealed in 0_usize..4,
        what in 0_u8..16,
        at in 0_usize..1_000,
        with in "[a-z ]{1,8}",
    ) {
        let mut log = Log::new(&batches, unsealed);
        prop_assert_eq!(log.faults(), vec![]);
        if tamper(&mut log, what, at, &with) {
            prop_assert!(!log.faults().is_empty(), "way {}", what);
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written(
        seq in any::<i64>(),
        at_micros in 0_i64..253_402_207_200_000_000,
        texts in prop::collection::vec(any::<String>(), 8),
        odd in any::<bool>(),
    ) {
        let state = |text: &str| if odd { text.to_owned() } else { format!("{text:?}").replace("\\u{", "\\\\u{").replace("\\'", "'") };
        let one = StoredRecord {
            seq,
            at_micros,
            request_id: texts[0].clone(),
            principal: texts[1].clone(),
            source_address: texts[2].clone(),
            action: texts[3].clone(),
            resource: texts[4].clone(),
            outcome: texts[5].clone(),
            before: state(&texts[6]),
            after: state(&texts[7]),
        };
        let line = export::record_line(&one);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(export::parse_line(&line), Ok(Line::Record(Box::new(one))));
    }

    #[test]
    fn no_line_makes_the_reader_fall(text in any::<String>(), start in prop::sample::select(vec!["", "{\"seal\":", "{\"careen_audit_export\":", "{\"seq\":"])) {
        let _ = export::parse_line(&format!("{start}{text}"));
    }
}

#[test]
fn a_seal_is_read_as_it_was_written() {
    let log = Log::new(&[2], 0);
    let line = export::seal_line(&log.seals[0]);
    assert_eq!(export::parse_line(&line), Ok(Line::Seal(Box::new(log.seals[0].clone()))));
    let header = export::header(&scope(), Timestamp::from_seconds(1), 2);
    assert_eq!(export::parse_line(&header), Ok(Line::Header { scope: scope(), last_seq: 2 }));
    assert!(export::parse_line(&header.replace("export\":1", "export\":9")).is_err());
}
