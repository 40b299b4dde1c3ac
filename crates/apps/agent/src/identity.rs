use crate::AgentError;
use crate::keys::NodeKey;
use crate::reach::Reach;
use agent_wire::{Bytes32, Trust};
use identifiers::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who this node is and whom it believes: `identity.json`, readable by its owner alone, written once registration is
/// complete, and replaced whole when keys are exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The server's address.
    pub server: String,
    /// Its other addresses, which are tried when it does not answer.
    #[serde(default)]
    pub other_servers: Vec<String>,
    /// How they are reached.
    #[serde(default)]
    pub reach: Reach,
    /// The node's id.
    pub node_id: NodeId,
    /// The region the node belongs to.
    pub region: String,
    /// The server's identity key; nobody without it is talked to.
    pub identity_key: Bytes32,
    /// The key that signs orders; nothing is run without its signature.
    pub job_key: Bytes32,
    /// The incarnation of the server's database at registration.
    pub incarnation: u64,
    /// When the node was registered.
    pub registered_at: Timestamp,
    /// The server's keys as they were announced last; absent until a server has announced any.
    #[serde(default)]
    pub(crate) trust: Option<Trust>,
    /// Which announcement the server was told to be written down: its incarnation and serial.
    #[serde(default)]
    pub(crate) trust_told: Option<(u64, u64)>,
    pub(crate) node_key: NodeKey,
    /// When the node's key was made; absent: at registration.
    #[serde(default)]
    pub(crate) node_key_at: Option<Timestamp>,
    /// The key that follows; both are kept until the server has taken it.
    #[serde(default)]
    pub(crate) next_node_key: Option<NodeKey>,
}

impl Identity {
    pub(crate) fn path(data_directory: &Path) -> PathBuf {
        data_directory.join("identity.json")
    }

    /// Reads the identity in a data folder.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn load(data_directory: &Path) -> Result<Self, AgentError> {
        let found = execution::durable::read_json(&Self::path(data_directory), 64 << 10)?;
        found.ok_or_else(|| AgentError::NotRegistered(data_directory.to_owned()))
    }

    pub(crate) fn save(&self, data_directory: &Path) -> Result<(), AgentError> {
        execution::durable::create_directory(data_directory)?;
        Ok(execution::durable::write_json(&Self::path(data_directory), self)?)
    }

    /// The folder of this node's jobs, spool and inventory. A new registration has another one, so that nothing of an
    /// old node is told to a new server, and no watermark of an old server binds a new one.
    pub(crate) fn node_directory(&self, data_directory: &Path) -> PathBuf {
        data_directory.join(self.node_id.as_str())
    }
}

/// Held while an agent runs with a data folder, or registers it.
#[derive(Debug)]
pub(crate) struct DirectoryLock(
    #[allow(dead_code, reason = "held, not read: closing the file gives the lock back")] File,
);

impl DirectoryLock {
    pub(crate) fn take(data_directory: &Path) -> Result<Self, AgentError> {
        execution::durable::create_directory(data_directory)?;
        refuse_foreign(data_directory, rustix::process::geteuid().as_raw())?;
        Self::try_take(data_directory)?.ok_or_else(|| AgentError::AlreadyRunning(data_directory.to_owned()))
    }

    /// `None` if somebody else has it.
    pub(crate) fn try_take(data_directory: &Path) -> Result<Option<Self>, AgentError> {
        let path = data_directory.join("agent.lock");
        let failed = |source| execution::ExecutionError::File { doing: "locking", path: path.clone(), source };
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(failed(e).into()),
        }
    }
}

/// Refuses a data folder that somebody else than `our_uid` could change.
fn refuse_foreign(data_directory: &Path, our_uid: u32) -> Result<(), AgentError> {
    let path = data_directory.to_owned();
    let found = std::fs::metadata(data_directory).map_err(|source| {
        let doing = "looking at";
        execution::ExecutionError::File { doing, path: path.clone(), source }
    })?;
    if found.uid() != our_uid {
        let reason = format!("it belongs to user {}, and the agent runs as user {our_uid}", found.uid());
        return Err(AgentError::ForeignFolder { path, reason });
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        let reason = format!("others than its owner may write to it (mode {mode:04o}); 'chmod go-w' ends that");
        return Err(AgentError::ForeignFolder { path, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_data_folder_that_somebody_else_could_change_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("agent");
        drop(DirectoryLock::take(&folder).unwrap());
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        for mode in [0o720, 0o702, 0o777, 0o1777] {
            std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            let error = DirectoryLock::take(&folder).unwrap_err().to_string();
            assert!(error.contains("others than its owner may write") && error.contains("agent"), "{error}");
        }
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        drop(DirectoryLock::take(&folder).unwrap());
        let uid = std::fs::metadata(&folder).unwrap().uid();
        let error = refuse_foreign(&folder, uid + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("belongs to user {uid}")), "{error}");
    }
}
