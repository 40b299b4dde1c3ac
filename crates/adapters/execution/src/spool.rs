use crate::{ExecutionError, durable};
use agent_wire::{ToServer, ToServerBody};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// How many ids are reserved by one durable write.
const RESERVED: u64 = 256;

/// How much the spool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolBounds {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of all messages together.
    pub bytes_max: u64,
}

impl Default for SpoolBounds {
    /// 10,000 messages, 64 MiB.
    fn default() -> Self {
        Self { messages_max: 10_000, bytes_max: 64 << 20 }
    }
}

/// What is known of a message without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    bytes: u64,
    expendable: bool,
}

/// The messages that the server has not acknowledged, each a file named by its id.
///
/// A message is there, whole, as soon as [`Spool::push`] returns, whatever ends the process or the host; ids only ever
/// rise. When the spool is full, the oldest messages whose loss does no lasting harm make room (a step's beginning,
/// facts, an inventory: all are said again); results never do: the new message is refused instead.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    bounds: SpoolBounds,
    entries: BTreeMap<u64, Entry>,
    bytes: u64,
    next_id: u64,
    reserved_until: u64,
    damaged: usize,
}

impl Spool {
    /// Opens the spool in `directory/spool`, making it if there is none.
    ///
    /// # Errors
    /// When the file system refuses or a file of the spool is damaged.
    pub fn open(directory: &Path, bounds: SpoolBounds) -> Result<Self, ExecutionError> {
        let directory = directory.join("spool");
        durable::create_directory(&directory)?;
        let reserved_until = durable::read_json(&directory.join("reserved"), 64)?.unwrap_or(1);
        let mut spool = Self {
            directory,
            bounds,
            entries: BTreeMap::new(),
            bytes: 0,
            next_id: reserved_until,
            reserved_until,
            damaged: 0,
        };
        for id in spool.ids_on_disk()? {
            let message = match spool.read(id) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(ExecutionError::Damaged { path, .. }) => {
                    // Only a failing disk does this. One lost message must not keep the agent from starting.
                    std::fs::rename(&path, path.with_extension("damaged"))
                        .map_err(ExecutionError::file("renaming", &path))?;
                    spool.damaged += 1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let bytes = agent_wire::write(&message).map_or(0, |text| text.len() as u64);
            spool.entries.insert(id, Entry { bytes, expendable: expendable(&message.body) });
            spool.bytes += bytes;
            spool.next_id = spool.next_id.max(id + 1);
        }
        Ok(spool)
    }

    /// Keeps a message until it is acknowledged; returns its id.
    ///
    /// # Errors
    /// When the spool is full of messages that matter, or the file system refuses; then the message is not kept.
    pub fn push(&mut self, body: ToServerBody) -> Result<u64, ExecutionError> {
        if self.next_id >= self.reserved_until {
            let reserved = self.next_id + RESERVED;
            durable::write_json(&self.directory.join("reserved"), &reserved)?;
            self.reserved_until = reserved;
        }
        let id = self.next_id;
        let message = ToServer { id, body };
        let path = self.path(id);
        let text = agent_wire::write(&message).map_err(|e| ExecutionError::damaged(&path, e))?;
        let entry = Entry { bytes: text.len() as u64, expendable: expendable(&message.body) };
        self.make_room(entry.bytes)?;
        durable::write(&path, text.as_bytes())?;
        self.next_id += 1;
        self.entries.insert(id, entry);
        self.bytes += entry.bytes;
        Ok(id)
    }

    /// The first message after `id` (0: the first of all).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_after(&self, id: u64) -> Result<Option<ToServer>, ExecutionError> {
        for (&next, _) in self.entries.range((Bound::Excluded(id), Bound::Unbounded)) {
            if let Some(message) = self.read(next)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// All messages, oldest first.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn messages(&self) -> Result<Vec<ToServer>, ExecutionError> {
        self.entries.keys().filter_map(|id| self.read(*id).transpose()).collect()
    }

    /// Forgets a message that the server has, or that is overtaken. An id that is not there is ignored.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&mut self, id: u64) -> Result<(), ExecutionError> {
        let Some(entry) = self.entries.remove(&id) else { return Ok(()) };
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        let path = self.path(id);
        // Not synced: a message that comes back after a loss of power is sent again, which the server bears.
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ExecutionError::file("removing", &path)(e)),
            _ => Ok(()),
        }
    }

    /// How many messages could not be read when the spool was opened; they are set aside as `*.damaged`.
    #[must_use]
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// Whether a message waits.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.entries.contains_key(&id)
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), ExecutionError> {
        while self.entries.len() >= self.bounds.messages_max || self.bytes + bytes > self.bounds.bytes_max {
            let expendable = self.entries.iter().find(|(_, entry)| entry.expendable).map(|(id, _)| *id);
            let Some(id) = expendable else {
                return Err(ExecutionError::SpoolFull { messages: self.entries.len(), bytes: self.bytes });
            };
            self.remove(id)?;
        }
        Ok(())
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id:020}.json"))
    }

    fn read(&self, id: u64) -> Result<Option<ToServer>, ExecutionError> {
        durable::read_json(&self.path(id), agent_wire::FRAME_BYTES_MAX as u64)
    }

    fn ids_on_disk(&self) -> Result<Vec<u64>, ExecutionError> {
        let read =
            || std::fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let paths = read().map_err(ExecutionError::file("reading", &self.directory))?;
        let mut ids = Vec::new();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".new") {
                // A message whose push never returned.
                std::fs::remove_file(&path).map_err(ExecutionError::file("removing", &path))?;
            } else if let Some(id) = name.strip_suffix(".json").and_then(|digits| digits.parse().ok()) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

/// Whether a message's loss does no lasting harm.
fn expendable(body: &ToServerBody) -> bool {
    match body {
        ToServerBody::Heartbeat { .. }
        | ToServerBody::Facts(_)
        | ToServerBody::StepStarted { .. }
        | ToServerBody::Inventory(_)
        | ToServerBody::OrderRefused { .. }
        | ToServerBody::Output(_)
        | ToServerBody::TrustKept { .. }
        | ToServerBody::NodeKey { .. }
        | ToServerBody::ImpostorMet { .. }
        | ToServerBody::Unknown => true,
        ToServerBody::JobAccepted { .. }
        | ToServerBody::JobRefused { .. }
        | ToServerBody::JobFinished(_)
        | ToServerBody::PatchRun(_) => false,
    }
}
