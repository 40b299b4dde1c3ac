use super::{named, select_versioned, small, versioned};
use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::pings::{connection_end, connection_hold, ping_columns, ping_of};
use crate::statement::{Select, columns, delete, put};
use crate::value::values;
use crate::{ReadError, Store};
use changes::Versioned;
use identifiers::{ActivationId, NodeId, Scope};
use nodes::{
    Activation, CodeHash, Hold, ManagedNode, NodePublicKey, NodeState, Ping, ResourceType, TagResource, Tags, Write,
    activation_aggregate, node_aggregate, tags_aggregate,
};
use patching::PatchSummary;
use std::collections::BTreeMap;

macro_rules! node_columns {
    () => {
        "t.node_id, t.activation_id, t.iam_role, t.name, t.registered_at, t.public_key, t.facts, t.state, \
         t.deregistered_at, t.inventory_digest, t.inventory_at, t.held_at, t.held_reason"
    };
}

macro_rules! activation_columns {
    () => {
        "t.activation_id, t.code_secret_hash, t.iam_role, t.description, t.default_instance_name, t.registration_limit, \
         t.registrations_count, t.expires_at, t.created_at, t.created_by, t.tags"
    };
}

/// Which nodes.
#[derive(Debug, Clone)]
pub struct NodeQuery {
    /// Also those that were sent away.
    pub deregistered: bool,
    /// Only these; `None`: all.
    pub node_ids: Option<Vec<NodeId>>,
    /// Only after this one, in the order of ids.
    pub after: Option<NodeId>,
    /// At most so many.
    pub limit: u32,
}

/// A node as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedNode {
    /// Its row.
    pub node: Versioned<ManagedNode>,
    /// Its newest ping; `None` before the first.
    pub ping: Option<Ping>,
    /// The summary of its last patch run; `None` before the first.
    pub patch_summary: Option<PatchSummary>,
}

