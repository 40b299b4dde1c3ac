//! What may not stand in a source file.

use std::fs;
use std::path::{Path, PathBuf};

use super::Breach;

/// The longest source file. Generated ones are exempt.
const LINES_MAX: usize = 800;

/// What the pure wings may not name: the outside, and clocks.
const OUTSIDE: [&str; 7] =
    ["std::fs", "std::net", "std::process", "std::thread", "SystemTime::now", "Instant::now", "Timestamp::now"];

/// The pure wings.
const PURE: [&str; 2] = ["crates/core", "crates/formats"];

/// How a generated file is known: by its folder or by this word near its top.
const GENERATED_WORD: &str = "@generated";

/// Whether a file holds tests alone, by its name: `tests.rs`, `…_tests.rs`, `test_….rs`.
fn is_test(path: &Path) -> bool {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .is_some_and(|stem| stem.ends_with("tests") || stem.starts_with("test_"))
}

/// Looks at every source file of the workspace.
pub(super) fn judge(root: &Path) -> anyhow::Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for folder in ["crates", "xtask"] {
        for path in source_files(&root.join(folder))? {
            let text = fs::read_to_string(&path)?;
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            breaches.extend(length(&shown, &text));
            let pure = PURE.iter().any(|wing| shown.starts_with(wing)) && shown.contains("/src/");
            if pure && !is_test(&path) {
                breaches.extend(outside(&shown, &text));
            }
        }
    }
    Ok(breaches)
}

fn length(shown: &str, text: &str) -> Option<Breach> {
    let lines = text.lines().count();
    let generated = shown.split('/').any(|part| part == "generated" || part == "generated.rs")
        || text.lines().take(5).any(|line| line.contains(GENERATED_WORD));
    (lines > LINES_MAX && !generated).then(|| {
        Breach::new(format!("a file of {lines} lines, more than {LINES_MAX}"), shown, "split it by what it decides")
    })
}

/// The outside named in code, its unit tests left out.
fn outside(shown: &str, text: &str) -> Vec<Breach> {
    let tests_from = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    if shown.ends_with("/tests.rs") || shown.contains("/tests/") {
        return Vec::new();
    }
    let code = text.get(..tests_from).unwrap_or(text).lines().enumerate();
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let breaches = code.flat_map(|(index, line)| {
        OUTSIDE.iter().filter(move |name| line.contains(**name)).map(move |name| {
            Breach::new(
                format!("{name} in a crate that only computes"),
                format!("{shown}:{}", index + 1),
                "pass the value or the instant in; the adapters do the asking",
            )
        })
    });
    breaches.collect()
}

/// All .rs files under a folder, however deep.
fn source_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_told_unless_generated() {
        let long = "//\n".repeat(LINES_MAX + 1);
        assert!(length("crates/a/src/b.rs", &long).is_some());
        assert!(length("crates/a/src/generated/b.rs", &long).is_none());
        assert!(length("crates/a/src/b.rs", &format!("// @generated\n{long}")).is_none());
        assert!(length("crates/a/src/b.rs", "//\n").is_none());
    }

    #[test]
    fn the_outside_is_found_in_code_but_not_in_words_and_tests() {
        let text = "//! never std::fs\nuse std::fs::File;\nlet at = Timestamp::now();\n#[cfg(test)]\nmod tests { use std::net; }\n";
        let places: Vec<String> = outside("crates/core/a/src/b.rs", text).into_iter().map(|b| b.place).collect();
        assert_eq!(places, ["crates/core/a/src/b.rs:2", "crates/core/a/src/b.rs:3"]);
    }

    #[test]
    fn the_whole_workspace_is_walked() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("crates/core/a/src/deep/b.rs", "use std::net;"), ("xtask/src/main.rs", "use std::net;")] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let breaches = judge(root.path()).unwrap();
        assert_eq!(breaches.len(), 1);
        assert_eq!(breaches[0].place, "crates/core/a/src/deep/b.rs:1");
    }
}
