use super::inventory_delta::{Identity, Present, Step, steps};
use super::named;
use crate::apply::{Failure, sequence_take};
use crate::connection::{Connection, Row, to_json};
use crate::statement::{Column, Select, columns, insert, insert_rows, put};
use crate::value::values;
use crate::write::InventoryWrite;
use crate::{ApplyError, Order, ReadError, Store};
use identifiers::{CommandId, NodeId, Scope, Timestamp};
use packages::{Distribution, InstallState, InstalledPackage, Inventory, PackageKey};
use patching::PackageChange;
use std::collections::BTreeMap;

/// How many names one IN list has at most.
const NAMES_PER_STATEMENT: usize = 500;

/// A node's new inventory, whole or as a delta.
#[derive(Debug, Clone)]
pub struct InventoryApply {
    /// The node.
    pub node_id: NodeId,
    /// When it was taken; an instant before that of the stored inventory counts as that one.
    pub at: Timestamp,
    /// The command that changed the packages, where one did.
    pub command_id: Option<CommandId>,
    /// The digest of the inventory that the delta starts from; `None`: `present` is all there is.
    pub from_digest: Option<String>,
    /// The digest of the inventory that results.
    pub to_digest: String,
    /// The node's distribution. A delta cannot change it.
    pub distribution: Distribution,
    /// Packages that are new or changed: together, what there is of their [`PackageKey`]s.
    pub present: Vec<InstalledPackage>,
    /// Packages that are gone; empty in a whole inventory.
    pub absent: Vec<PackageKey>,
}

/// What is known of a node's stored inventory without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryHead {
    /// Its digest.
    pub digest: String,
    /// When it was taken.
    pub at: Timestamp,
    /// The node's distribution then.
    pub distribution: Distribution,
}

/// A package of a node that came, went or changed its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChanged {
    /// The node.
    pub node_id: NodeId,
    /// The inventory that showed it.
    pub at: Timestamp,
    /// The command that did it, where one did.
    pub command_id: Option<CommandId>,
    /// Which package, from which version to which.
    pub change: PackageChange,
}

/// A version that an archive offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferedVersion {
    /// The binary package.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version.
    pub version: String,
}

/// When a version was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSeen {
    /// Which.
    pub version: OfferedVersion,
    /// When any node first reported it.
    pub first_seen_at: Timestamp,
}

