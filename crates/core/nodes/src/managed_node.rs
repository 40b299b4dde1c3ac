use crate::write::{node_aggregate, tags_aggregate};
use crate::{Refused, TagResource, Write};
use changes::{Changes, Event, Versioned};
use identifiers::{ActivationId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// `ResourceType` of every node: hosts outside EC2 are all `ManagedInstance`.
pub const RESOURCE_TYPE: &str = "ManagedInstance";

/// The kind of operating system, with the names of the SSM model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PlatformType {
    Linux,
    MacOS,
    Windows,
}

impl PlatformType {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::MacOS => "MacOS",
            Self::Windows => "Windows",
        }
    }

    /// From the name in the API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Linux, Self::MacOS, Self::Windows].into_iter().find(|platform| platform.as_str() == name)
    }
}

/// Whether the node still belongs to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeState {
    /// It may connect and be given work.
    Registered,
    /// It was sent away: it is not listed, its key is refused, and it never comes back under this id.
    Deregistered,
}

impl NodeState {
    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::Deregistered => "Deregistered",
        }
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Registered, Self::Deregistered].into_iter().find(|state| state.as_str() == name)
    }
}

/// A node's Ed25519 public key (RFC 8032): what it proves itself with when it connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodePublicKey(pub [u8; 32]);

impl std::fmt::Display for NodePublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for NodePublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodePublicKey({self})")
    }
}

impl Serialize for NodePublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a node says of itself, at registration and at every hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The kind of operating system.
    pub platform_type: PlatformType,
    /// `NAME` of os-release(5), e.g. `Debian GNU/Linux`.
    pub platform_name: String,
    /// `VERSION_ID` of os-release(5), e.g. `12`.
    pub platform_version: String,
    /// The host's name.
    pub computer_name: String,
    /// The address it reaches the server from, as it sees it.
    pub ip_address: String,
    /// The agent's version.
    pub agent_version: String,
    /// The machine's architecture as the package manager names it, e.g. `amd64`.
    pub architecture: String,
    /// `ID` of os-release(5), e.g. `debian`.
    pub distribution_id: String,
    /// `VERSION_ID` of os-release(5); empty on rolling releases.
    pub distribution_version_id: String,
    /// `VERSION_CODENAME` of os-release(5); empty where there is none.
    pub distribution_codename: String,
    /// What the node's own policy restricts, in one line; empty: nothing.
    #[serde(default)]
    pub policy: String,
}

/// That nobody may connect as a node until somebody has looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Since when.
    pub at: Timestamp,
    /// Why, and what to do, as sentences.
    pub reason: String,
}

/// A host in the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManagedNode {
    /// Its id, given at registration.
    pub node_id: NodeId,
    /// The activation it came in by.
    pub activation_id: ActivationId,
    /// The role name of the activation, or as changed by `UpdateManagedInstanceRole`.
    pub iam_role: String,
    /// The activation's `DefaultInstanceName`; empty where none was given.
    pub name: String,
    /// When it came in.
    pub registered_at: Timestamp,
    /// What it proves itself with.
    pub public_key: NodePublicKey,
    /// What it last said of itself.
    pub facts: NodeFacts,
    /// Whether it still belongs to the fleet.
    pub state: NodeState,
    /// When it was sent away.
    pub deregistered_at: Option<Timestamp>,
    /// The digest of the package inventory that the server holds; `None` before the first.
    pub inventory_digest: Option<String>,
    /// When that inventory was taken.
    pub inventory_at: Option<Timestamp>,
    /// Whether it is held.
    pub held: Option<Hold>,
}

impl NodeFacts {
    /// The same with every text cut to `FACT_CHARS_MAX` and freed of control characters: a node's word about itself is
    /// shown to people and must not carry more than a name.
    #[must_use]
    pub fn bounded(self) -> Self {
        let bounded = |text: String| text.chars().filter(|c| !c.is_control()).take(FACT_CHARS_MAX).collect();
        Self {
            platform_type: self.platform_type,
            platform_name: bounded(self.platform_name),
            platform_version: bounded(self.platform_version),
            computer_name: bounded(self.computer_name),
            ip_address: bounded(self.ip_address),
            agent_version: bounded(self.agent_version),
            architecture: bounded(self.architecture),
            distribution_id: bounded(self.distribution_id),
            distribution_version_id: bounded(self.distribution_version_id),
            distribution_codename: bounded(self.distribution_codename),
            policy: bounded(self.policy),
        }
    }
}

