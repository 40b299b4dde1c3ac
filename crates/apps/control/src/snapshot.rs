//! What decisions look at, loaded: thin names over the store's reads, with the errors that callers expect.

use std::collections::BTreeMap;

use changes::{Aggregate, Revision, Versioned};
use commands::Command;
use identifiers::{BaselineId, CommandId, NodeId, PatchGroupName};
use nodes::{ManagedNode, NodeState, Ping, ResourceType, TagResource, Tags};
use packages::OperatingSystem;
use patching::{
    BaselineOwner, BaselineReference, DefaultBaseline, EffectiveBaseline, PatchBaseline, PatchGroupRegistration,
    PatchSummary,
};
use store::{NodeQuery, PatchGroupQuery};

use crate::{Context, Error};

/// More rows than any account may have of the kinds that are loaded whole.
pub(crate) const WHOLE_MAX: u32 = 100_000;

/// Predefined baselines have revision 0: they are never written.
const NEVER_WRITTEN: Revision = Revision(0);

/// The own baseline that a caller's text can mean, or its absence.
pub(crate) async fn own_baseline(context: &Context, given: &str) -> Result<Versioned<Option<PatchBaseline>>, Error> {
    let reference = BaselineReference::parse(given, &context.scope).ok();
    match reference.as_ref().and_then(BaselineReference::own_id) {
        Some(id) => Ok(context.server.store.baseline_get(&context.scope, id).await?),
        None => Ok(Versioned { revision: NEVER_WRITTEN, row: None }),
    }
}

/// The baseline that a caller's text names.
pub(crate) async fn baseline(context: &Context, given: &str) -> Result<Versioned<PatchBaseline>, Error> {
    let own = own_baseline(context, given).await?;
    Ok(patching::named_baseline(given, &context.scope, &own)?)
}

/// All own baselines.
pub(crate) async fn own_baselines(context: &Context) -> Result<Vec<PatchBaseline>, Error> {
    let rows = context.server.store.baseline_list(&context.scope, None, None, WHOLE_MAX).await?;
    Ok(rows.into_iter().map(|versioned| versioned.row).collect())
}

/// The account's default for an operating system. `None` where there is no such baseline to ask for.
pub(crate) async fn default_of(
    context: &Context,
    operating_system: Option<OperatingSystem>,
) -> Result<Versioned<Option<DefaultBaseline>>, Error> {
    match operating_system {
        Some(os) => Ok(context.server.store.default_baseline_get(&context.scope, os).await?),
        None => Ok(Versioned { revision: NEVER_WRITTEN, row: None }),
    }
}

/// The account's defaults.
pub(crate) async fn defaults(context: &Context) -> Result<Vec<DefaultBaseline>, Error> {
    let rows = context.server.store.default_baseline_list(&context.scope).await?;
    Ok(rows.into_iter().map(|versioned| versioned.row).collect())
}

/// Whether a baseline is what its operating system gets where nothing else is said.
pub(crate) fn is_default(baseline: &PatchBaseline, defaults: &[DefaultBaseline]) -> bool {
    match defaults.iter().find(|row| row.operating_system == baseline.operating_system) {
        Some(default) => default.baseline == baseline.id,
        None => {
            baseline.owner == BaselineOwner::Predefined
                && patching::predefined_default(baseline.operating_system).is_some_and(|row| row.id == baseline.id)
        }
    }
}

/// All registrations of patch groups.
pub(crate) async fn registrations(context: &Context) -> Result<Vec<Versioned<PatchGroupRegistration>>, Error> {
    Ok(context.server.store.patch_group_list(&context.scope, &PatchGroupQuery::default(), WHOLE_MAX).await?)
}

/// The registration of one patch group for an operating system.
pub(crate) async fn registration(
    context: &Context,
    group: &PatchGroupName,
    operating_system: OperatingSystem,
) -> Result<Versioned<Option<PatchGroupRegistration>>, Error> {
    Ok(context.server.store.patch_group_get(&context.scope, group, operating_system).await?)
}

/// Reads a patch group's name.
pub(crate) fn patch_group(given: Option<&str>) -> Result<PatchGroupName, Error> {
    PatchGroupName::parse(given.unwrap_or_default()).map_err(|error| Error::validation(error.to_string()))
}

/// The baseline that governs a group's (or, without one, everybody's) nodes of an operating system, and why.
pub(crate) async fn effective_baseline(
    context: &Context,
    group: Option<&PatchGroupName>,
    operating_system: OperatingSystem,
) -> Result<EffectiveBaseline, Error> {
    let registered = match group {
        Some(group) => registration(context, group, operating_system).await?.row,
        None => None,
    };
    let default = default_of(context, Some(operating_system)).await?.row;
    let mut own = Vec::new();
    let named = registered.iter().map(|row| &row.baseline).chain(default.iter().map(|row| &row.baseline));
    for id in named.collect::<Vec<&BaselineId>>() {
        own.extend(context.server.store.baseline_get(&context.scope, id).await?.row);
    }
    let registered: Vec<_> = registered.into_iter().collect();
    let defaults: Vec<_> = default.into_iter().collect();
    patching::resolve_baseline(group, operating_system, &registered, &defaults, &own)
        .ok_or_else(|| Error::internal(format!("no baseline for {}", operating_system.as_str())))
}

