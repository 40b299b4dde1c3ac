use std::path::{Path, PathBuf};

/// Which host: its root folder, and where we keep what is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoot {
    /// `/` for the live host. Another folder is read and patched as a host of its own (`dpkg --root`).
    pub root: PathBuf,
    /// Our own state: stamps, locks, what waits for a reboot, and own lists where there is no privilege. Absolute.
    pub state_dir: PathBuf,
    /// Whether we may change packages and apt's own lists. Without it, lists are kept below `state_dir`.
    pub privileged: bool,
}

impl HostRoot {
    /// The host that we run on. Privileged if we are root.
    #[must_use]
    pub fn live(state_dir: impl Into<PathBuf>) -> Self {
        Self::under("/", state_dir)
    }

    /// The host whose files lie below `root`. Privileged if we are root. Relative paths are made absolute.
    #[must_use]
    pub fn under(root: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        // Only an empty path, or no current folder, keeps a path as it is.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let privileged = rustix::process::geteuid().is_root();
        Self { root: absolute(root.into()), state_dir: absolute(state_dir.into()), privileged }
    }

    /// Whether this is the host that we run on.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// An absolute path of the host, below its root.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }
}
