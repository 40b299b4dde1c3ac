//! The journal and the spool: what is durable, what is remembered, what gives way.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use agent_wire::{JobReport, StepStatus, ToServerBody};
use execution::{ExecutionError, Journal, JournalBounds, Known, Spool, SpoolBounds, boot_id, uuid};
use identifiers::{JobId, Timestamp};
use proptest::prelude::*;
use support::*;

const OTHER_JOB_ID: &str = "22222222-2222-4333-8444-555555555555";

fn accepted(id: &str) -> ToServerBody {
    ToServerBody::JobAccepted { job_id: JobId::parse(id).unwrap() }
}

fn begun() -> ToServerBody {
    let job_id = JobId::parse(JOB_ID).unwrap();
    ToServerBody::StepStarted { job_id, step: "first".to_owned(), at: Timestamp::EPOCH }
}

#[test]
fn a_job_is_accepted_once_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept_as(JOB_ID, directory.path(), vec![script("first", "true")]);
    let mut journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    let job = job(JOB_ID, vec![script("first", "true")]);
    assert_eq!(journal.find(&job.job_id), Some(Known::Folder(folder)));
    let order = signed(&job, Timestamp::from_seconds(10));
    assert!(journal.accept(&order, &job, &context(), execution::now()).is_err());
    assert_eq!(journal.find(&JobId::parse(OTHER_JOB_ID).unwrap()), None);
}

#[test]
fn a_job_that_was_being_written_when_the_power_went_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let half = directory.path().join("jobs").join(format!(".new-{JOB_ID}"));
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("order.json"), "{\"payl").unwrap();
    let journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    assert!(!half.exists());
    assert_eq!(journal.find(&JobId::parse(JOB_ID).unwrap()), None);
    assert_eq!(journal.folders().unwrap(), []);
}

#[test]
fn a_cleaned_job_is_still_known_and_what_is_forgotten_is_refused_by_its_expiry() {
    let directory = tempfile::tempdir().unwrap();
    let now = Timestamp::from_seconds(2_000_000_000);
    let job = job(JOB_ID, vec![script("first", "true")]);
    let expires_at = now.plus_seconds(3600);
    let mut journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    let folder = journal.accept(&signed(&job, expires_at), &job, &context(), now).unwrap();
    assert!(journal.end_untouched(&folder, StepStatus::Cancelled, "no", now).unwrap());
    assert_eq!(result(&folder).steps[0].stderr, "no");

    let later = now.plus_seconds(337 * 3600);
    journal.clean(later, |_| false).unwrap();
    assert!(folder.path().exists(), "its result was not delivered");
    journal.clean(now, |_| true).unwrap();
    assert!(folder.path().exists(), "it is young");
    journal.clean(now.plus_seconds(336 * 3600 + 1), |_| true).unwrap();
    assert!(!folder.path().exists());
    let mut journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    assert_eq!(journal.find(&job.job_id), Some(Known::Gone));
    assert_eq!(journal.watermarks().forgotten_until, Timestamp::EPOCH);

    journal.clean(now.plus_seconds(400 * 3600), |_| true).unwrap();
    let journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    assert_eq!(journal.find(&job.job_id), None);
    assert_eq!(journal.watermarks().forgotten_until, expires_at);
}

#[test]
fn surplus_jobs_go_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path(), JournalBounds { keep_hours: 336, jobs_max: 1 }).unwrap();
    let now = Timestamp::from_seconds(2_000_000_000);
    for (place, id) in [JOB_ID, OTHER_JOB_ID].into_iter().enumerate() {
        let job = job(id, vec![]);
        let at = now.plus_seconds(i64::try_from(place).unwrap());
        let folder = journal.accept(&signed(&job, now), &job, &context(), at).unwrap();
        journal.end_untouched(&folder, StepStatus::Cancelled, "", at).unwrap();
    }
    journal.clean(now, |_| true).unwrap();
    assert_eq!(journal.find(&JobId::parse(JOB_ID).unwrap()), Some(Known::Gone));
    assert!(matches!(journal.find(&JobId::parse(OTHER_JOB_ID).unwrap()), Some(Known::Folder(_))));
}

#[test]
fn a_job_cancelled_before_it_came_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let id = JobId::parse(JOB_ID).unwrap();
    let mut journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    journal.forestall(&id, Timestamp::from_seconds(10)).unwrap();
    let journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    assert_eq!(journal.find(&id), Some(Known::Gone));
}

