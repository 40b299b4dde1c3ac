//! `cargo xtask check`: what can be said about the code without running it.

use std::path::Path;

use crate::machine::{cargo, run_visibly};
use crate::{codegen, layers};

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    run_visibly(cargo().args(["fmt", "--all", "--check"]).current_dir(root))?;
    layers::run(root)?;
    codegen::run(&["--check".to_owned()])?;
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    run_visibly(cargo().args(lints).current_dir(root))
}
