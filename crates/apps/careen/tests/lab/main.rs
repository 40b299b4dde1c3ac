//! Careen as its users have it: the server's binary, the agent's binary on real hosts, and the unmodified AWS CLI between
//! them. Each test is one story.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic, and so may what they share")]

mod apt;
mod cancelling;
mod commands;
mod failures;
mod impostors;
mod interruptions;
mod live;
mod middleman;
mod patching;
mod reasons;
mod reboots;
mod restores;
mod site;
mod unprivileged;
mod up;
