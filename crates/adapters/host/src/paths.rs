use crate::HostRoot;
use crate::apt::Apt;
use std::path::PathBuf;

/// Where apt keeps what we read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AptPaths {
    pub(crate) lists: PathBuf,
    pub(crate) sources_list: PathBuf,
    pub(crate) sources_parts: PathBuf,
    pub(crate) preferences: PathBuf,
    pub(crate) preferences_parts: PathBuf,
    pub(crate) archives: PathBuf,
    pub(crate) extended_states: PathBuf,
}

/// The settings of apt.conf(5) behind the fields above, with the letter by which `apt-config shell` makes a path of each.
const SETTINGS: [(&str, &str); 7] = [
    ("LISTS", "Dir::State::lists/d"),
    ("SOURCES_LIST", "Dir::Etc::sourcelist/f"),
    ("SOURCES_PARTS", "Dir::Etc::sourceparts/d"),
    ("PREFERENCES", "Dir::Etc::preferences/f"),
    ("PREFERENCES_PARTS", "Dir::Etc::preferencesparts/d"),
    ("ARCHIVES", "Dir::Cache::archives/d"),
    ("EXTENDED_STATES", "Dir::State::extended_states/f"),
];

impl AptPaths {
    /// apt's own defaults.
    pub(crate) fn usual(host: &HostRoot) -> Self {
        Self {
            lists: host.path("var/lib/apt/lists"),
            sources_list: host.path("etc/apt/sources.list"),
            sources_parts: host.path("etc/apt/sources.list.d"),
            preferences: host.path("etc/apt/preferences"),
            preferences_parts: host.path("etc/apt/preferences.d"),
            archives: host.path("var/cache/apt/archives"),
            extended_states: host.path("var/lib/apt/extended_states"),
        }
    }

    /// Asks `apt-config`, which costs a process: only for hosts whose configuration moves folders.
    ///
    /// The error is a sentence for people; the caller goes on with [`Self::usual`].
    pub(crate) fn asked(host: &HostRoot) -> Result<Self, String> {
        let apt = Apt::of_host(host).map_err(|error| error.to_string())?;
        let mut command = apt.command("apt-config");
        command.arg("shell").args(SETTINGS.iter().flat_map(|(variable, setting)| [*variable, *setting]));
        let output = command.output().map_err(|error| format!("cannot run apt-config: {error}"))?;
        if !output.status.success() {
            return Err(format!("apt-config: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let mut paths = Self::usual(host);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((variable, value)) = shell_assignment(line) {
                let path = PathBuf::from(value);
                match variable {
                    "LISTS" => paths.lists = path,
                    "SOURCES_LIST" => paths.sources_list = path,
                    "SOURCES_PARTS" => paths.sources_parts = path,
                    "PREFERENCES" => paths.preferences = path,
                    "PREFERENCES_PARTS" => paths.preferences_parts = path,
                    "ARCHIVES" => paths.archives = path,
                    "EXTENDED_STATES" => paths.extended_states = path,
                    _ => {}
                }
            }
        }
        Ok(paths)
    }
}

/// `NAME='value'`, as `apt-config shell` writes it.
fn shell_assignment(line: &str) -> Option<(&str, String)> {
    let (variable, quoted) = line.split_once('=')?;
    let value = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((variable, value.replace("'\\''", "'")))
}

/// Whether a file of apt.conf(5) may move one of the folders above: it names `Dir` or `RootDir` with something of ours
/// after it. Meant to err on the side of yes.
pub(crate) fn may_move_folders(file: &[u8]) -> bool {
    let text = String::from_utf8_lossy(file).to_ascii_lowercase();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("dir") {
        let before = rest.get(..at).unwrap_or_default();
        let after = rest.get(at + 3..).unwrap_or_default();
        let starts = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'));
        let root = before.ends_with("root");
        // These move nothing that is read here, and images of containers have them.
        let harmless = ["::cache::pkgcache", "::cache::srcpkgcache", "::log", "::ignore-files-silently", "::bin"];
        let continues = after.starts_with(|c: char| c.is_whitespace() || matches!(c, ':' | '{' | '"'));
        if (starts || root) && continues && !harmless.iter().any(|harmless| after.starts_with(harmless)) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configuration_that_moves_folders_is_worth_a_process() {
        for moves in [
            "Dir::State::lists \"/elsewhere\";",
            "Dir { State { lists \"/elsewhere\"; }; };",
            "dir \"/root\";",
            "RootDir \"/root\";",
            "Dir::Cache \"/c\";",
        ] {
            assert!(may_move_folders(moves.as_bytes()), "{moves}");
        }
        for stays in [
            "Dir::Cache::pkgcache \"\"; Dir::Cache::srcpkgcache \"\";",
            "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };",
            "// a directory of things\nAPT::Install-Recommends \"false\";",
        ] {
            assert!(!may_move_folders(stays.as_bytes()), "{stays}");
        }
    }

    #[test]
    fn what_apt_config_says_is_read() {
        assert_eq!(shell_assignment("LISTS='/var/lib/apt/lists/'"), Some(("LISTS", "/var/lib/apt/lists/".to_owned())));
        assert_eq!(shell_assignment("A='it'\\''s'"), Some(("A", "it's".to_owned())));
        assert_eq!(shell_assignment("nothing"), None);
    }
}
