//! What a simulation does to a store: its process ends at a commit, it is cut off from its database, its disk is full.
//! Nothing that is shipped is built with this.

use crate::store::{Backend, ask};
use crate::writer::Job;
use crate::{ApplyError, ReadError, Store};
use std::sync::{Arc, Mutex, PoisonError};

/// More pages than any test writes: SQLite's own greatest number.
const PAGES_WITHOUT_END: u32 = 4_294_967_294;

/// What goes wrong at one process's end of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends just before its next transaction is committed: nothing of it is kept.
    EndsBeforeCommit,
    /// The process ends just after its next transaction was committed: it is kept, and nobody is told.
    EndsAfterCommit,
    /// The process has ended: whatever it still tries does not happen.
    Ended,
    /// The database cannot be reached.
    CutOff,
}

/// What is to go wrong at one handle.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    now: Arc<Mutex<Option<Fault>>>,
    /// Whether several stand for what shares one database.
    pub(crate) shared: bool,
}

fn gone() -> String {
    "a simulated fault".to_owned()
}

impl Faults {
    fn is(&self, fault: Fault) -> bool {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) == Some(fault)
    }

    fn set(&self, fault: Option<Fault>) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(crate) fn before_commit(&self) -> Result<(), ApplyError> {
        if self.is(Fault::EndsBeforeCommit) {
            self.set(Some(Fault::Ended));
        }
        Ok(self.reading()?)
    }

    pub(crate) fn after_commit(&self) -> Result<(), ApplyError> {
        if self.is(Fault::EndsAfterCommit) {
            self.set(Some(Fault::Ended));
        }
        Ok(self.reading()?)
    }

    pub(crate) fn reading(&self) -> Result<(), ReadError> {
        match self.is(Fault::Ended) || self.is(Fault::CutOff) {
            true => Err(ReadError::Unavailable(gone())),
            false => Ok(()),
        }
    }
}

impl Store {
    /// Another process's handle on the same database, with faults of its own; `alone`: it has the database for itself.
    #[must_use]
    pub fn of_another_process(&self, alone: bool) -> Self {
        Self { faults: Faults { shared: !alone, ..Faults::default() }, ..self.clone() }
    }

    /// Lets something go wrong at this handle and its clones; `None`: no more.
    pub fn inject(&self, fault: Option<Fault>) {
        self.faults.set(fault);
    }

    /// Whether the process of this handle has ended by [`Fault::EndsBeforeCommit`] or [`Fault::EndsAfterCommit`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.faults.is(Fault::Ended)
    }

    /// Lets the disk be full, or have room again: SQLite gets no page more than it has. Without effect on PostgreSQL.
    ///
    /// # Errors
    /// When the store is closed.
    pub async fn fill_disk(&self, full: bool) -> Result<(), ApplyError> {
        let pages = if full { 1 } else { PAGES_WITHOUT_END };
        match &*self.backend {
            Backend::Sqlite { writer, .. } => ask(writer, |answer| Job::PagesMax { pages, answer }).await,
            Backend::Postgres { .. } => Ok(()),
        }
    }
}
