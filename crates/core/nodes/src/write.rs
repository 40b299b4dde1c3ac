use crate::{Activation, ManagedNode, TagResource};
use changes::Aggregate;
use identifiers::{ActivationId, NodeId};

/// What this domain asks the store to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Insert or replace the node.
    NodePut(Box<ManagedNode>),
    /// Remove the node's row and its ping. What it did (invocations, audit) stays.
    NodeForget(NodeId),
    /// Whoever is connected as this node is so no longer, on any replica, and who connected of late is forgotten.
    ConnectionEnd(NodeId),
    /// Refuse all of it unless this is (still) the node's newest connection: what an older one says may be overtaken.
    ConnectionHold {
        /// The node that speaks.
        node_id: NodeId,
        /// The connection's epoch.
        epoch: i64,
        /// The replica that has it.
        replica: String,
    },
    /// Insert or replace the activation.
    ActivationPut(Box<Activation>),
    /// Remove the activation. Nodes registered with it stay.
    ActivationDelete(ActivationId),
    /// Set one tag.
    TagPut {
        /// On what.
        resource: TagResource,
        /// 1 to 128 characters.
        key: String,
        /// 0 to 256 characters.
        value: String,
    },
    /// Remove one tag; nothing happens where it is not set.
    TagDelete {
        /// From what.
        resource: TagResource,
        /// The key.
        key: String,
    },
    /// Remove all tags of a resource that is gone.
    TagsForget(TagResource),
}

/// A node's aggregate: its row without ping and tags.
#[must_use]
pub fn node_aggregate(node: &NodeId) -> Aggregate {
    Aggregate::new("node", node.as_str())
}

/// An activation's aggregate; its count of registrations is guarded by it.
#[must_use]
pub fn activation_aggregate(activation: &ActivationId) -> Aggregate {
    Aggregate::new("activation", activation.as_str())
}

/// The aggregate of all tags of one resource, e.g. `ManagedInstance/mi-…`; the limit of 50 is guarded by it.
#[must_use]
pub fn tags_aggregate(resource: &TagResource) -> Aggregate {
    Aggregate::new("tags", resource.to_string())
}
