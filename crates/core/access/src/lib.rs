//! Who may do what: principals, actions, resources, and decisions with their reasons.
//!
//! It decides, for every request, whether it may go on: the one call is [`authorise`]. Users have one of two roles
//! ([`Role`]): the administrator may do everything within the account, the reader may read. A node may act on itself
//! alone. Policies come behind the same call later. It also decides how much may be asked ([`Bucket`]) and how often a
//! password may be guessed ([`Failures`]), and what may be one ([`check_password`]). It deliberately does not know how a caller was authenticated, nor what an
//! action does.

mod bucket;
mod guessing;
mod password;
mod role;

pub use bucket::{Bucket, Rate};
pub use guessing::{Counted, FORGET_SECONDS, Failures};
pub use password::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, WeakPassword, check_password};
pub use role::Role;

use identifiers::{AccessKeyId, AccountId, NodeId, Scope, UserName};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A user, by an access key.
    Key {
        /// The account the key belongs to.
        account: AccountId,
        /// Whose key it is.
        user: UserName,
        /// What that user may do.
        role: Role,
        /// The key.
        access_key_id: AccessKeyId,
    },
    /// A user, signed in at the console.
    Console {
        /// The account.
        account: AccountId,
        /// Who.
        user: UserName,
        /// What that user may do.
        role: Role,
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

impl Principal {
    /// The account and name of the user that this is, by whatever way; `None` for nodes and the server itself.
    #[must_use]
    pub fn user(&self) -> Option<(&AccountId, &UserName)> {
        match self {
            Self::Key { account, user, .. } | Self::Console { account, user, .. } => Some((account, user)),
            Self::Node { .. } | Self::System => None,
        }
    }
}

impl std::fmt::Display for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key { access_key_id, .. } => write!(f, "key/{access_key_id}"),
            Self::Console { user, .. } => write!(f, "console/{user}"),
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
    /// A reader may read everything within the account.
    Reader,
    /// A user may look after the own password and sessions.
    OwnUser,
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
    /// A reader asks to change something.
    ReadOnly,
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
            Self::ReadOnly => "the caller is a reader, who changes nothing",
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

/// What every user may do about the own self: nobody needs to be an administrator to choose another password.
const OWN_ACTIONS: [&str; 4] =
    ["careen:ChangePassword", "careen:ListSessions", "careen:RevokeSession", "careen:SignOut"];

/// How the operations that change nothing are named.
const READING: [&str; 3] = ["Describe", "List", "Get"];

/// Whether `principal` may do `action` on every one of `resources` in `scope`. What no rule allows is denied.
#[must_use]
pub fn authorise(principal: &Principal, action: &Action, resources: &[Resource], scope: &Scope) -> Decision {
    if resources.is_empty() {
        return Decision::Deny(Denied::NoResource);
    }
    match principal {
        Principal::System => Decision::Allow(Allowed::System),
        Principal::Key { account, .. } | Principal::Console { account, .. } if *account != scope.account => {
            Decision::Deny(Denied::OtherAccount)
        }
        Principal::Key { account, user, role, .. } | Principal::Console { account, user, role } => match role {
            Role::Administrator => Decision::Allow(Allowed::Administrator),
            Role::Reader => reader(action, resources, &user.arn(account)),
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

/// Whether an operation of this name changes nothing, e.g. `DescribeActivations`.
#[must_use]
pub fn is_reading(operation: &str) -> bool {
    READING.iter().any(|word| operation.starts_with(word))
}

fn reader(action: &Action, resources: &[Resource], own: &str) -> Decision {
    let operation = action.as_str().split_once(':').map_or("", |(_, operation)| operation);
    if is_reading(operation) {
        return Decision::Allow(Allowed::Reader);
    }
    let about_self = resources.iter().all(|resource| resource.as_str() == own);
    match OWN_ACTIONS.contains(&action.as_str()) && about_self {
        true => Decision::Allow(Allowed::OwnUser),
        false => Decision::Deny(Denied::ReadOnly),
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
        let root = |account: &str| Principal::Key {
            account: AccountId::parse(account).unwrap(),
            user: UserName::root(),
            role: Role::Administrator,
            access_key_id: AccessKeyId::parse("AKIA0123456789ABCDEF").unwrap(),
        };
        assert_eq!(ask(&root("000000000000"), "ssm:SendCommand", &["*"]), Decision::Allow(Allowed::Administrator));
        assert_eq!(ask(&root("111111111111"), "ssm:SendCommand", &["*"]), Decision::Deny(Denied::OtherAccount));
        assert_eq!(
            ask(&person("111111111111", Role::Administrator), "ssm:SendCommand", &["*"]),
            Decision::Deny(Denied::OtherAccount)
        );
    }

    fn person(account: &str, role: Role) -> Principal {
        Principal::Console { account: AccountId::parse(account).unwrap(), user: UserName::parse("ana").unwrap(), role }
    }

    #[test]
    fn a_reader_reads_and_looks_after_the_own_self() {
        let reader = person("000000000000", Role::Reader);
        for action in [
            "ssm:DescribeInstancePatches",
            "ssm:ListCommands",
            "ssm:GetDocument",
            "careen:ListPackageChanges",
            "sts:GetCallerIdentity",
        ] {
            assert_eq!(ask(&reader, action, &["*"]), Decision::Allow(Allowed::Reader), "{action}");
        }
        for action in
            ["ssm:SendCommand", "iam:CreateAccessKey", "careen:SetPassword", "ssm:", "Get", "", "Describe:Get"]
        {
            let allowed = action == "Describe:Get";
            assert_eq!(ask(&reader, action, &["*"]) == Decision::Deny(Denied::ReadOnly), !allowed, "{action}");
        }
        let own = "arn:aws:iam::000000000000:user/ana";
        assert_eq!(ask(&reader, "careen:ChangePassword", &[own]), Decision::Allow(Allowed::OwnUser));
        assert_eq!(
            ask(&reader, "careen:ChangePassword", &["arn:aws:iam::000000000000:root"]),
            Decision::Deny(Denied::ReadOnly)
        );
        assert_eq!(ask(&reader, "careen:RevokeSession", &[own, "*"]), Decision::Deny(Denied::ReadOnly));
        let elsewhere = person("111111111111", Role::Reader);
        assert_eq!(ask(&elsewhere, "ssm:ListCommands", &["*"]), Decision::Deny(Denied::OtherAccount));
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
