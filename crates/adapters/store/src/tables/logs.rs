use crate::connection::Row;
use crate::statement::Select;
use crate::value::values;
use crate::{ReadError, Store};
use changes::Event;
use identifiers::Scope;

/// In which order a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Backwards in time.
    NewestFirst,
    /// Forwards in time.
    OldestFirst,
}

/// An event and its place in the scope's log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEntry {
    /// Its place; without gaps, in the order of commits.
    pub seq: i64,
    /// The event.
    pub event: Event,
}

impl Store {
    /// The events after `seq` (0: from the first), in order. Whoever follows with the last `seq` seen misses none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_list(&self, scope: &Scope, after: i64, limit: u32) -> Result<Vec<EventEntry>, ReadError> {
        let mut select = Select::new("SELECT seq, at, kind, subject, body FROM event", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("seq > ?", values![after]);
        select.then("ORDER BY seq");
        select.limit(limit);
        self.select(select, event_of).await
    }
}

fn event_of(row: &Row) -> Result<EventEntry, ReadError> {
    let event =
        Event { at: row.at("at")?, kind: row.text("kind")?, subject: row.text("subject")?, body: row.json("body")? };
    Ok(EventEntry { seq: row.int("seq")?, event })
}
