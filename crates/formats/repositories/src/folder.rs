/// Whether apt reads a file of this name in one of its `.d` folders: only letters, digits, `-`, `_`, `:` and `.` occur, the name
/// neither starts nor ends with a dot, and it has one of the extensions, or none at all where `without_extension` allows it
/// (sources.list(5), apt_preferences(5), apt.conf(5)).
pub(crate) fn is_read_by_apt(name: &str, extensions: &[&str], without_extension: bool) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') || !name.bytes().all(allowed) {
        return false;
    }
    match name.rsplit_once('.') {
        Some((_, extension)) => extensions.contains(&extension),
        None => without_extension,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_read_by_apt("/etc/apt/sources.list.d/a.list", &["list", "sources"], false));
        assert!(is_read_by_apt("debian.sources", &["list", "sources"], false));
        assert!(!is_read_by_apt("debian.sources.save", &["list", "sources"], false));
        assert!(!is_read_by_apt("a", &["list"], false));
        assert!(is_read_by_apt("a", &["pref"], true));
        assert!(!is_read_by_apt("a~", &["pref"], true));
        assert!(!is_read_by_apt(".a.pref", &["pref"], true));
        assert!(!is_read_by_apt("ä.pref", &["pref"], true));
    }
}
