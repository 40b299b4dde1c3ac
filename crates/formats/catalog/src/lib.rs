//! What is installed, as package databases write it: os-release(5) and dpkg's status.
//!
//! It decides what a database's bytes say. It deliberately does not know where the files lie (see `host`), what is offered
//! (see `repositories`), nor what should be done about it (see `patching`). All input is hostile: everything is bounded,
//! nothing panics, and what cannot be read is skipped with a reason.

mod control;
pub mod deb822;
mod dpkg;
mod os_release;

pub use control::{Build, ControlFields, MultiArch};
pub use dpkg::{
    DpkgDatabase, DpkgPackage, LeftoverConfiguration, SKIPPED_MAX, STANZA_BYTES_MAX, STATUS_STANZAS_MAX, SkipReason,
    SkippedStanza, VALUE_BYTES_MAX, parse_dpkg_status, parse_dpkg_status_d,
};
pub use os_release::parse_os_release;