#[test]
fn watermarks_only_rise_and_survive() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    journal.note(7, Timestamp::from_seconds(70)).unwrap();
    journal.note(5, Timestamp::from_seconds(90)).unwrap();
    let journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    assert_eq!((journal.watermarks().incarnation, journal.watermarks().issued_at.as_seconds()), (7, 90));
}

#[test]
fn spooled_messages_survive_and_their_ids_only_rise() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    let first = spool.push(accepted(JOB_ID)).unwrap();
    let second = spool.push(begun()).unwrap();
    assert!(second > first);
    drop(spool);
    let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    assert_eq!(spool.next_after(0).unwrap().unwrap().body, accepted(JOB_ID));
    assert_eq!(spool.next_after(first).unwrap().unwrap().id, second);
    assert_eq!(spool.next_after(second).unwrap(), None);
    spool.remove(first).unwrap();
    spool.remove(first).unwrap();
    spool.remove(second).unwrap();
    drop(spool);
    let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    assert!(spool.is_empty());
    assert!(spool.push(accepted(JOB_ID)).unwrap() > second, "an id is given out once, even after everything was taken");
}

#[test]
fn a_torn_or_damaged_message_does_not_stop_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    let id = spool.push(accepted(JOB_ID)).unwrap();
    let folder = directory.path().join("spool");
    std::fs::write(folder.join("00000000000000000900.json.new"), "{\"id\":900").unwrap();
    std::fs::write(folder.join("00000000000000000901.json"), "{\"id\":9").unwrap();
    let spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    assert_eq!((spool.len(), spool.damaged()), (1, 1));
    assert_eq!(spool.next_after(0).unwrap().unwrap().id, id);
}

#[test]
fn a_full_spool_gives_up_what_is_said_again_and_never_results() {
    let directory = tempfile::tempdir().unwrap();
    let mut spool = Spool::open(directory.path(), SpoolBounds { messages_max: 2, bytes_max: 1 << 20 }).unwrap();
    spool.push(begun()).unwrap();
    spool.push(accepted(JOB_ID)).unwrap();
    spool.push(accepted(OTHER_JOB_ID)).unwrap();
    let bodies: Vec<_> = spool.messages().unwrap().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, [accepted(JOB_ID), accepted(OTHER_JOB_ID)]);
    let refused = spool.push(begun()).unwrap_err();
    assert!(matches!(refused, ExecutionError::SpoolFull { messages: 2, .. }), "{refused}");

    let mut small =
        Spool::open(&directory.path().join("small"), SpoolBounds { messages_max: 99, bytes_max: 200 }).unwrap();
    small.push(accepted(JOB_ID)).unwrap();
    small.push(accepted(JOB_ID)).unwrap();
    assert!(matches!(small.push(accepted(JOB_ID)), Err(ExecutionError::SpoolFull { .. })));
}

#[test]
fn a_result_is_read_back_from_the_spool_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept_as(JOB_ID, directory.path(), vec![script("first", "true")]);
    let journal = Journal::open(directory.path(), JournalBounds::default()).unwrap();
    journal.end_untouched(&folder, StepStatus::Cancelled, "no\u{0} \u{1f600}", execution::now()).unwrap();
    let report: JobReport = result(&folder);
    let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
    spool.push(ToServerBody::JobFinished(report.clone())).unwrap();
    assert_eq!(spool.next_after(0).unwrap().unwrap().body, ToServerBody::JobFinished(report));
}

#[test]
fn the_host_has_a_boot_id_and_randomness() {
    assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    assert!(JobId::parse(&uuid().unwrap()).is_ok());
    assert_ne!(uuid().unwrap(), uuid().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is pushed, taken and reopened, the spool holds what was pushed and not taken, in order.
    #[test]
    fn the_spool_is_a_queue(moves in proptest::collection::vec(0u8..4, 0..24)) {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
        let mut expected: Vec<u64> = Vec::new();
        for step in moves {
            match step {
                0 | 1 => {
                    let id = spool.push(begun()).unwrap();
                    prop_assert!(expected.iter().all(|earlier| *earlier < id));
                    expected.push(id);
                }
                2 if !expected.is_empty() => spool.remove(expected.remove(0)).unwrap(),
                _ => spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap(),
            }
            let held: Vec<u64> = spool.messages().unwrap().iter().map(|message| message.id).collect();
            prop_assert_eq!(&held, &expected);
        }
    }
}
