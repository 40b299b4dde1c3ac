use crate::{ExecutionError, durable};
use identifiers::{JobId, Timestamp};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// More ids than this are not remembered one by one; see [`Seen::forget`].
const IDS_MAX: usize = 100_000;
/// The file is no larger than this, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Ids of jobs whose folders are gone, or that were cancelled before they came, with their orders' expiry.
///
/// One line a job: `ID EXPIRY_MICROSECONDS`. A line is appended and synced before the folder is removed.
#[derive(Debug)]
pub(crate) struct Seen {
    path: PathBuf,
    expiries: BTreeMap<JobId, Timestamp>,
}

impl Seen {
    pub(crate) fn open(path: &Path) -> Result<Self, ExecutionError> {
        let bytes = durable::read(path, FILE_BYTES_MAX)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // A line that was cut short by a loss of power was never acted upon: its folder is still there.
        let expiries = text.lines().filter_map(|line| {
            let (id, micros) = line.split_once(' ')?;
            Some((JobId::parse(id).ok()?, Timestamp::from_micros(micros.parse().ok()?)))
        });
        Ok(Self { path: path.to_owned(), expiries: expiries.collect() })
    }

    pub(crate) fn contains(&self, job_id: &JobId) -> bool {
        self.expiries.contains_key(job_id)
    }

    /// Remembers a job until its order's expiry, durably.
    pub(crate) fn remember(&mut self, job_id: &JobId, expires_at: Timestamp) -> Result<(), ExecutionError> {
        let append = || {
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            // The newline in front ends a line that a loss of power cut short.
            file.write_all(format!("\n{job_id} {}\n", expires_at.as_micros()).as_bytes())?;
            file.sync_all()
        };
        append().map_err(ExecutionError::file("writing", &self.path))?;
        durable::sync_directory(self.path.parent().unwrap_or(Path::new(".")))?;
        self.expiries.insert(job_id.clone(), expires_at);
        Ok(())
    }

    /// The latest expiry among the ids that are not worth keeping: those that expired before `horizon`, and the
    /// earliest to expire of too many.
    pub(crate) fn forgettable(&self, horizon: Timestamp) -> Option<Timestamp> {
        let mut expiries: Vec<Timestamp> = self.expiries.values().copied().collect();
        expiries.sort_unstable();
        let expired = expiries.partition_point(|at| *at < horizon);
        let count = expired.max(expiries.len().saturating_sub(IDS_MAX));
        count.checked_sub(1).and_then(|last| expiries.get(last)).copied()
    }

    /// Forgets the ids that expired at or before `until`, whose orders the journal refuses by their expiry from now on.
    pub(crate) fn forget(&mut self, until: Timestamp) -> Result<(), ExecutionError> {
        self.expiries.retain(|_, expires_at| *expires_at > until);
        let lines = self.expiries.iter().map(|(id, at)| format!("{id} {}\n", at.as_micros()));
        durable::write(&self.path, lines.collect::<String>().as_bytes())
    }
}