impl Store {
    /// Digest, instant and distribution of a node's stored inventory; `None` before the first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn inventory_head_get(&self, scope: &Scope, node: &NodeId) -> Result<Option<InventoryHead>, ReadError> {
        let sql =
            "SELECT digest, at, distribution FROM node_inventory WHERE account = $1 AND region = $2 AND node_id = $3";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, node]).await?;
        row.map(|row| head_of(&row)).transpose()
    }

    /// A node's packages as last reported, by name, architecture and version; `None` before the first inventory.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn inventory_get(&self, scope: &Scope, node: &NodeId) -> Result<Option<Inventory>, ReadError> {
        let Some(head) = self.inventory_head_get(scope, node).await? else { return Ok(None) };
        let mut select = presence(scope, node);
        select.filter("p.until_at IS NULL", vec![]);
        let packages = self.select(select, |row| Ok(present_of(row)?.package())).await?;
        Ok(Some(Inventory::new(head.distribution, packages)))
    }

    /// A node's packages at an instant, by name, architecture and version; empty before the first inventory.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn package_list_at(
        &self,
        scope: &Scope,
        node: &NodeId,
        at: Timestamp,
    ) -> Result<Vec<InstalledPackage>, ReadError> {
        let mut select = presence(scope, node);
        select.filter("p.from_at <= ?", values![at]);
        select.filter("(p.until_at IS NULL OR p.until_at > ?)", values![at]);
        select.then("ORDER BY v.name, v.architecture, v.version");
        self.select(select, |row| Ok(present_of(row)?.package())).await
    }

    /// A node's changes of packages; `after`: only those beyond the last one of the page before. The first inventory is not a
    /// change.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn package_change_list(
        &self,
        scope: &Scope,
        node: &NodeId,
        order: Order,
        after: Option<&PackageChanged>,
        limit: u32,
    ) -> Result<Vec<PackageChanged>, ReadError> {
        let mut select = package_changes(scope);
        select.filter("node_id = ?", values![node]);
        if let Some(last) = after {
            let beyond = match order {
                Order::NewestFirst => "(at, name, architecture, from_version, to_version) < (?, ?, ?, ?, ?)",
                Order::OldestFirst => "(at, name, architecture, from_version, to_version) > (?, ?, ?, ?, ?)",
            };
            let change = &last.change;
            let (from, to) = (change.from.as_deref().unwrap_or(""), change.to.as_deref().unwrap_or(""));
            select.filter(beyond, values![last.at, &change.name, &change.architecture, from, to]);
        }
        select.then(match order {
            Order::NewestFirst => "ORDER BY at DESC, name DESC, architecture DESC, from_version DESC, to_version DESC",
            Order::OldestFirst => "ORDER BY at, name, architecture, from_version, to_version",
        });
        select.limit(limit);
        self.select(select, package_changed_of).await
    }

    /// What a command changed on a node, by name and architecture.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn package_change_list_by_command(
        &self,
        scope: &Scope,
        command: &CommandId,
        node: &NodeId,
    ) -> Result<Vec<PackageChanged>, ReadError> {
        let mut select = package_changes(scope);
        select.filter("command_id = ? AND node_id = ?", values![command, node]);
        select.then("ORDER BY name, architecture, at");
        self.select(select, package_changed_of).await
    }

    /// When versions of some packages were first offered to any node of a distribution.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn offered_version_list(
        &self,
        scope: &Scope,
        distribution_id: &str,
        names: &[String],
    ) -> Result<Vec<VersionSeen>, ReadError> {
        let mut found = Vec::new();
        for names in names.chunks(NAMES_PER_STATEMENT) {
            let head = "SELECT name, architecture, version, first_seen_at FROM offered_version";
            let mut select = Select::new(head, vec![]);
            select.scope("account = ? AND region = ?", scope);
            select.filter("distribution_id = ?", values![distribution_id]);
            select.filter_in("name", names.iter().map(Into::into).collect());
            select.then("ORDER BY name, architecture, version");
            found.extend(self.select(select, seen_of).await?);
        }
        Ok(found)
    }

    /// When versions of some packages were first present on any node of a distribution.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn package_version_list(
        &self,
        scope: &Scope,
        distribution_id: &str,
        names: &[String],
    ) -> Result<Vec<VersionSeen>, ReadError> {
        let mut found = Vec::new();
        for names in names.chunks(NAMES_PER_STATEMENT) {
            let head = "SELECT name, architecture, version, MIN(first_seen_at) AS first_seen_at FROM package_version";
            let mut select = Select::new(head, vec![]);
            select.scope("account = ? AND region = ?", scope);
            select.filter("distribution_id = ?", values![distribution_id]);
            select.filter_in("name", names.iter().map(Into::into).collect());
            select.then("GROUP BY name, architecture, version ORDER BY name, architecture, version");
            found.extend(self.select(select, seen_of).await?);
        }
        Ok(found)
    }
}

fn head_of(row: &Row) -> Result<InventoryHead, ReadError> {
    Ok(InventoryHead { digest: row.text("digest")?, at: row.at("at")?, distribution: row.json("distribution")? })
}

fn seen_of(row: &Row) -> Result<VersionSeen, ReadError> {
    let version = OfferedVersion {
        name: row.text("name")?,
        architecture: row.text("architecture")?,
        version: row.text("version")?,
    };
    Ok(VersionSeen { version, first_seen_at: row.at("first_seen_at")? })
}

fn package_changes(scope: &Scope) -> Select {
    let head = "SELECT node_id, at, name, architecture, from_version, to_version, command_id FROM package_change";
    let mut select = Select::new(head, vec![]);
    select.scope("account = ? AND region = ?", scope);
    select
}

