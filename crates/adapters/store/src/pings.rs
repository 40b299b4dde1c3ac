//! Which connection of a node is the newest, and the pings over it: one row for each node.

use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::statement::{Select, insert_rows_returning};
use crate::value::{Value, values};
use crate::{ApplyError, ReadError, Store};
use identifiers::{CommandId, NodeId, Scope};
use nodes::{Claim, Ping};
use std::collections::{BTreeMap, BTreeSet};

/// A ping and whose it is.
pub(crate) type PingPut = (Scope, Ping);

/// A connection that begins: its first ping, and who has connected as this node of late, itself included.
#[derive(Debug, Clone)]
pub struct ConnectionClaim {
    /// Whose.
    pub scope: Scope,
    /// The ping, with an epoch one greater than that of the node's newest connection.
    pub ping: Ping,
    /// What [`nodes::remember_claim`] gave.
    pub claims: Vec<Claim>,
}

type Key<'a> = (&'a Scope, &'a str);

/// Keeps the last ping of each node, if it came over the node's newest connection; the places of those that did not.
pub(crate) async fn pings_put_in(connection: &mut Connection<'_>, pings: &[PingPut]) -> Result<Vec<NodeId>, Failure> {
    // In the order of the keys, so that two replicas lock rows in the same order.
    let mut newest: BTreeMap<Key<'_>, &Ping> = BTreeMap::new();
    for (scope, ping) in pings {
        let kept = newest.entry((scope, ping.node_id.as_str())).or_insert(ping);
        if ping.epoch >= kept.epoch {
            *kept = ping;
        }
    }
    let head = "INSERT INTO node_ping (account, region, node_id, last_ping_at, connected, epoch, replica, boot_id, last_boot_at)";
    // Not the latest instant, but what was said last: a clock that is set back would make a node look silent, or alive, until
    // the time comes again.
    let tail = "ON CONFLICT (account, region, node_id) DO UPDATE SET last_ping_at = excluded.last_ping_at,
        connected = excluded.connected, epoch = excluded.epoch, replica = excluded.replica, boot_id = excluded.boot_id,
        last_boot_at = excluded.last_boot_at
        WHERE excluded.epoch > node_ping.epoch
        OR (excluded.epoch = node_ping.epoch AND excluded.replica = node_ping.replica)
        RETURNING account, region, node_id";
    let rows = newest.iter().map(|((scope, _), ping)| ping_values(scope, ping)).collect();
    let kept = keys(insert_rows_returning(connection, head, rows, tail).await?)?;
    let is_kept = |scope: &Scope, node: &NodeId| kept.contains(&key(scope, node));
    Ok(pings.iter().filter(|(scope, ping)| !is_kept(scope, &ping.node_id)).map(|(_, p)| p.node_id.clone()).collect())
}

/// Makes each connection its node's newest, unless another was quicker; whether it did, in the order of `claims`.
pub(crate) async fn claims_put_in(
    connection: &mut Connection<'_>,
    claims: &[&ConnectionClaim],
) -> Result<Vec<bool>, Failure> {
    // Of two at once that want to be the same connection, one is.
    let mut first: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    for (index, claim) in claims.iter().enumerate() {
        first.entry((&claim.scope, claim.ping.node_id.as_str())).or_insert(index);
    }
    let head = "INSERT INTO node_ping (account, region, node_id, last_ping_at, connected, epoch, replica, boot_id, last_boot_at, claims)";
    let tail = "ON CONFLICT (account, region, node_id) DO UPDATE SET last_ping_at = excluded.last_ping_at,
        connected = excluded.connected, epoch = excluded.epoch, replica = excluded.replica, boot_id = excluded.boot_id,
        last_boot_at = excluded.last_boot_at, claims = excluded.claims
        WHERE excluded.epoch = node_ping.epoch + 1
        RETURNING account, region, node_id";
    let mut rows = Vec::with_capacity(first.len());
    for claim in first.values().filter_map(|index| claims.get(*index)) {
        let mut row = ping_values(&claim.scope, &claim.ping);
        row.push(Value::from(to_json(&claim.claims)?));
        rows.push(row);
    }
    let kept = keys(insert_rows_returning(connection, head, rows, tail).await?)?;
    let is_first =
        |index: usize, claim: &ConnectionClaim| first.get(&(&claim.scope, claim.ping.node_id.as_str())) == Some(&index);
    let won = |(index, claim): (usize, &&ConnectionClaim)| {
        is_first(index, claim) && kept.contains(&key(&claim.scope, &claim.ping.node_id))
    };
    Ok(claims.iter().enumerate().map(won).collect())
}

fn ping_values(scope: &Scope, ping: &Ping) -> Vec<Value> {
    values![
        &scope.account,
        &scope.region,
        &ping.node_id,
        ping.last_ping_at,
        ping.connected,
        ping.epoch,
        &ping.replica,
        &ping.boot_id,
        ping.last_boot_at,
    ]
}

type OwnedKey = (String, String, String);

fn key(scope: &Scope, node: &NodeId) -> OwnedKey {
    (scope.account.to_string(), scope.region.to_string(), node.to_string())
}

