//! The store on both databases. PostgreSQL comes from `CAREEN_TEST_POSTGRES_URL`; `cargo xtask test` starts a server and sets it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod durability;
mod inventory;
mod pages;
mod patch_reports;
mod people;
mod retention;
mod revisions;
mod rows;
mod schema;
mod support;