const FACT_CHARS_MAX: usize = 255;

/// Takes in what a node says of itself now; nothing is written when it says what is known.
#[must_use]
pub fn record_facts(node: &Versioned<ManagedNode>, facts: NodeFacts, now: Timestamp) -> Changes<Write> {
    let facts = facts.bounded();
    if facts == node.row.facts {
        return Changes::new();
    }
    put(node, ManagedNode { facts, ..node.row.clone() }, "node.facts.changed", now)
}

/// Gives the node another key: the one that it has shown to have.
#[must_use]
pub fn exchange_key(node: &Versioned<ManagedNode>, public_key: NodePublicKey, now: Timestamp) -> Changes<Write> {
    put(node, ManagedNode { public_key, ..node.row.clone() }, "node.key.changed", now)
}

/// Notes which package inventory the server now holds; nothing is written when it is the same one.
#[must_use]
pub fn record_inventory(node: &Versioned<ManagedNode>, digest: &str, now: Timestamp) -> Changes<Write> {
    if node.row.inventory_digest.as_deref() == Some(digest) {
        return Changes::new();
    }
    let after = ManagedNode { inventory_digest: Some(digest.to_owned()), inventory_at: Some(now), ..node.row.clone() };
    put(node, after, "node.inventory.changed", now)
}

/// Gives the node another role.
///
/// # Errors
/// [`Refused::Validation`] for a role that is no role name, [`Refused::InvalidInstanceId`] for a deregistered node.
pub fn update_role(node: &Versioned<ManagedNode>, iam_role: &str, now: Timestamp) -> Result<Changes<Write>, Refused> {
    crate::activation::check_role(iam_role)?;
    registered(&node.row)?;
    if node.row.iam_role == iam_role {
        return Ok(Changes::new());
    }
    Ok(put(node, ManagedNode { iam_role: iam_role.to_owned(), ..node.row.clone() }, "node.role.changed", now))
}

/// Sends a node away: its key is refused from now on and its tags are gone. Its history stays.
///
/// # Errors
/// [`Refused::InvalidInstanceId`] when that was already done.
pub fn deregister_node(node: &Versioned<ManagedNode>, now: Timestamp) -> Result<Changes<Write>, Refused> {
    registered(&node.row)?;
    let after = ManagedNode { state: NodeState::Deregistered, deregistered_at: Some(now), ..node.row.clone() };
    let mut changes = put(node, after, "node.deregistered", now);
    let tags = TagResource::node(&node.row.node_id);
    changes.touched.push(tags_aggregate(&tags));
    changes.writes.push(Write::TagsForget(tags));
    changes.writes.push(Write::ConnectionEnd(node.row.node_id.clone()));
    Ok(changes)
}

/// Removes the row of a node that was sent away.
///
/// # Errors
/// [`Refused::InvalidInstanceId`] while it is still registered.
pub fn forget_node(node: &Versioned<ManagedNode>) -> Result<Changes<Write>, Refused> {
    if node.row.state == NodeState::Registered {
        return Err(Refused::InvalidInstanceId(format!("{} is still registered.", node.row.node_id)));
    }
    let mut changes = Changes::new();
    changes.update(node_aggregate(&node.row.node_id), node.revision);
    changes.writes.push(Write::NodeForget(node.row.node_id.clone()));
    Ok(changes)
}

fn registered(node: &ManagedNode) -> Result<(), Refused> {
    match node.state {
        NodeState::Registered => Ok(()),
        NodeState::Deregistered => {
            Err(Refused::InvalidInstanceId(format!("The instance ID {} isn't registered.", node.node_id)))
        }
    }
}

