//! Who may do what: principals, actions, resources, and decisions with their reasons.
//!
//! It decides, for every request, whether it may go on: the one call is [`authorise`]. Two kinds of principal are built
//! in: the administrator, who may do everything within the account, and the node, which may act on itself alone.
//! Policies come behind the same call later. It deliberately does not know how a caller was authenticated, nor what
//! an action does.

use identifiers::{AccessKeyId, AccountId, NodeId, Scope};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The administrator, by an access key.
    Root {
        /// The account the key belongs to.
        account: AccountId,
        /// The key.
        access_key_id: AccessKeyId,
    },
    /// The administrator, signed in at the console.
    Console {
        /// The account.
        account: AccountId,
        /// The name.
        name: String,
    },
    /// A node's agent.
    Node {
        /// Where the node is registered.
        scope: Scope,
        /// Which one.
        node_id: NodeId,
    },
    /// The server itself: reconcilers, and commands given on the server's own machine.
    System,
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root { access_key_id, .. } => write!(f, "key/{access_key_id}"),
            Self::Console { name, .. } => write!(f, "console/{name}"),
            Self::Node { node_id, .. } => write!(f, "node/{node_id}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// What is asked, e.g. `ssm:SendCommand`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(String);

impl Action {
    /// Names an action: service, colon, operation.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// On what, as an ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource(String);

impl Resource {
    /// Names a resource.
    #[must_use]
    pub fn new(arn: &str) -> Self {
        Self(arn.to_owned())
    }

    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// The administrator may do everything within the account.
    Administrator,
    /// A node may report about itself.
    OwnNode,
    /// The server acts by itself.
    System,
}

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denied {
    /// The request names no resource, so nothing can be allowed on it.
    NoResource,
    /// The principal belongs to another account than the request is about.
    OtherAccount,
    /// A node asks for something that is not an agent's.
    NotForNodes,
    /// A node asks about something else than itself.
    OtherNode,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoResource => "the request names no resource",
            Self::OtherAccount => "the caller belongs to another account",
            Self::NotForNodes => "nodes may only use the agent's own actions",
            Self::OtherNode => "a node may act on itself only",
        })
    }
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may go on.
    Allow(Allowed),
    /// It may not.
    Deny(Denied),
}

/// The actions that an agent has: all that the conversation in `agent-wire` consists of.
const NODE_ACTIONS: [&str; 3] = ["careen:Connect", "careen:Report", "careen:ReceiveOrder"];

/// Whether `principal` may do `action` on every one of `resources` in `scope`. What no rule allows is denied.
#[must_use]
pub fn authorise(principal: &Principal, action: &Action, resources: &[Resource], scope: &Scope) -> Decision {
    if resources.is_empty() {
        return Decision::Deny(Denied::NoResource);
    }
    match principal {
        Principal::System => Decision::Allow(Allowed::System),
        Principal::Root { account, .. } | Principal::Console { account, .. } => match *account == scope.account {
            true => Decision::Allow(Allowed::Administrator),
            false => Decision::Deny(Denied::OtherAccount),
        },
        Principal::Node { scope: home, node_id } => {
            if !NODE_ACTIONS.contains(&action.as_str()) {
                return Decision::Deny(Denied::NotForNodes);
            }
            let own = home.ssm_arn(&format!("managed-instance/{node_id}"));
            match home == scope && resources.iter().all(|resource| resource.as_str() == own) {
                true => Decision::Allow(Allowed::OwnNode),
                false => Decision::Deny(Denied::OtherNode),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identifiers::Region;

    fn scope(account: &str) -> Scope {
        Scope { account: AccountId::parse(account).unwrap(), region: Region::parse("us-east-1").unwrap() }
    }

    fn ask(principal: &Principal, action: &str, resources: &[&str]) -> Decision {
        let resources: Vec<Resource> = resources.iter().map(|arn| Resource::new(arn)).collect();
        authorise(principal, &Action::new(action), &resources, &scope("000000000000"))
    }

    const NODE: &str = "mi-0123456789abcdef0";
    const NODE_ARN: &str = "arn:aws:ssm:us-east-1:000000000000:managed-instance/mi-0123456789abcdef0";
    const OTHER_ARN: &str = "arn:aws:ssm:us-east-1:000000000000:managed-instance/mi-0fedcba9876543210";

    #[test]
    fn the_administrator_may_do_everything_within_the_account_alone() {
        let root = |account: &str| Principal::Root {
            account: AccountId::parse(account).unwrap(),
            access_key_id: AccessKeyId::parse("AKIA0123456789ABCDEF").unwrap(),
        };
        assert_eq!(ask(&root("000000000000"), "ssm:SendCommand", &["*"]), Decision::Allow(Allowed::Administrator));
        assert_eq!(ask(&root("111111111111"), "ssm:SendCommand", &["*"]), Decision::Deny(Denied::OtherAccount));
        let console = Principal::Console { account: AccountId::parse("111111111111").unwrap(), name: "root".into() };
        assert_eq!(ask(&console, "ssm:SendCommand", &["*"]), Decision::Deny(Denied::OtherAccount));
    }

    #[test]
    fn a_node_may_act_on_itself_alone_and_only_as_an_agent() {
        let node = Principal::Node { scope: scope("000000000000"), node_id: NodeId::parse(NODE).unwrap() };
        assert_eq!(ask(&node, "careen:Report", &[NODE_ARN]), Decision::Allow(Allowed::OwnNode));
        assert_eq!(ask(&node, "careen:Report", &[OTHER_ARN]), Decision::Deny(Denied::OtherNode));
        assert_eq!(ask(&node, "careen:Report", &[NODE_ARN, OTHER_ARN]), Decision::Deny(Denied::OtherNode));
        assert_eq!(ask(&node, "ssm:SendCommand", &[NODE_ARN]), Decision::Deny(Denied::NotForNodes));
    }

    #[test]
    fn nothing_is_allowed_on_nothing() {
        assert_eq!(ask(&Principal::System, "ssm:SendCommand", &[]), Decision::Deny(Denied::NoResource));
    }
}
