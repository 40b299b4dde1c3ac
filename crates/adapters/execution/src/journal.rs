use crate::seen::Seen;
use crate::{ExecutionError, JobContext, JobFolder, JobState, durable, report};
use agent_wire::{Job, Order, SignedOrder, StepStatus};
use identifiers::{JobId, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How long finished jobs stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBounds {
    /// Folders of jobs that finished longer ago are removed, in hours.
    pub keep_hours: u32,
    /// Of more finished jobs than this the oldest are removed.
    pub jobs_max: usize,
}

impl Default for JournalBounds {
    /// 336 hours, which is how long the SSM agent keeps a command's folder, and 500 jobs.
    fn default() -> Self {
        Self { keep_hours: 336, jobs_max: 500 }
    }
}

/// What the agent has seen the server say under signature, so that nothing older is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The highest incarnation of the server's database.
    pub incarnation: u64,
    /// The latest instant at which an obeyed order was signed: the true time is no earlier.
    pub issued_at: Timestamp,
    /// Job ids were forgotten whose orders expired up to here: every order that expires so early is refused.
    pub forgotten_until: Timestamp,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self { incarnation: 0, issued_at: Timestamp::EPOCH, forgotten_until: Timestamp::EPOCH }
    }
}

/// What the journal has of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Its folder.
    Folder(JobFolder),
    /// Only that it was seen: its folder was cleaned away, or it was cancelled before it came.
    Gone,
}

/// All jobs of this node.
#[derive(Debug)]
pub struct Journal {
    jobs: PathBuf,
    bounds: JournalBounds,
    seen: Seen,
    watermarks: Watermarks,
    next_sequence: u64,
}

impl Journal {
    /// Opens the journal in `directory/jobs`, making it if there is none.
    ///
    /// # Errors
    /// When the file system refuses or a file of the journal is damaged.
    pub fn open(directory: &Path, bounds: JournalBounds) -> Result<Self, ExecutionError> {
        let jobs = directory.join("jobs");
        durable::create_directory(&jobs)?;
        let seen = Seen::open(&jobs.join("seen"))?;
        let watermarks = durable::read_json(&jobs.join("watermarks.json"), 4096)?.unwrap_or_default();
        let mut journal = Self { jobs, bounds, seen, watermarks, next_sequence: 0 };
        journal.remove_unfinished_writes()?;
        let sequences = journal.folders()?.into_iter().filter_map(|folder| folder.state().ok());
        journal.next_sequence = sequences.map(|state| state.sequence + 1).max().unwrap_or(0);
        Ok(journal)
    }

    /// What the server has been seen to say.
    #[must_use]
    pub fn watermarks(&self) -> Watermarks {
        self.watermarks
    }