fn put(before: &Versioned<ManagedNode>, after: ManagedNode, event: &str, now: Timestamp) -> Changes<Write> {
    let mut changes = Changes::new();
    changes.update(node_aggregate(&after.node_id), before.revision);
    changes.events.push(Event {
        at: now,
        kind: event.to_owned(),
        subject: after.node_id.to_string(),
        body: serde_json::Value::Null,
    });
    changes.writes.push(Write::NodePut(Box::new(after)));
    changes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use changes::Revision;

    pub(crate) fn facts() -> NodeFacts {
        NodeFacts {
            platform_type: PlatformType::Linux,
            platform_name: "Debian GNU/Linux".into(),
            platform_version: "12".into(),
            computer_name: "web-1".into(),
            ip_address: "10.0.0.7".into(),
            agent_version: "0.1.0".into(),
            architecture: "amd64".into(),
            distribution_id: "debian".into(),
            distribution_version_id: "12".into(),
            distribution_codename: "bookworm".into(),
            policy: "no scripts".into(),
        }
    }

    pub(crate) fn node() -> ManagedNode {
        ManagedNode {
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            activation_id: ActivationId::parse("6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab").unwrap(),
            iam_role: "Fleet".into(),
            name: "web".into(),
            registered_at: Timestamp::from_seconds(5),
            public_key: NodePublicKey([7; 32]),
            facts: facts(),
            state: NodeState::Registered,
            deregistered_at: None,
            inventory_digest: None,
            inventory_at: None,
            held: None,
        }
    }

    fn at_three() -> Versioned<ManagedNode> {
        Versioned::new(Revision(3), node())
    }

    fn put_of(changes: &Changes<Write>) -> ManagedNode {
        match &changes.writes[0] {
            Write::NodePut(node) => (**node).clone(),
            other => panic!("not a node: {other:?}"),
        }
    }

    #[test]
    fn facts_are_written_when_they_change_and_are_bounded() {
        let now = Timestamp::from_seconds(9);
        assert!(record_facts(&at_three(), facts(), now).is_empty());
        let long = NodeFacts { computer_name: format!("a\u{1b}[2J\n{}", "b".repeat(400)), ..facts() };
        let changes = record_facts(&at_three(), long, now);
        assert_eq!(changes.read, [(node_aggregate(&node().node_id), Revision(3))]);
        let name = put_of(&changes).facts.computer_name;
        assert_eq!((name.chars().count(), &name[..6]), (255, "a[2Jbb"));
    }

    #[test]
    fn a_deregistered_node_stays_so() {
        let now = Timestamp::from_seconds(9);
        let changes = deregister_node(&at_three(), now).unwrap();
        let gone = put_of(&changes);
        assert_eq!((gone.state, gone.deregistered_at), (NodeState::Deregistered, Some(now)));
        let tags = TagResource::node(&gone.node_id);
        assert_eq!(changes.writes[1], Write::TagsForget(tags.clone()));
        assert!(changes.touched.contains(&tags_aggregate(&tags)), "whoever adds a tag meanwhile must conflict");
        let gone = Versioned::new(Revision(4), gone);
        assert_eq!(deregister_node(&gone, now).unwrap_err().code(), "InvalidInstanceId");
        assert_eq!(update_role(&gone, "Other", now).unwrap_err().code(), "InvalidInstanceId");
        assert_eq!(forget_node(&gone).unwrap().writes, [Write::NodeForget(node().node_id)]);
        assert!(forget_node(&at_three()).is_err());
    }

    #[test]
    fn a_role_is_changed_once() {
        let now = Timestamp::from_seconds(9);
        assert_eq!(put_of(&update_role(&at_three(), "Other", now).unwrap()).iam_role, "Other");
        assert!(update_role(&at_three(), "Fleet", now).unwrap().is_empty());
        assert_eq!(update_role(&at_three(), "arn:aws:iam::1:role/x", now).unwrap_err().code(), "ValidationException");
    }

    #[test]
    fn an_inventory_is_noted_once() {
        let now = Timestamp::from_seconds(9);
        let noted = put_of(&record_inventory(&at_three(), "abc", now));
        assert_eq!((noted.inventory_digest.as_deref(), noted.inventory_at), (Some("abc"), Some(now)));
        assert!(record_inventory(&Versioned::new(Revision(4), noted), "abc", now).is_empty());
    }
}
