//! Where a node's jobs are written down, run and reported from, so that none is lost and none runs twice.
//!
//! It decides what is durable before what ([`Journal`]), who may run a job and what becomes of one whose supervisor
//! died ([`supervise`]), how a process tree ends, and what is kept until the server has it ([`Spool`]). It deliberately
//! does not know the network, keys and signatures, when a job may start, nor how a host is patched ([`PatchRunner`]).
//!
//! Two kinds of process use it. The *agent* accepts orders into the journal and starts supervisors. A *supervisor* is
//! a process of its own session that holds the lock of one job's folder while it lives; it alone changes that job's
//! state. Any number of supervisors may be started for a job: the lock lets one work, and the state tells it what has
//! been done, so starting another one is always safe.

mod cgroup;
pub mod durable;
mod error;
mod folder;
mod host_state;
mod journal;
mod patch;
mod report;
mod seen;
mod spool;
mod state;
mod supervisor;

pub use cgroup::{bound_own_memory, limits_in_words, remove_empty_groups};
pub use error::ExecutionError;
pub use folder::{JobContext, JobFolder, JobLock};
pub use host_state::{boot_id, now, uuid};
pub use journal::{Journal, JournalBounds, Known, Watermarks};
pub use patch::{PatchEnd, PatchOutcome, PatchRun, PatchRunner, Stop};
pub use report::REPORT_BYTES_MAX;
pub use spool::{Spool, SpoolBounds};
pub use state::{JobState, StepState};
pub use supervisor::{REBOOT_BOUND_SECONDS, Supervised, start_supervisor, supervise};