    /// Raises the watermarks to those of an order whose signature holds; durable when it returns.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn note(&mut self, incarnation: u64, issued_at: Timestamp) -> Result<(), ExecutionError> {
        let next = Watermarks {
            incarnation: self.watermarks.incarnation.max(incarnation),
            issued_at: self.watermarks.issued_at.max(issued_at),
            ..self.watermarks
        };
        self.write_watermarks(next)
    }

    /// What there is of a job.
    #[must_use]
    pub fn find(&self, job_id: &JobId) -> Option<Known> {
        let path = self.jobs.join(job_id.as_str());
        if path.is_dir() {
            return Some(Known::Folder(JobFolder::at(&path)));
        }
        self.seen.contains(job_id).then_some(Known::Gone)
    }

    /// Writes a job down that was never seen. When it returns, the job survives a loss of power, and nothing of it has
    /// been started.
    ///
    /// # Errors
    /// When the job is known already or the file system refuses; then there is no such job.
    pub fn accept(
        &mut self,
        signed: &SignedOrder,
        job: &Job,
        context: &JobContext,
        now: Timestamp,
    ) -> Result<JobFolder, ExecutionError> {
        let path = self.jobs.join(job.job_id.as_str());
        if self.find(&job.job_id).is_some() {
            return Err(ExecutionError::damaged(&path, "the job is known already"));
        }
        let fresh = self.jobs.join(format!(".new-{}", job.job_id));
        durable::create_directory(&fresh)?;
        durable::write_json(&fresh.join("order.json"), signed)?;
        durable::write_json(&fresh.join("context.json"), context)?;
        let state = JobState::accepted(now, self.next_sequence, job.steps.len());
        durable::write_json(&fresh.join("state.json"), &state)?;
        std::fs::rename(&fresh, &path).map_err(ExecutionError::file("renaming", &fresh))?;
        durable::sync_directory(&self.jobs)?;
        self.next_sequence += 1;
        Ok(JobFolder::at(&path))
    }

    /// Remembers a job that was cancelled before its order came, so that it will not run when it comes.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn forestall(&mut self, job_id: &JobId, expires_at: Timestamp) -> Result<(), ExecutionError> {
        self.seen.remember(job_id, expires_at)
    }

    /// Ends a job none of whose steps has begun, unless a supervisor has it: all its steps get `status` and `reason`.
    /// Says whether the job is over.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn end_untouched(
        &self,
        folder: &JobFolder,
        status: StepStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<bool, ExecutionError> {
        let Some(_lock) = folder.try_lock()? else { return Ok(false) };
        let mut state = folder.state()?;
        if !state.untouched() {
            return Ok(state.finished_at.is_some());
        }
        let (_, job) = folder.job()?;
        for (index, step) in state.steps.iter_mut().enumerate() {
            let path = folder.step_path(index);
            durable::create_directory(&path)?;
            durable::write(&path.join("stderr"), reason.as_bytes())?;
            *step = crate::StepState::never_began(status, -1, now);
        }
        folder.write_result(&report::job_report(folder, &job, &state, now)?)?;
        state.finished_at = Some(now);
        folder.write_state(&state)?;
        Ok(true)
    }

    /// The folders of all jobs that are kept, in no order.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn folders(&self) -> Result<Vec<JobFolder>, ExecutionError> {
        let paths = self.entries()?.into_iter().map(|path| JobFolder::at(&path));
        Ok(paths.filter(|folder| folder.job_id().is_some()).collect())
    }

    /// Removes the folders of jobs that finished long ago and for which `may_go` holds, and forgets ids whose orders
    /// expired as long ago. None of them can run again: their ids are remembered first, and what is forgotten is
    /// refused by its expiry.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn clean(&mut self, now: Timestamp, may_go: impl Fn(&JobFolder) -> bool) -> Result<(), ExecutionError> {
        let horizon = now.plus_seconds(-i64::from(self.bounds.keep_hours) * 3600);
        let mut finished = Vec::new();
        for folder in self.folders()? {
            if let Ok(JobState { finished_at: Some(at), .. }) = folder.state() {
                finished.push((at, folder));
            }
        }
        finished.sort_by_key(|(at, _)| *at);
        let surplus = finished.len().saturating_sub(self.bounds.jobs_max);
        for (place, (at, folder)) in finished.iter().enumerate() {
            if (place < surplus || *at < horizon) && may_go(folder) {
                self.remove(folder)?;
            }
        }
        if let Some(until) = self.seen.forgettable(horizon) {
            let forgotten_until = self.watermarks.forgotten_until.max(until);
            self.write_watermarks(Watermarks { forgotten_until, ..self.watermarks })?;
            self.seen.forget(forgotten_until)?;
        }
        Ok(())
    }

    fn remove(&mut self, folder: &JobFolder) -> Result<(), ExecutionError> {
        let (order, job): (Order, Job) = folder.job()?;
        self.seen.remember(&job.job_id, order.expires_at)?;
        // Renamed first, so that a half-removed folder is never taken for a job.
        let old = self.jobs.join(format!(".old-{}", job.job_id));
        std::fs::rename(folder.path(), &old).map_err(ExecutionError::file("renaming", folder.path()))?;
        std::fs::remove_dir_all(&old).map_err(ExecutionError::file("removing", &old))
    }

    fn remove_unfinished_writes(&self) -> Result<(), ExecutionError> {
        for path in self.entries()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(".new-") || name.starts_with(".old-") {
                std::fs::remove_dir_all(&path).map_err(ExecutionError::file("removing", &path))?;
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, ExecutionError> {
        let read = || std::fs::read_dir(&self.jobs)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
        read().map_err(ExecutionError::file("reading", &self.jobs))
    }

    fn write_watermarks(&mut self, next: Watermarks) -> Result<(), ExecutionError> {
        if next != self.watermarks {
            durable::write_json(&self.jobs.join("watermarks.json"), &next)?;
            self.watermarks = next;
        }
        Ok(())
    }
}