fn package_changed_of(row: &Row) -> Result<PackageChanged, ReadError> {
    let version =
        |column: &str| -> Result<Option<String>, ReadError> { Ok(Some(row.text(column)?).filter(|v| !v.is_empty())) };
    Ok(PackageChanged {
        node_id: row.id("node_id")?,
        at: row.at("at")?,
        command_id: if row.text("command_id")?.is_empty() { None } else { Some(row.id("command_id")?) },
        change: PackageChange {
            name: row.text("name")?,
            architecture: row.text("architecture")?,
            from: version("from_version")?,
            to: version("to_version")?,
        },
    })
}

fn presence(scope: &Scope, node: &NodeId) -> Select {
    let head =
        "SELECT p.package_version_id, p.from_at, p.state, p.held, v.distribution_id, v.distribution_version_id, v.name,
        v.architecture, v.version, v.source, v.source_version, v.section, v.priority
        FROM presence p JOIN package_version v
        ON v.account = p.account AND v.region = p.region AND v.package_version_id = p.package_version_id";
    let mut select = Select::new(head, vec![]);
    select.scope("p.account = ? AND p.region = ?", scope);
    select.filter("p.node_id = ?", values![node]);
    select
}

fn identity_of(row: &Row) -> Result<Identity, ReadError> {
    Ok(Identity {
        distribution_id: row.text("distribution_id")?,
        distribution_version_id: row.text("distribution_version_id")?,
        name: row.text("name")?,
        architecture: row.text("architecture")?,
        version: row.text("version")?,
        source: row.text("source")?,
        source_version: row.text("source_version")?,
        section: row.text("section")?,
        priority: row.text("priority")?,
    })
}

fn present_of(row: &Row) -> Result<Present, ReadError> {
    Ok(Present {
        identity: identity_of(row)?,
        state: named(row, "state", InstallState::parse)?,
        held: row.int("held")? != 0,
    })
}

pub(crate) async fn apply(
    connection: &mut Connection<'_>,
    scope: &Scope,
    write: &InventoryWrite,
) -> Result<(), Failure> {
    match write {
        InventoryWrite::Apply(write) => inventory_apply(connection, scope, write).await,
        InventoryWrite::OfferedVersionsPut { distribution_id, at, versions } => {
            let rows = versions.iter().map(|row| {
                let (name, architecture) = (&row.name, &row.architecture);
                values![&scope.account, &scope.region, distribution_id, name, architecture, &row.version, *at]
            });
            let head = "INSERT INTO offered_version (account, region, distribution_id, name, architecture, version, first_seen_at)";
            Ok(insert_rows(connection, head, rows.collect(), "ON CONFLICT DO NOTHING").await?)
        }
    }
}

async fn inventory_apply(
    connection: &mut Connection<'_>,
    scope: &Scope,
    write: &InventoryApply,
) -> Result<(), Failure> {
    let stored = start(connection, scope, write).await?;
    let at = stored.as_ref().map_or(write.at, |stored| write.at.max(stored.at));
    let open = open_presences(connection, scope, write).await?;
    let present = write.present.iter().map(|package| Present::new(&write.distribution, package));
    let steps = steps(open, present.collect(), &write.absent, write.from_digest.is_none());

    let ids = intern(connection, scope, at, &steps).await?;
    let node = &write.node_id;
    let mut opened = Vec::new();
    for step in &steps {
        match step {
            Step::Close { package_version_id, from_at } => {
                close(connection, scope, node, (*package_version_id, *from_at), at).await?;
            }
            Step::Open(present) => {
                let id = ids.get(&present.identity).copied();
                let id = id.ok_or_else(|| ApplyError::Corrupt("a package version got no id".to_owned()))?;
                let state = present.state.as_str();
                opened.push(values![&scope.account, &scope.region, node, id, at, state, present.held]);
            }
            Step::Change(_) => {}
        }
    }
    let head = "INSERT INTO presence (account, region, node_id, package_version_id, from_at, state, held)";
    insert_rows(connection, head, opened, "").await?;
    // What is there at the first look has not changed.
    if stored.is_some() {
        changes_append(connection, scope, write, at, &steps).await?;
    }
    let mut rest = inventory_row(write)?;
    rest.extend(columns!["at" => at]);
    Ok(put(connection, scope, "node_inventory", columns!["node_id" => node], rest).await?)
}

