//! The order of package versions.
//!
//! It decides which of two versions of one ecosystem is newer, and compiles a version to bytes whose order is the version
//! order. It deliberately does not know packages, hosts or advisories. So far it knows one ecosystem: dpkg.

mod dpkg;

pub use dpkg::{DpkgVersion, compare_dpkg, dpkg_sort_key};
