//! The console over a real server and store.

mod browser;
mod door;
mod furnished;
mod rooms;