fn inventory_row(write: &InventoryApply) -> Result<Vec<Column>, Failure> {
    Ok(columns!["digest" => &write.to_digest, "distribution" => to_json(&write.distribution)?])
}

/// The stored inventory, locked; `None` where this is the first one. Refuses a delta that does not start from it.
async fn start(
    connection: &mut Connection<'_>,
    scope: &Scope,
    write: &InventoryApply,
) -> Result<Option<InventoryHead>, Failure> {
    if write.from_digest.is_none() {
        let mut row = columns!["node_id" => &write.node_id, "at" => write.at];
        row.extend(inventory_row(write)?);
        if insert(connection, scope, "node_inventory", row).await? {
            return Ok(None);
        }
    }
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT digest, at, distribution FROM node_inventory WHERE account = $1 AND region = $2 AND node_id = $3"
        }
        Connection::Postgres(_) => {
            "SELECT digest, at, distribution FROM node_inventory WHERE account = $1 AND region = $2 AND node_id = $3 FOR UPDATE"
        }
    };
    let row = connection.fetch_optional(sql, values![&scope.account, &scope.region, &write.node_id]).await?;
    let stored = row.map(|row| head_of(&row)).transpose()?;
    if let Some(from) = &write.from_digest {
        let fits = stored.as_ref().is_some_and(|stored| {
            stored.digest == *from
                && stored.distribution.id == write.distribution.id
                && stored.distribution.version_id == write.distribution.version_id
        });
        if !fits {
            return Err(ApplyError::InventoryMismatch { stored: stored.map(|stored| stored.digest) }.into());
        }
    }
    Ok(stored)
}

/// What counts as present of the packages that `write` speaks of, each with id and beginning.
async fn open_presences(
    connection: &mut Connection<'_>,
    scope: &Scope,
    write: &InventoryApply,
) -> Result<Vec<(i64, Timestamp, Present)>, Failure> {
    let mut names: Vec<&str> = write.present.iter().map(|package| package.name.as_str()).collect();
    names.extend(write.absent.iter().map(|key| key.name.as_str()));
    names.sort_unstable();
    names.dedup();
    let mut selects = Vec::new();
    if write.from_digest.is_none() {
        selects.push(presence(scope, &write.node_id));
    } else {
        for names in names.chunks(NAMES_PER_STATEMENT) {
            let mut select = presence(scope, &write.node_id);
            select.filter_in("v.name", names.iter().map(|name| (*name).into()).collect());
            selects.push(select);
        }
    }
    let mut open = Vec::new();
    for mut select in selects {
        select.filter("p.until_at IS NULL", vec![]);
        let (sql, values) = select.into_parts();
        for row in connection.fetch_all(sql, values).await? {
            open.push((row.int("package_version_id")?, row.at("from_at")?, present_of(&row)?));
        }
    }
    Ok(open)
}

/// Ends a presence. One that began at the same instant never was.
async fn close(
    connection: &mut Connection<'_>,
    scope: &Scope,
    node: &NodeId,
    (id, from_at): (i64, Timestamp),
    at: Timestamp,
) -> Result<(), Failure> {
    let key = values![&scope.account, &scope.region, node, id, from_at];
    if from_at == at {
        let sql = "DELETE FROM presence WHERE account = $1 AND region = $2 AND node_id = $3 AND package_version_id = $4 AND from_at = $5";
        connection.execute(sql, key).await?;
    } else {
        let sql = "UPDATE presence SET until_at = $6
            WHERE account = $1 AND region = $2 AND node_id = $3 AND package_version_id = $4 AND from_at = $5";
        let mut values = key;
        values.extend(values![at]);
        connection.execute(sql, values).await?;
    }
    Ok(())
}

