//! What cargo knows of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use testkit::run_bounded;

const BOUND: Duration = Duration::from_secs(300);

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The program itself, or its build script.
    Normal,
    /// Its tests only.
    Tests,
}

/// A crate of the workspace and the other crates of the workspace it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    /// Its folder, relative to the workspace's root.
    pub(super) folder: String,
    pub(super) uses: BTreeSet<(String, Kind)>,
}

/// A package somewhere in the whole tree, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) wanted_by: Vec<String>,
}

/// The workspace as `cargo metadata` tells it.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) members: Vec<Member>,
    pub(super) packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
    manifest_path: std::path::PathBuf,
    dependencies: Vec<MetadataDependency>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Workspace {
    /// Asks cargo.
    pub(super) fn load(root: &Path) -> anyhow::Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1"]).current_dir(root);
        let output = run_bounded(&mut command, BOUND)?;
        output.expect_success("cargo metadata")?;
        let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        let members = metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id));
        let members = members.map(|package| member(package, root)).collect();
        Ok(Self { members, packages: packages(&metadata) })
    }
}

fn member(package: &MetadataPackage, root: &Path) -> Member {
    let folder = package.manifest_path.parent().unwrap_or(root);
    let folder = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
    // Inside the workspace: the dependency has a path.
    let uses = package.dependencies.iter().filter(|dependency| dependency.path.is_some()).map(|dependency| {
        let kind = if dependency.kind.as_deref() == Some("dev") { Kind::Tests } else { Kind::Normal };
        (dependency.name.clone(), kind)
    });
    Member { name: package.name.clone(), folder, uses: uses.collect() }
}

fn packages(metadata: &Metadata) -> Vec<Package> {
    let mut wanted_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        for dependency in &node.dependencies {
            wanted_by.entry(dependency).or_default().push(&node.id);
        }
    }
    let name_of = |id: &str| metadata.packages.iter().find(|package| package.id == id).map(|found| found.name.clone());
    let used = metadata.resolve.nodes.iter().filter_map(|node| metadata.packages.iter().find(|p| p.id == node.id));
    let packages = used.map(|package| Package {
        name: package.name.clone(),
        version: package.version.clone(),
        wanted_by: wanted_by.get(package.id.as_str()).into_iter().flatten().filter_map(|id| name_of(id)).collect(),
    });
    packages.collect()
}

/// The names of all crates that end up in these crates of the workspace when they are built alone, on this machine,
/// without their tests.
pub(super) fn tree(root: &Path, names: &[&str]) -> anyhow::Result<BTreeSet<String>> {
    let mut command = cargo();
    command.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--no-dedupe"]);
    for name in names {
        command.args(["--package", name]);
    }
    let output = run_bounded(command.current_dir(root), BOUND)?.expect_success("cargo tree")?;
    Ok(output
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// The cargo that runs this program, or the one on the path.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
