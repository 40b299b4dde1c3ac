//! Terraform and its AWS provider: found if they are on the machine, never installed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::{home, program};

/// What the folder of mirrored providers is called.
const REGISTRY: &str = "registry.terraform.io";

/// How deep below each place it is looked for.
const DEPTH_MAX: usize = 4;

/// Terraform and where its providers lie (what `terraform init -plugin-dir=` wants).
pub(crate) struct Terraform {
    pub(crate) program: PathBuf,
    pub(crate) plugins: PathBuf,
}

/// Looks for both; says what is missing.
pub(crate) fn find() -> Result<Terraform, String> {
    let program = program("terraform").ok_or("no `terraform` on the path")?;
    let mut places: Vec<PathBuf> = ["/opt", "/usr/share", "/usr/local/share"].map(PathBuf::from).to_vec();
    places.extend(home().into_iter().flat_map(|home| [home.join(".terraform.d"), home.join(".local/share/terraform")]));
    let plugins = places.iter().find_map(|place| plugins_under(place, DEPTH_MAX));
    let looked = || places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
    let plugins = plugins.ok_or_else(|| format!("no folder {REGISTRY} with hashicorp/aws under {}", looked()))?;
    Ok(Terraform { program, plugins })
}

/// The folder that holds [`REGISTRY`] with the AWS provider, breadth first, links not followed.
fn plugins_under(place: &Path, depth_max: usize) -> Option<PathBuf> {
    let mut level = vec![place.to_owned()];
    for _ in 0..depth_max {
        if let Some(found) = level.iter().find(|folder| folder.join(REGISTRY).join("hashicorp/aws").is_dir()) {
            return Some(found.clone());
        }
        let below = level.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        level = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_are_found_where_they_lie_and_only_with_the_provider() {
        let root = tempfile::tempdir().unwrap();
        assert!(plugins_under(root.path(), DEPTH_MAX).is_none());
        let plugins = root.path().join("a/plugins");
        fs::create_dir_all(plugins.join(REGISTRY)).unwrap();
        assert!(plugins_under(root.path(), DEPTH_MAX).is_none());
        fs::create_dir_all(plugins.join(REGISTRY).join("hashicorp/aws")).unwrap();
        assert_eq!(plugins_under(root.path(), DEPTH_MAX), Some(plugins));
    }
}