fn keys(rows: Vec<Row>) -> Result<BTreeSet<OwnedKey>, Failure> {
    let key = |row: Row| Ok((row.text("account")?, row.text("region")?, row.text("node_id")?));
    rows.into_iter().map(key).collect()
}

/// Ends whatever connection the node has, by taking the next epoch for nobody.
pub(crate) async fn connection_end(
    connection: &mut Connection<'_>,
    scope: &Scope,
    node: &NodeId,
) -> Result<(), Failure> {
    let sql = "INSERT INTO node_ping (account, region, node_id, last_ping_at, connected, epoch, replica, boot_id)
        VALUES ($1, $2, $3, 0, 0, 1, '', '')
        ON CONFLICT (account, region, node_id) DO UPDATE SET connected = 0, epoch = node_ping.epoch + 1, replica = '',
        claims = NULL";
    connection.execute(sql, values![&scope.account, &scope.region, node]).await?;
    Ok(())
}

/// Refuses unless this is the node's newest connection, and keeps it so until the transaction ends.
pub(crate) async fn connection_hold(
    connection: &mut Connection<'_>,
    scope: &Scope,
    node: &NodeId,
    epoch: i64,
    replica: &str,
) -> Result<(), Failure> {
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT 1 AS one FROM node_ping WHERE account = $1 AND region = $2 AND node_id = $3 AND epoch = $4 AND replica = $5"
        }
        Connection::Postgres(_) => {
            "SELECT 1 AS one FROM node_ping WHERE account = $1 AND region = $2 AND node_id = $3 AND epoch = $4 AND replica = $5
            FOR SHARE"
        }
    };
    match connection.fetch_optional(sql, values![&scope.account, &scope.region, node, epoch, replica]).await? {
        Some(_) => Ok(()),
        None => Err(superseded(node)),
    }
}

pub(crate) fn superseded(node: &NodeId) -> Failure {
    ApplyError::Superseded { node: node.clone() }.into()
}

/// The columns of a ping, named for [`ping_of`].
macro_rules! ping_columns {
    () => {
        "p.last_ping_at AS ping_last_ping_at, p.connected AS ping_connected, p.epoch AS ping_epoch,
        p.replica AS ping_replica, p.boot_id AS ping_boot_id, p.last_boot_at AS ping_last_boot_at"
    };
}
pub(crate) use ping_columns;

/// The ping in the columns `ping_*`, if there is one.
pub(crate) fn ping_of(row: &Row) -> Result<Option<Ping>, ReadError> {
    let Some(epoch) = row.int_or_null("ping_epoch")? else { return Ok(None) };
    Ok(Some(Ping {
        node_id: row.id("node_id")?,
        last_ping_at: row.at("ping_last_ping_at")?,
        connected: row.int("ping_connected")? != 0,
        epoch,
        replica: row.text("ping_replica")?,
        boot_id: row.text("ping_boot_id")?,
        last_boot_at: row.at_or_null("ping_last_boot_at")?,
    }))
}

impl Store {
    /// A node's newest connection with its newest ping; `None` before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn ping_get(&self, scope: &Scope, node: &NodeId) -> Result<Option<Ping>, ReadError> {
        let sql = concat!(
            "SELECT p.node_id, ",
            ping_columns!(),
            " FROM node_ping p WHERE p.account = $1 AND p.region = $2 AND p.node_id = $3"
        );
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, node]).await?;
        row.map_or(Ok(None), |row| ping_of(&row))
    }

    /// The epoch of a node's newest connection, and who has connected as it of late; 0 and nobody before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn claims_get(&self, scope: &Scope, node: &NodeId) -> Result<(i64, Vec<Claim>), ReadError> {
        let sql = "SELECT epoch, claims FROM node_ping WHERE account = $1 AND region = $2 AND node_id = $3";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, node]).await?;
        let read = |row: Row| Ok((row.int("epoch")?, row.json_or_null("claims")?.unwrap_or_default()));
        row.map_or(Ok((0, Vec::new())), read)
    }

    /// The newest connections of the nodes of a command.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn connection_list(&self, scope: &Scope, command: &CommandId) -> Result<Vec<Ping>, ReadError> {
        let head = concat!(
            "SELECT p.node_id, ",
            ping_columns!(),
            " FROM invocation i JOIN node_ping p ON p.account = i.account AND p.region = i.region AND p.node_id = i.node_id"
        );
        let mut select = Select::new(head, vec![]);
        select.scope("i.account = ? AND i.region = ?", scope);
        select.filter("i.command_id = ?", values![command]);
        Ok(self.select(select, ping_of).await?.into_iter().flatten().collect())
    }

    /// The nodes whose newest connection a replica has, with its epoch: of all scopes, for the replica that compares them
    /// with those it believes to have.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn connection_list_of(&self, replica: &str) -> Result<BTreeMap<NodeId, i64>, ReadError> {
        let sql = "SELECT node_id, epoch FROM node_ping WHERE replica = $1";
        let rows = self.fetch_all(sql, values![replica]).await?;
        rows.iter().map(|row| Ok((row.id("node_id")?, row.int("epoch")?))).collect()
    }
}
