//! The server's own keys by their places, and what each node was told of them.

use super::nodes::scope_of;
use crate::apply::Failure;
use crate::connection::Connection;
use crate::statement::{columns, delete, put, put_global};
use crate::value::values;
use crate::{ReadError, ServerKeyRow, Store};
use changes::{Aggregate, Revision, Versioned};
use identifiers::{NodeId, Scope, Timestamp};

/// Writes about keys.
#[derive(Debug, Clone)]
pub enum TrustWrite {
    /// Inserts or replaces one of the server's keys (global).
    ServerKeyPut(ServerKeyRow),
    /// Deletes one of the server's keys (global).
    ServerKeyDelete {
        /// Its name.
        name: String,
    },
    /// A node has written down an announcement of the server's keys; an older one changes nothing.
    NodeTrustPut {
        /// Which node.
        node_id: NodeId,
        /// Of which incarnation of the database.
        incarnation: i64,
        /// Which announcement.
        serial: i64,
        /// When this was heard.
        at: Timestamp,
    },
    /// A node has named the key that it will show next; it takes the place of another one.
    NodeNextKeyPut {
        /// Which node.
        node_id: NodeId,
        /// The key: Ed25519, public half.
        public_key: [u8; 32],
        /// When this was heard.
        at: Timestamp,
    },
    /// A node shows its next key, or is gone.
    NodeNextKeyDelete {
        /// Which node.
        node_id: NodeId,
    },
}

/// A query over the registered nodes that have not written down the announcement `$1`, `$2` or a later one.
macro_rules! waiting {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM node n LEFT JOIN node_trust t
                ON t.account = n.account AND t.region = n.region AND t.node_id = n.node_id
                WHERE n.state = 'Registered' AND (t.serial IS NULL OR t.incarnation < $1
                    OR (t.incarnation = $1 AND t.serial < $2)) ",
            $tail
        )
    };
}

/// Nodes that have not written down an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingNodes {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub some: Vec<(Scope, NodeId)>,
}

/// What is read together when keys are exchanged; its revision lies in the scope of the server's home.
#[must_use]
pub fn server_keys_aggregate() -> Aggregate {
    Aggregate::new("server-keys", "all")
}

impl Store {
    /// All keys of the server, by name, with the revision of their aggregate in `home`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn server_key_list(&self, home: &Scope) -> Result<Versioned<Vec<ServerKeyRow>>, ReadError> {
        // One statement, so that revision and rows are of one moment.
        let sql = "SELECT COALESCE(a.revision, 0) AS revision, t.name, t.public_key, t.secret_sealed, t.created_at
            FROM server_key t LEFT JOIN aggregate a ON a.account = $1 AND a.region = $2 AND a.kind = $3 AND a.id = $4
            ORDER BY t.name";
        let aggregate = server_keys_aggregate();
        let rows = self.fetch_all(sql, values![&home.account, &home.region, aggregate.kind, &aggregate.id]).await?;
        let revision = rows.first().map(|row| row.int("revision")).transpose()?.unwrap_or(0);
        let keys = rows.iter().map(|row| {
            Ok(ServerKeyRow {
                name: row.text("name")?,
                public_key: row.blob("public_key")?,
                secret_sealed: row.blob("secret_sealed")?,
                created_at: row.at("created_at")?,
            })
        });
        Ok(Versioned { revision: Revision(revision), row: keys.collect::<Result<_, ReadError>>()? })
    }

    /// The registered nodes that have not written down this announcement or a later one. The server's keys are of no scope,
    /// so neither is this.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_waiting_for_trust(
        &self,
        incarnation: i64,
        serial: i64,
        limit: u32,
    ) -> Result<WaitingNodes, ReadError> {
        let sql = waiting!("SELECT COUNT(*) AS waiting", "");
        let count = self.fetch_all(sql, values![incarnation, serial]).await?;
        let count = count.first().map(|row| row.int("waiting")).transpose()?.unwrap_or(0);
        let sql = waiting!("SELECT n.account, n.region, n.node_id", "ORDER BY n.account, n.region, n.node_id LIMIT $3");
        let rows = self.fetch_all(sql, values![incarnation, serial, i64::from(limit)]).await?;
        let some = rows.iter().map(|row| Ok((scope_of(row)?, row.id("node_id")?))).collect::<Result<_, ReadError>>()?;
        Ok(WaitingNodes { count: u64::try_from(count).unwrap_or(0), some })
    }

    /// The latest announcement that a node has written down: its incarnation and serial.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_trust_get(&self, scope: &Scope, node: &NodeId) -> Result<Option<(i64, i64)>, ReadError> {
        let sql = "SELECT incarnation, serial FROM node_trust WHERE account = $1 AND region = $2 AND node_id = $3";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, node]).await?;
        row.map(|row| Ok((row.int("incarnation")?, row.int("serial")?))).transpose()
    }

    /// The key that a node has named as its next one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_next_key_get(&self, scope: &Scope, node: &NodeId) -> Result<Option<[u8; 32]>, ReadError> {
        let sql = "SELECT public_key FROM node_next_key WHERE account = $1 AND region = $2 AND node_id = $3";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, node]).await?;
        let key = row.map(|row| row.blob("public_key")).transpose()?;
        Ok(key.and_then(|key| key.try_into().ok()))
    }
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &TrustWrite) -> Result<(), Failure> {
    match write {
        TrustWrite::ServerKeyPut(row) => {
            let rest = columns![
                "public_key" => row.public_key.as_slice(),
                "secret_sealed" => row.secret_sealed.as_slice(),
                "created_at" => row.created_at,
            ];
            put_global(connection, "server_key", columns!["name" => &row.name], rest).await?;
        }
        TrustWrite::ServerKeyDelete { name } => {
            connection.execute("DELETE FROM server_key WHERE name = $1", values![name]).await?;
        }
        TrustWrite::NodeTrustPut { node_id, incarnation, serial, at } => {
            let sql = "DELETE FROM node_trust WHERE account = $1 AND region = $2 AND node_id = $3
                AND (incarnation < $4 OR (incarnation = $4 AND serial < $5))";
            let key = values![&scope.account, &scope.region, node_id, *incarnation, *serial];
            connection.execute(sql, key).await?;
            let sql = "INSERT INTO node_trust (account, region, node_id, incarnation, serial, kept_at)
                VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let row = values![&scope.account, &scope.region, node_id, *incarnation, *serial, *at];
            connection.execute(sql, row).await?;
        }
        TrustWrite::NodeNextKeyPut { node_id, public_key, at } => {
            let rest = columns!["public_key" => public_key.as_slice(), "named_at" => *at];
            put(connection, scope, "node_next_key", columns!["node_id" => node_id], rest).await?;
        }
        TrustWrite::NodeNextKeyDelete { node_id } => {
            delete(connection, scope, "node_next_key", columns!["node_id" => node_id]).await?;
        }
    }
    Ok(())
}
