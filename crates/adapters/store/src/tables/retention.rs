//! What is past its time, and how it is removed: a few rows at once, so that nobody waits for long.
//!
//! What is current is never past its time: a node's patch states, its summary, the packages that are present, the inventory.

use crate::apply::Failure;
use crate::connection::Connection;
use crate::value::{Value, values};
use crate::{ReadError, Store};
use identifiers::{Scope, Timestamp};

/// A kind of record that is kept for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Ended commands with their invocations and outputs, from their end on.
    Commands,
    /// Patch reports and changes of patch states. The current view stays.
    PatchHistory,
    /// Package changes, and presences that have ended. What is present stays.
    PackageHistory,
    /// Events.
    Events,
    /// Deregistered nodes with all that is known of them, from their deregistration on.
    DeregisteredNodes,
}

/// How a kind is found and removed. In every statement `$1` and `$2` are the scope, `$3` the instant before which it is past
/// its time, `$4` how many.
struct Statements {
    /// Keys of rows that are past their time, one row each.
    due: &'static [&'static str],
    /// In this order, in one transaction. What depends on a row is removed before it, or with it.
    delete: &'static [&'static str],
}

macro_rules! due_commands {
    () => {
        "SELECT c.command_id FROM command c WHERE c.account = $1 AND c.region = $2 AND c.requested_at < $3 AND c.finished_at < $3"
    };
}

macro_rules! due_invocations {
    ($columns:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM invocation i WHERE i.account = $1 AND i.region = $2 AND i.requested_at < $3 AND i.command_id IN (",
            due_commands!(),
            ") ORDER BY i.requested_at, i.command_id, i.node_id LIMIT $4"
        )
    };
}

macro_rules! due_nodes {
    () => {
        "SELECT n.node_id FROM node n WHERE n.account = $1 AND n.region = $2 AND n.state = 'Deregistered' AND n.deregistered_at < $3"
    };
}

macro_rules! of_due_nodes {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE account = $1 AND region = $2 AND node_id IN (",
            due_nodes!(),
            " ORDER BY n.node_id LIMIT $4)"
        )
    };
}

macro_rules! older {
    ($table:literal, $key:literal, $condition:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE account = $1 AND region = $2 AND (",
            $key,
            ") IN (SELECT ",
            $key,
            " FROM ",
            $table,
            " WHERE account = $1 AND region = $2 AND ",
            $condition,
            " LIMIT $4)"
        )
    };
}

const COMMANDS: Statements = Statements {
    due: &[
        due_invocations!("i.node_id"),
        concat!(due_commands!(), " ORDER BY c.requested_at, c.command_id LIMIT $4"),
    ],
    delete: &[
        concat!(
            "DELETE FROM step_output WHERE account = $1 AND region = $2 AND (command_id, node_id) IN (",
            due_invocations!("i.command_id, i.node_id"),
            ")"
        ),
        concat!(
            "DELETE FROM aggregate WHERE account = $1 AND region = $2 AND kind = 'invocation' AND id IN (",
            due_invocations!("i.command_id || '/' || i.node_id"),
            ")"
        ),
        concat!(
            "DELETE FROM invocation WHERE account = $1 AND region = $2 AND (command_id, node_id) IN (",
            due_invocations!("i.command_id, i.node_id"),
            ")"
        ),
        concat!(
            "DELETE FROM aggregate WHERE account = $1 AND region = $2 AND kind = 'command' AND id IN (",
            due_commands!(),
            " AND NOT EXISTS (SELECT 1 FROM invocation i WHERE i.account = $1 AND i.region = $2 AND i.command_id = c.command_id)
            ORDER BY c.requested_at, c.command_id LIMIT $4)"
        ),
        concat!(
            "DELETE FROM command WHERE account = $1 AND region = $2 AND command_id IN (",
            due_commands!(),
            " AND NOT EXISTS (SELECT 1 FROM invocation i WHERE i.account = $1 AND i.region = $2 AND i.command_id = c.command_id)
            ORDER BY c.requested_at, c.command_id LIMIT $4)"
        ),
    ],
};