/// A node that is registered.
pub(crate) async fn node(context: &Context, given: &str) -> Result<Versioned<ManagedNode>, Error> {
    let unknown = || {
        let shown: String = given.chars().take(64).collect();
        Error::new("InvalidInstanceId", format!("The instance ID {shown} isn't registered in this account and region."))
    };
    let id = NodeId::parse(given).map_err(|_| unknown())?;
    let found = context.server.store.node_get(&context.scope, &id).await?;
    match found.row {
        Some(row) if row.state == NodeState::Registered => Ok(Versioned { revision: found.revision, row }),
        _ => Err(unknown()),
    }
}

/// The ARN of a node as a caller names it.
pub(crate) fn node_arn(context: &Context, given: Option<&str>) -> String {
    context.scope.ssm_arn(&format!("managed-instance/{}", given.unwrap_or_default()))
}

/// A node with what belongs to it.
pub struct Member {
    /// The node.
    pub node: ManagedNode,
    /// Its last ping.
    pub ping: Option<Ping>,
    /// Its tags.
    pub tags: Tags,
    /// The counts of its last patch report.
    pub patches: Option<PatchSummary>,
}

/// Every registered node.
pub(crate) async fn fleet(context: &Context) -> Result<Vec<Member>, Error> {
    let query = NodeQuery { deregistered: false, node_ids: None, after: None, limit: WHOLE_MAX };
    members(context, &query).await
}

/// The registered nodes that a query means.
pub(crate) async fn members(context: &Context, query: &NodeQuery) -> Result<Vec<Member>, Error> {
    let rows = context.server.store.node_list(&context.scope, query).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.node.row.node_id.to_string()).collect();
    let mut tags: BTreeMap<String, Tags> = BTreeMap::new();
    for some in ids.chunks(500) {
        tags.extend(context.server.store.tags_list(&context.scope, ResourceType::ManagedInstance, some).await?);
    }
    let member = |row: store::ListedNode| Member {
        tags: tags.remove(row.node.row.node_id.as_str()).unwrap_or_default(),
        node: row.node.row,
        ping: row.ping,
        patches: row.patch_summary,
    };
    Ok(rows.into_iter().map(member).collect())
}

/// That a resource that is to carry tags exists: its aggregate at its revision, so that it cannot vanish meanwhile.
pub(crate) async fn tagged_resource(context: &Context, resource: &TagResource) -> Result<(Aggregate, Revision), Error> {
    let missing = || Error::from(nodes::Refused::InvalidResourceId);
    let id = &resource.resource_id;
    match resource.resource_type {
        ResourceType::ManagedInstance => {
            let found = node(context, id).await.map_err(|error| match error.code {
                "InvalidInstanceId" => missing(),
                _ => error,
            })?;
            Ok((nodes::node_aggregate(&found.row.node_id), found.revision))
        }
        ResourceType::PatchBaseline => {
            let id = BaselineId::parse(id).map_err(|_| missing())?;
            let found = context.server.store.baseline_get(&context.scope, &id).await?;
            found.row.ok_or_else(missing)?;
            Ok((patching::aggregate::baseline(&id), found.revision))
        }
        // The documents that exist are built in; they cannot vanish.
        ResourceType::Document => match commands::built_in_document(id) {
            Some(_) => Ok((Aggregate::new("document", id), NEVER_WRITTEN)),
            None => Err(missing()),
        },
    }
}

/// Reads a command's id.
pub(crate) fn command_id(given: Option<&str>) -> Result<CommandId, Error> {
    CommandId::parse(given.unwrap_or_default()).map_err(|_| commands::Refused::InvalidCommandId.into())
}

/// Reads a node's id, whether or not the node is (still) registered.
pub(crate) fn any_node_id(given: &str) -> Result<NodeId, Error> {
    NodeId::parse(given).map_err(|_| {
        let shown: String = given.chars().take(64).collect();
        Error::new("InvalidInstanceId", format!("The instance ID {shown} isn't valid."))
    })
}

/// A command that exists.
pub(crate) async fn command(context: &Context, id: &CommandId) -> Result<Versioned<Command>, Error> {
    let found = context.server.store.command_get(&context.scope, id).await?;
    let row = found.row.ok_or(commands::Refused::InvalidCommandId)?;
    Ok(Versioned { revision: found.revision, row })
}

/// Filters of commands as pairs.
pub(crate) fn filter_pairs(filters: Option<Vec<aws_wire::ssm::CommandFilter>>) -> Vec<(String, String)> {
    let pair =
        |filter: aws_wire::ssm::CommandFilter| (filter.key.unwrap_or_default(), filter.value.unwrap_or_default());
    filters.unwrap_or_default().into_iter().map(pair).collect()
}
