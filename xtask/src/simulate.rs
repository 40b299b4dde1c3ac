//! `cargo xtask simulate`: many histories of a simulated fleet, built for speed.

use std::path::Path;

use crate::machine::{cargo, run_visibly};

/// Builds and runs the `simulate` program of `testkit` with these options.
pub(crate) fn run(root: &Path, options: &[String]) -> anyhow::Result<()> {
    let build = ["run", "--quiet", "--release", "-p", "testkit", "--features", "fleet", "--bin", "simulate", "--"];
    run_visibly(cargo().current_dir(root).args(build).args(options))
}