impl Store {
    /// A node's row. Its ping is [`Store::ping_get`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_get(&self, scope: &Scope, node: &NodeId) -> Result<Versioned<Option<ManagedNode>>, ReadError> {
        let sql = select_versioned!(node_columns!(), "node", "t.node_id = $5");
        self.get_versioned(sql, scope, &node_aggregate(node), values![node], node_of).await
    }

    /// Nodes with ping and patch summary, by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_list(&self, scope: &Scope, query: &NodeQuery) -> Result<Vec<ListedNode>, ReadError> {
        let head = concat!(
            "SELECT COALESCE(a.revision, 0) AS revision, ",
            node_columns!(),
            ", ",
            ping_columns!(),
            ", s.summary AS patch_summary FROM node t
            LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region AND a.kind = 'node' AND a.id = t.node_id
            LEFT JOIN node_ping p ON p.account = t.account AND p.region = t.region AND p.node_id = t.node_id
            LEFT JOIN patch_summary s ON s.account = t.account AND s.region = t.region AND s.node_id = t.node_id"
        );
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        if !query.deregistered {
            select.filter("t.state = ?", values![NodeState::Registered.as_str()]);
        }
        if let Some(ids) = &query.node_ids {
            select.filter_in("t.node_id", ids.iter().map(Into::into).collect());
        }
        if let Some(after) = &query.after {
            select.filter("t.node_id > ?", values![after]);
        }
        select.then("ORDER BY t.node_id");
        select.limit(query.limit);
        let decode = |row: &Row| {
            Ok(ListedNode {
                node: versioned(row, node_of)?,
                ping: ping_of(row)?,
                patch_summary: row.json_or_null("patch_summary")?,
            })
        };
        self.select(select, decode).await
    }

    /// An activation.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn activation_get(
        &self,
        scope: &Scope,
        activation: &ActivationId,
    ) -> Result<Versioned<Option<Activation>>, ReadError> {
        let sql = select_versioned!(activation_columns!(), "activation", "t.activation_id = $5");
        self.get_versioned(sql, scope, &activation_aggregate(activation), values![activation], activation_of).await
    }

    /// The scope an activation belongs to: what a node that registers brings is its id alone, so this looks in all scopes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn activation_scope_get(&self, activation: &ActivationId) -> Result<Option<Scope>, ReadError> {
        let sql = "SELECT account, region FROM activation WHERE activation_id = $1";
        let row = self.fetch_optional(sql, values![activation]).await?;
        row.map(|row| scope_of(&row)).transpose()
    }

    /// The scope a node belongs to: what a node that connects brings is its id alone, so this looks in all scopes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn node_scope_get(&self, node: &NodeId) -> Result<Option<Scope>, ReadError> {
        let sql = "SELECT account, region FROM node WHERE node_id = $1";
        let row = self.fetch_optional(sql, values![node]).await?;
        row.map(|row| scope_of(&row)).transpose()
    }

    /// Every scope in which something was ever changed, for those who work through all of them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn scope_list(&self) -> Result<Vec<Scope>, ReadError> {
        let sql = "SELECT DISTINCT account, region FROM aggregate ORDER BY account, region";
        self.fetch_all(sql, vec![]).await?.iter().map(scope_of).collect()
    }

    /// Activations by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn activation_list(
        &self,
        scope: &Scope,
        after: Option<&ActivationId>,
        limit: u32,
    ) -> Result<Vec<Versioned<Activation>>, ReadError> {
        let head = concat!(
            "SELECT COALESCE(a.revision, 0) AS revision, ",
            activation_columns!(),
            " FROM activation t LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region
            AND a.kind = 'activation' AND a.id = t.activation_id"
        );
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        if let Some(after) = after {
            select.filter("t.activation_id > ?", values![after]);
        }
        select.then("ORDER BY t.activation_id");
        select.limit(limit);
        self.select(select, |row| versioned(row, activation_of)).await
    }

    /// A resource's tags with the revision of their aggregate; empty where there are none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tags_get(&self, scope: &Scope, resource: &TagResource) -> Result<Versioned<Tags>, ReadError> {
        // One statement, so that revision and rows are of one moment.
        let sql = "SELECT COALESCE(a.revision, 0) AS revision, t.key, t.value FROM (SELECT 1 AS one) AS x
            LEFT JOIN aggregate a ON a.account = $1 AND a.region = $2 AND a.kind = $3 AND a.id = $4
            LEFT JOIN tag t ON t.account = $1 AND t.region = $2 AND t.resource_type = $5 AND t.resource_id = $6";
        let aggregate = tags_aggregate(resource);
        let values = values![
            &scope.account,
            &scope.region,
            aggregate.kind,
            &aggregate.id,
            resource.resource_type.as_str(),
            &resource.resource_id,
        ];
        let mut found = Versioned::new(changes::Revision(0), Tags::new());
        for row in self.fetch_all(sql, values).await? {
            found.revision = super::revision_of(&row)?;
            if let (Some(key), Some(value)) = (row.text_or_null("key")?, row.text_or_null("value")?) {
                found.row.insert(key, value);
            }
        }
        Ok(found)
    }

    /// The tags of many resources of one kind, by resource id; those without tags are not in it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tags_list(
        &self,
        scope: &Scope,
        kind: ResourceType,
        resource_ids: &[String],
    ) -> Result<BTreeMap<String, Tags>, ReadError> {
        let mut select = Select::new("SELECT resource_id, key, value FROM tag", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("resource_type = ?", values![kind.as_str()]);
        select.filter_in("resource_id", resource_ids.iter().map(Into::into).collect());
        let rows =
            self.select(select, |row| Ok((row.text("resource_id")?, row.text("key")?, row.text("value")?))).await?;
        let mut found: BTreeMap<String, Tags> = BTreeMap::new();
        for (resource_id, key, value) in rows {
            found.entry(resource_id).or_default().insert(key, value);
        }
        Ok(found)
    }

    /// The ids of the resources of one kind that carry `key` with one of `values` (`None`: with any value), in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tagged_resource_list(
        &self,
        scope: &Scope,
        kind: ResourceType,
        key: &str,
        tag_values: Option<&[String]>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ReadError> {
        let mut select = Select::new("SELECT resource_id FROM tag", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("resource_type = ? AND key = ?", values![kind.as_str(), key]);
        if let Some(wanted) = tag_values {
            select.filter_in("value", wanted.iter().map(Into::into).collect());
        }
        if let Some(after) = after {
            select.filter("resource_id > ?", values![after]);
        }
        select.then("ORDER BY resource_id");
        select.limit(limit);
        self.select(select, |row| Ok(row.text("resource_id")?)).await
    }
}

pub(crate) fn scope_of(row: &Row) -> Result<Scope, ReadError> {
    Ok(Scope { account: row.id("account")?, region: row.id("region")? })
}

fn node_of(row: &Row) -> Result<ManagedNode, ReadError> {
    let key = row.blob("public_key")?;
    let key = key.try_into().map_err(|_| ReadError::Corrupt("a node's public key has not 32 bytes".to_owned()))?;
    Ok(ManagedNode {
        node_id: row.id("node_id")?,
        activation_id: row.id("activation_id")?,
        iam_role: row.text("iam_role")?,
        name: row.text("name")?,
        registered_at: row.at("registered_at")?,
        public_key: NodePublicKey(key),
        facts: row.json("facts")?,
        state: named(row, "state", NodeState::parse)?,
        deregistered_at: row.at_or_null("deregistered_at")?,
        inventory_digest: row.text_or_null("inventory_digest")?,
        inventory_at: row.at_or_null("inventory_at")?,
        held: match row.at_or_null("held_at")? {
            Some(at) => Some(Hold { at, reason: row.text_or_null("held_reason")?.unwrap_or_default() }),
            None => None,
        },
    })
}

fn activation_of(row: &Row) -> Result<Activation, ReadError> {
    Ok(Activation {
        id: row.id("activation_id")?,
        code_secret_hash: CodeHash::new(row.blob("code_secret_hash")?),
        iam_role: row.text("iam_role")?,
        description: row.text("description")?,
        default_instance_name: row.text("default_instance_name")?,
        registration_limit: small(row, "registration_limit")?,
        registrations_count: small(row, "registrations_count")?,
        expires_at: row.at("expires_at")?,
        created_at: row.at("created_at")?,
        created_by: row.text("created_by")?,
        tags: row.json("tags")?,
    })
}

fn tag_key(resource: &TagResource) -> Vec<crate::statement::Column> {
    columns!["resource_type" => resource.resource_type.as_str(), "resource_id" => &resource.resource_id]
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &Write) -> Result<(), Failure> {
    match write {
        Write::NodePut(node) => node_put(connection, scope, node).await?,
        Write::NodeForget(node) => {
            delete(connection, scope, "node", columns!["node_id" => node]).await?;
            delete(connection, scope, "node_ping", columns!["node_id" => node]).await?;
        }
        Write::ConnectionEnd(node) => connection_end(connection, scope, node).await?,
        Write::ConnectionHold { node_id, epoch, replica } => {
            connection_hold(connection, scope, node_id, *epoch, replica).await?;
        }
        Write::ActivationPut(activation) => activation_put(connection, scope, activation).await?,
        Write::ActivationDelete(activation) => {
            delete(connection, scope, "activation", columns!["activation_id" => activation]).await?;
        }
        Write::TagPut { resource, key, value } => {
            let mut row = tag_key(resource);
            row.extend(columns!["key" => key]);
            put(connection, scope, "tag", row, columns!["value" => value]).await?;
        }
        Write::TagDelete { resource, key } => {
            let mut row = tag_key(resource);
            row.extend(columns!["key" => key]);
            delete(connection, scope, "tag", row).await?;
        }
        Write::TagsForget(resource) => {
            delete(connection, scope, "tag", tag_key(resource)).await?;
        }
    }
    Ok(())
}

async fn node_put(connection: &mut Connection<'_>, scope: &Scope, node: &ManagedNode) -> Result<(), Failure> {
    let rest = columns![
        "activation_id" => &node.activation_id,
        "iam_role" => &node.iam_role,
        "name" => &node.name,
        "registered_at" => node.registered_at,
        "public_key" => node.public_key.0.as_slice(),
        "facts" => to_json(&node.facts)?,
        "state" => node.state.as_str(),
        "deregistered_at" => node.deregistered_at,
        "inventory_digest" => node.inventory_digest.as_deref(),
        "inventory_at" => node.inventory_at,
        "held_at" => node.held.as_ref().map(|held| held.at),
        "held_reason" => node.held.as_ref().map(|held| held.reason.as_str()),
    ];
    Ok(put(connection, scope, "node", columns!["node_id" => &node.node_id], rest).await?)
}

async fn activation_put(connection: &mut Connection<'_>, scope: &Scope, row: &Activation) -> Result<(), Failure> {
    let rest = columns![
        "code_secret_hash" => row.code_secret_hash.as_bytes(),
        "iam_role" => &row.iam_role,
        "description" => &row.description,
        "default_instance_name" => &row.default_instance_name,
        "registration_limit" => i64::from(row.registration_limit),
        "registrations_count" => i64::from(row.registrations_count),
        "expires_at" => row.expires_at,
        "created_at" => row.created_at,
        "created_by" => &row.created_by,
        "tags" => to_json(&row.tags)?,
    ];
    Ok(put(connection, scope, "activation", columns!["activation_id" => &row.id], rest).await?)
}
