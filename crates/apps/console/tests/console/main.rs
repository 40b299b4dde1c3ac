//! The console over a real server and store.

// What these tests stand on is not itself marked as a test.
#![allow(clippy::unwrap_used)]

mod audit;
mod browser;
mod door;
mod furnished;
mod people;
mod rooms;
