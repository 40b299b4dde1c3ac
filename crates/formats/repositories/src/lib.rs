//! What is offered, as apt sees it: sources, lists, Release files, preferences, and the candidate of every package.
//!
//! The way in is [`Inspection`]: feed it what the files of a host say, ask it which lists it wants, feed it those, and
//! take the [`HostState`]. Everything below it is usable alone. It decides what apt's files say and which version apt
//! would choose by priorities. It deliberately does not know where files lie (see `host`), does not resolve dependencies,
//! does not verify signatures (apt did before it stored a list), and does not decide what should be installed (see
//! `patching`). All input is hostile: everything is bounded, nothing panics.

mod compression;
mod configuration;
mod folder;
mod inspection;
mod offers;
mod pattern;
mod phasing;
mod pin;
mod policy;
mod preferences;
mod release;
mod resolve;
mod sources;
#[cfg(test)]
mod test_host;
mod uri;
mod warning;

pub use compression::{Compression, Decompressed, DecompressionError};
pub use configuration::{Configuration, PhasedUpdates};
pub use inspection::{HostState, Inspection, RepositoryState};
pub use offers::{ListError, OFFERS_MAX, Offer, OfferingList, Offers, PACKAGES_BYTES_MAX};
pub use preferences::Preferences;
pub use release::Release;
pub use resolve::resolve;
pub use sources::{IndexFile, Repository, Sources};
pub use uri::file_name_of_uri;
pub use warning::Warning;
