//! For tests: a folder that apt takes for a host, and the same folder read by [`Inspection`].

use crate::{Compression, Configuration, Inspection};
use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A host of amd64 with i386 beside it.
pub(crate) struct TestHost {
    root: PathBuf,
    /// `None` for this machine itself.
    folder: Option<TempDir>,
}

/// What `apt-cache policy` says of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Told {
    pub(crate) candidate: String,
    /// Version, priority, whether it is installed, and its lists as `suite/component architecture`, sorted.
    pub(crate) versions: Vec<(String, i32, bool, Vec<String>)>,
}

/// Whether the real apt is here to compare with; says so where it is not.
pub(crate) fn apt_is_here() -> bool {
    let here = Path::new("/usr/bin/apt-cache").exists() && Path::new("/usr/bin/apt-get").exists();
    if !here {
        println!("apt is not here: nothing was compared with it");
    }
    here
}

impl TestHost {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Self { root: folder.path().to_owned(), folder: Some(folder) };
        for folder in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg",
            "var/cache/apt/archives/partial",
            "var/log/apt",
        ] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        let root = host.root.display();
        host.write(
            "apt.conf",
            format!(
                "Dir \"{root}/\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\nDir::Bin::ischroot \"/bin/false\";\n\
                 APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; \"i386\"; }};\nDebug::NoLocking \"1\";\n"
            )
            .as_bytes(),
        );
        host
    }

    /// The machine that the tests run on. Nothing is written there.
    pub(crate) fn this_machine() -> Self {
        Self { root: PathBuf::from("/"), folder: None }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &[u8]) {
        assert!(self.folder.is_some(), "this machine is not ours to change");
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs a program of apt on the host.
    pub(crate) fn apt(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").env_remove("SOURCE_DATE_EPOCH");
        if self.folder.is_some() {
            command.env("APT_CONFIG", self.path("apt.conf"));
        }
        command.output().unwrap()
    }

    /// What apt says of packages, by `name:architecture`.
    pub(crate) fn apt_policy(&self, packages: &[String]) -> BTreeMap<String, Told> {
        let mut arguments = vec!["policy"];
        arguments.extend(packages.iter().map(String::as_str));
        let output = self.apt("apt-cache", &arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!errors.lines().any(|line| line.starts_with("E:")), "apt refuses: {errors}");
        parse_policy(&String::from_utf8(output.stdout).unwrap())
    }

    /// What `apt-get dist-upgrade` would install: `name:architecture` and version.
    pub(crate) fn apt_upgrades(&self) -> BTreeMap<String, String> {
        let output = self.apt("apt-get", &["-s", "--allow-downgrades", "dist-upgrade"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let mut upgrades = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("Inst ")) {
            // Inst name [old] (new archives [architecture])
            let name = line.split(' ').next().unwrap();
            let (_, new) = line.split_once('(').unwrap();
            upgrades.insert(qualified(name), new.split(' ').next().unwrap().to_owned());
        }
        upgrades
    }

    /// Reads the host's files as an adapter would.
    pub(crate) fn inspect(&self) -> Inspection {
        let mut configuration = Configuration::default();
        for (name, file) in self.file("apt.conf").into_iter().chain(self.files("etc/apt/apt.conf.d")) {
            let warnings = configuration.read_apt_conf(&name, &file);
            assert!(self.folder.is_none() || warnings.is_empty(), "{warnings:?}");
        }
        let mut inspection = Inspection::new(configuration);
        inspection.dpkg_status(&fs::read(self.path("var/lib/dpkg/status")).unwrap());
        for (name, file) in self.file("etc/apt/sources.list").into_iter().chain(self.files("etc/apt/sources.list.d")) {
            inspection.sources(&name, &file);
        }
        for (name, file) in self.file("etc/apt/preferences").into_iter().chain(self.files("etc/apt/preferences.d")) {
            inspection.preferences(&name, &file);
        }
        let lists = self.path("var/lib/apt/lists");
        for (position, repository) in inspection.repositories().to_vec().iter().enumerate() {
            let file = repository.release_file_names.iter().find_map(|name| fs::read(lists.join(name)).ok());
            inspection.release(position, file.as_deref());
        }
        for (position, index_file) in inspection.index_files().to_vec().iter().enumerate() {
            let mut names = Compression::file_names(&index_file.file_name_stem);
            let found = names.find_map(|name| Some((fs::File::open(lists.join(&name)).ok()?, name)));
            match found {
                Some((file, name)) => inspection.index(position, Some((&name, &mut BufReader::new(file)))),
                None => inspection.index(position, None),
            }
        }
        inspection
    }

    fn file(&self, name: &str) -> Option<(String, Vec<u8>)> {
        Some((name.to_owned(), fs::read(self.path(name)).ok()?))
    }

    fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| format!("{folder}/{}", name.to_string_lossy())).collect();
        names.sort();
        names.iter().filter_map(|name| self.file(name)).collect()
    }
}

/// apt leaves out the native architecture.
fn qualified(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{name}:amd64") }
}

fn parse_policy(text: &str) -> BTreeMap<String, Told> {
    let mut packages = BTreeMap::new();
    let (mut name, mut told) = (String::new(), Told::default());
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<_> = line.trim_start_matches([' ', '*']).split(' ').collect();
        match (indent, words[..].first().copied()) {
            (0, _) => {
                let finished = std::mem::take(&mut told);
                packages.insert(std::mem::replace(&mut name, qualified(line.trim_end_matches(':'))), finished);
            }
            (2, Some("Candidate:")) => told.candidate = words[1].to_owned(),
            (2, _) => {}
            // A list or the database, below its version.
            (7.., _) => {
                if let [_, _, place, architecture, "Packages"] = words[..] {
                    told.versions.last_mut().unwrap().3.push(format!("{place} {architecture}"));
                } else if let [_, _, place, "Packages"] = words[..] {
                    told.versions.last_mut().unwrap().3.push(place.to_owned());
                }
            }
            _ => {
                let installed = line.starts_with(" ***");
                told.versions.push((words[0].to_owned(), words[1].parse().unwrap(), installed, Vec::new()));
            }
        }
    }
    packages.insert(name, told);
    packages.remove("");
    for told in packages.values_mut() {
        for version in &mut told.versions {
            version.3.sort();
            // A list may have a version twice.
            version.3.dedup();
        }
    }
    packages
}
