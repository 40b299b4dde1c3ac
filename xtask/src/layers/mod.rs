//! `cargo xtask check-layers`: the walls of the house, checked.
//!
//! What is allowed stands in ARCHITECTURE.md's table and in this module's constants; what is there comes from cargo
//! itself. The judgement between the two is pure, so that it can be tested.

mod cargo;
mod edges;
mod sources;
mod table;
mod trees;

use std::path::Path;

use anyhow::{Context, bail};

/// One breach: what, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    what: String,
    place: String,
    remedy: String,
}

impl Breach {
    fn new(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n    where: {}\n    do:    {}", self.what, self.place, self.remedy)
    }
}

/// Checks everything and tells all breaches at once.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let architecture = root.join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&architecture).with_context(|| architecture.display().to_string())?;
    let table = table::parse(&text)?;
    let workspace = cargo::Workspace::load(root)?;
    let mut breaches = edges::judge(&table, &workspace.members);
    breaches.extend(trees::banned(&workspace.packages));
    let low: Vec<&str> = table.iter().filter(|row| row.wing.is_pure()).map(|row| row.name.as_str()).collect();
    breaches.extend(trees::asynchronous(&cargo::tree(root, &low)?));
    let agent = cargo::tree(root, &["agent"])?;
    breaches.extend(trees::agent(&agent));
    breaches.extend(sources::judge(root)?);
    for breach in &breaches {
        eprintln!("- {breach}");
    }
    if !breaches.is_empty() {
        bail!("check-layers: {} breaches", breaches.len());
    }
    let (crates, edges) = (table.len(), workspace.members.iter().map(|member| member.uses.len()).sum::<usize>());
    let (agent, agent_max) = (agent.len(), trees::AGENT_CRATES_MAX);
    eprintln!(
        "check-layers: {crates} crates, {edges} edges, the agent's tree has {agent} crates (at most {agent_max})"
    );
    Ok(())
}
