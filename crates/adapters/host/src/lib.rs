//! The live host: reading its package database and lists, refreshing them, installing exactly what was approved, and the
//! run of a patch step from scan to report.
//!
//! It decides where a host's files lie, how `apt-get` and `dpkg` are called, and what becomes of a run that is
//! interrupted: a package transaction outlives this process, is waited for by the next attempt, and success is what dpkg
//! says afterwards. It deliberately does not know which version apt would take (see `repositories`), which patches are
//! approved or what a report says (see `patching`), how a job reaches this host or its output the server (see the agent),
//! and it never reboots on its own: it says that a reboot is wanted.
//!
//! The ways in: [`read_host`], [`refresh`], [`install`], and [`run_patch`], which ties them together; [`facts`] and
//! [`reboot`] for the agent. Everything is synchronous.

mod apt;
mod command;
mod dpkg;
mod error;
mod facts;
mod files;
mod install;
mod lock;
pub mod machine;
mod patch_run;
mod paths;
mod progress;
mod read;
mod refresh;
mod root;
mod session;
mod simulation;
mod transaction;

pub use error::HostError;
pub use facts::{boot_id, facts, reboot};
pub use install::{Changed, InstallContext, InstallOutcome, install};
pub use patch_run::{PatchEnd, PatchOutcome, RunContext, run_patch};
pub use read::{HostReading, read_host};
pub use refresh::{REFRESH_YOUNG_SECONDS, Refreshed, refresh};
pub use root::HostRoot;
