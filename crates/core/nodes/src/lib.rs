//! Managed nodes, activations and tags: who may join, who is there, and how each is found.
//!
//! It decides whether an activation still admits a node, whether a silent node or server counts as lost, whether two hosts
//! share a key, what a tag may look like, which nodes a filter means, and in which order the keys that nodes believe are
//! exchanged. It deliberately does not know how a code is hashed or compared, how the ping
//! arrives, what a patch group leads to, or where any of it is kept.

mod activation;
mod connection;
mod extension_tags;
mod filters;
mod key_rotation;
mod managed_node;
mod ping;
mod refused;
mod replica;
mod tags;
mod write;

pub use activation::{
    Activation, ActivationFilter, ActivationRequest, CodeHash, create_activation, delete_activation, register_node,
};
pub use connection::{Claim, find_clone, hold_node, is_reachable, release_node, remember_claim};
pub use extension_tags::{EXTENSION_TAGS, ExtensionTag, REBOOT_POLICY, extension_value};
pub use filters::{FilterText, InstanceFilters, NodeView};
pub use key_rotation::{KeyPlaces, KeyStep, KeyStepRefused, ServerKeyKind, check_key_step};
pub use managed_node::{
    Hold, ManagedNode, NodeFacts, NodePublicKey, NodeState, PlatformType, RESOURCE_TYPE, deregister_node, exchange_key,
    forget_node, record_facts, record_inventory, update_role,
};
pub use ping::{Ping, PingStatus, ping_status};
pub use refused::Refused;
pub use replica::{REPLICA_PATIENCE_SECONDS, Replica, Replicas};
pub use tags::{ResourceType, TAGS_MAX, TagResource, Tags, add_tags, patch_group_of, read_tags, remove_tags};
pub use write::{Write, activation_aggregate, node_aggregate, tags_aggregate};