async fn changes_append(
    connection: &mut Connection<'_>,
    scope: &Scope,
    write: &InventoryApply,
    at: Timestamp,
    steps: &[Step],
) -> Result<(), Failure> {
    let command = write.command_id.as_ref().map_or("", CommandId::as_str);
    let changes = steps.iter().filter_map(|step| if let Step::Change(change) = step { Some(change) } else { None });
    let rows = changes.map(|change| {
        values![
            &scope.account,
            &scope.region,
            &write.node_id,
            at,
            &change.name,
            &change.architecture,
            change.from.as_deref().unwrap_or(""),
            change.to.as_deref().unwrap_or(""),
            command,
        ]
    });
    let head = "INSERT INTO package_change (account, region, node_id, at, name, architecture, from_version, to_version, command_id)";
    Ok(insert_rows(connection, head, rows.collect(), "ON CONFLICT DO NOTHING").await?)
}

/// The ids of all versions that begin to be present; new ones are given.
async fn intern(
    connection: &mut Connection<'_>,
    scope: &Scope,
    at: Timestamp,
    steps: &[Step],
) -> Result<BTreeMap<Identity, i64>, Failure> {
    let wanted: Vec<&Identity> = steps
        .iter()
        .filter_map(|step| if let Step::Open(present) = step { Some(&present.identity) } else { None })
        .collect();
    let mut known = BTreeMap::new();
    known_ids(connection, scope, &wanted, &mut known).await?;
    let missing: Vec<&Identity> = wanted.into_iter().filter(|identity| !known.contains_key(*identity)).collect();
    if missing.is_empty() {
        return Ok(known);
    }
    // The sequence is the lock under which versions are added; another may have added some until we got it.
    let ids = sequence_take(connection, scope, "package_version", missing.len()).await?;
    known_ids(connection, scope, &missing, &mut known).await?;
    let mut rows = Vec::new();
    for (id, identity) in ids.zip(missing) {
        if known.contains_key(identity) {
            continue;
        }
        known.insert(identity.clone(), id);
        rows.push(values![
            &scope.account,
            &scope.region,
            id,
            &identity.distribution_id,
            &identity.distribution_version_id,
            &identity.name,
            &identity.architecture,
            &identity.version,
            &identity.source,
            &identity.source_version,
            &identity.section,
            &identity.priority,
            at,
        ]);
    }
    let head = "INSERT INTO package_version (account, region, package_version_id, distribution_id, distribution_version_id, name,
        architecture, version, source, source_version, section, priority, first_seen_at)";
    insert_rows(connection, head, rows, "").await?;
    Ok(known)
}

async fn known_ids(
    connection: &mut Connection<'_>,
    scope: &Scope,
    wanted: &[&Identity],
    known: &mut BTreeMap<Identity, i64>,
) -> Result<(), Failure> {
    let mut names: Vec<&str> = wanted.iter().map(|identity| identity.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let Some(first) = wanted.first() else { return Ok(()) };
    for names in names.chunks(NAMES_PER_STATEMENT) {
        let head =
            "SELECT package_version_id, distribution_id, distribution_version_id, name, architecture, version, source,
            source_version, section, priority FROM package_version";
        let mut select = Select::new(head, vec![]);
        select.scope("account = ? AND region = ?", scope);
        // All of one inventory are of one distribution.
        select.filter(
            "distribution_id = ? AND distribution_version_id = ?",
            values![&first.distribution_id, &first.distribution_version_id],
        );
        select.filter_in("name", names.iter().map(|name| (*name).into()).collect());
        let (sql, values) = select.into_parts();
        for row in connection.fetch_all(sql, values).await? {
            known.insert(identity_of(&row)?, row.int("package_version_id")?);
        }
    }
    Ok(())
}
