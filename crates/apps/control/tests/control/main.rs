//! The shell around the core, tested with a real store and agents that speak the real protocol without sockets.

// Clippy knows test functions, not the functions they share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit_log;
mod handshake;
mod histories;
mod keys;
mod live_output;
mod metrics;
mod operations;
mod pages;
mod people;
mod readiness;
mod reports;
mod sign_in;
mod support;
mod tags;
mod tokens;
mod transcripts;