const PATCH_HISTORY: Statements = Statements {
    due: &[
        "SELECT 1 AS one FROM patch_report WHERE account = $1 AND region = $2 AND at < $3 LIMIT $4",
        "SELECT 1 AS one FROM patch_state_change WHERE account = $1 AND region = $2 AND at < $3 LIMIT $4",
    ],
    delete: &[
        older!("patch_report", "node_id, at, command_id", "at < $3"),
        older!("patch_state_change", "node_id, at, kb_id, command_id", "at < $3"),
    ],
};

const PACKAGE_HISTORY: Statements = Statements {
    due: &[
        "SELECT 1 AS one FROM package_change WHERE account = $1 AND region = $2 AND at < $3 LIMIT $4",
        "SELECT 1 AS one FROM presence WHERE account = $1 AND region = $2 AND until_at < $3 LIMIT $4",
    ],
    delete: &[
        older!("package_change", "node_id, at, name, architecture, from_version, to_version", "at < $3"),
        older!("presence", "node_id, package_version_id, from_at", "until_at < $3"),
    ],
};

const EVENTS: Statements = Statements {
    due: &["SELECT 1 AS one FROM event WHERE account = $1 AND region = $2 AND at < $3 LIMIT $4"],
    delete: &[older!("event", "seq", "at < $3")],
};

const DEREGISTERED_NODES: Statements = Statements {
    due: &[concat!(due_nodes!(), " ORDER BY n.node_id LIMIT $4")],
    delete: &[
        of_due_nodes!("presence"),
        of_due_nodes!("node_inventory"),
        of_due_nodes!("package_change"),
        of_due_nodes!("patch_state"),
        of_due_nodes!("patch_summary"),
        of_due_nodes!("patch_report"),
        of_due_nodes!("patch_state_change"),
        of_due_nodes!("node_ping"),
        concat!(
            "DELETE FROM tag WHERE account = $1 AND region = $2 AND resource_type = 'ManagedInstance' AND resource_id IN (",
            due_nodes!(),
            " ORDER BY n.node_id LIMIT $4)"
        ),
        of_due_nodes!("node"),
    ],
};

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Commands, Self::PatchHistory, Self::PackageHistory, Self::Events, Self::DeregisteredNodes];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::PatchHistory => "patch_history",
            Self::PackageHistory => "package_history",
            Self::Events => "events",
            Self::DeregisteredNodes => "deregistered_nodes",
        }
    }

    /// How many may be removed at once. A node takes thousands of rows with it.
    #[must_use]
    pub fn batch(self) -> u32 {
        match self {
            Self::DeregisteredNodes => 5,
            _ => 500,
        }
    }

    fn statements(self) -> &'static Statements {
        match self {
            Self::Commands => &COMMANDS,
            Self::PatchHistory => &PATCH_HISTORY,
            Self::PackageHistory => &PACKAGE_HISTORY,
            Self::Events => &EVENTS,
            Self::DeregisteredNodes => &DEREGISTERED_NODES,
        }
    }
}

fn bound(scope: &Scope, before: Timestamp, limit: u32) -> Vec<Value> {
    values![&scope.account, &scope.region, before, i64::from(limit)]
}

impl Store {
    /// How many records of a kind were over before an instant, counted up to `limit` for each table.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn past_count(
        &self,
        scope: &Scope,
        kind: RecordKind,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, ReadError> {
        let mut count = 0;
        for due in kind.statements().due {
            let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS count FROM ({due}) x"));
            let row = self.fetch_optional(sql, bound(scope, before, limit)).await?;
            count += row.map(|row| row.int("count")).transpose()?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        }
        Ok(count)
    }

    /// Every scope that anything was ever recorded in.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recorded_scope_list(&self) -> Result<Vec<Scope>, ReadError> {
        let sql =
            "SELECT account, region FROM scope_sequence UNION SELECT account, region FROM aggregate ORDER BY 1, 2";
        self.fetch_all(sql, vec![]).await?.iter().map(super::nodes::scope_of).collect()
    }
}

/// Removes a batch of what was over before an instant.
pub(crate) async fn remove_past(
    connection: &mut Connection<'_>,
    scope: &Scope,
    kind: RecordKind,
    before: Timestamp,
) -> Result<(), Failure> {
    for sql in kind.statements().delete {
        connection.execute(*sql, bound(scope, before, kind.batch())).await?;
    }
    Ok(())
}
