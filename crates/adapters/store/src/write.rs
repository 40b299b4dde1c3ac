use crate::apply::Failure;
use crate::connection::Connection;
use crate::tables;
use crate::tables::access_keys::{AccessKeyRow, KeyUse};
use crate::tables::inventory::{InventoryApply, OfferedVersion};
use crate::tables::people::{FailureSubject, SessionRow, SignInLinkRow, TokenDigest, UserRow};
use crate::tables::records::{IdempotencyRow, ServerKeyRow};
use crate::tables::retention::RecordKind;
use crate::tables::trust::TrustWrite;
use access::Failures;
use identifiers::{AccessKeyId, Scope, Timestamp, UserName};
use nodes::Replica;

/// Everything that can be written: each domain's writes, and those of the server itself.
#[derive(Debug, Clone)]
pub enum Write {
    /// Nodes, activations, tags.
    Node(nodes::Write),
    /// Patch baselines, their registrations, patch reports.
    Patch(patching::Write),
    /// Commands, invocations, step outputs.
    Command(commands::Write),
    /// What is present on nodes, and what is offered to them.
    Inventory(InventoryWrite),
    /// The chain of sealed audit records.
    Audit(AuditWrite),
    /// Users, their access keys and sessions.
    People(PeopleWrite),
    /// What no domain knows.
    Record(RecordWrite),
    /// Keys.
    Trust(TrustWrite),
}

/// Writes to the chain of sealed audit records. The records themselves come with what they record.
#[derive(Debug, Clone)]
pub enum AuditWrite {
    /// Adds a seal; [`crate::ApplyError::Duplicate`] where another was given that number first.
    SealPut(Box<audit::Seal>),
    /// Removes the records of all batches up to this seal. The seals stay, so that the rest can still be verified. Whoever
    /// does this adds a record of [`audit::PRUNE_ACTION`].
    Prune {
        /// The last seal whose records are removed.
        through_seal: i64,
    },
}

/// Writes of the server itself.
#[derive(Debug, Clone)]
pub enum RecordWrite {
    /// Inserts or replaces one of the server's keys (global).
    ServerKeyPut(ServerKeyRow),
    /// Sets a fact about the database itself (global).
    MetaPut {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Ends a restore (global): another incarnation, nobody signed in, no server and no connection known, and the mark of the
    /// restore removed.
    RestoreFinish {
        /// The new incarnation.
        incarnation: u64,
    },
    /// Removes a batch of the scope's records of a kind that were over before an instant.
    PastRemove {
        /// Which kind.
        kind: RecordKind,
        /// The instant.
        before: Timestamp,
    },
    /// Inserts or renews the row of a server process (global).
    ReplicaPut(Replica),
    /// Removes the row of a server process that has stopped; its connections are over (global).
    ReplicaDelete(String),
    /// Keeps the result under a client token; [`crate::ApplyError::Duplicate`] where the token was used before.
    IdempotencyPut(IdempotencyRow),
    /// Forgets the scope's client tokens used before an instant.
    IdempotencyExpire {
        /// Which ones.
        before: Timestamp,
    },
}

/// Writes about users, their access keys and their sessions at the console, all of the scope's account.
#[derive(Debug, Clone)]
pub enum PeopleWrite {
    /// Inserts or replaces a user; when the user last signed in stays.
    UserPut(UserRow),
    /// Deletes a user.
    UserDelete(UserName),
    /// Notes that a user signed in.
    UserSignedIn {
        /// Who.
        name: UserName,
        /// The present.
        now: Timestamp,
    },
    /// Inserts or replaces an access key; its last use stays.
    AccessKeyPut(AccessKeyRow),
    /// Deletes an access key.
    AccessKeyDelete(AccessKeyId),
    /// Notes that an access key was used, unless a later use is noted already.
    AccessKeyUsed {
        /// Which.
        access_key_id: AccessKeyId,
        /// When and for what.
        used: KeyUse,
    },
    /// Inserts or replaces a console session.
    SessionPut(SessionRow),
    /// Notes that a session's holder was seen.
    SessionSeen {
        /// Which.
        token_digest: TokenDigest,
        /// The present.
        now: Timestamp,
    },
    /// Ends a console session.
    SessionDelete(TokenDigest),
    /// Ends a user's sessions and forgets their sign-in links.
    SessionsEnd {
        /// Whose.
        user: UserName,
        /// The session that goes on.
        except: Option<TokenDigest>,
    },
    /// Forgets sessions and sign-in links of all scopes that are no longer valid.
    SessionsExpire {
        /// The present.
        now: Timestamp,
        /// Sessions whose holder was not seen since are no longer valid either.
        seen_before: Timestamp,
    },
    /// Keeps a sign-in link.
    SignInLinkPut(SignInLinkRow),
    /// Uses a sign-in link up; [`crate::ApplyError::Duplicate`] where it was used, has expired or never existed.
    SignInLinkUse {
        /// Which.
        token_digest: TokenDigest,
        /// The present.
        now: Timestamp,
    },
    /// Counts a failed attempt to sign in; [`crate::ApplyError::Duplicate`] where another was counted since `before` was read.
    SignInFailed {
        /// Whose failures.
        subject: FailureSubject,
        /// As they were read.
        before: Option<Failures>,
        /// With this one.
        after: Failures,
    },
    /// Forgets the failures of a name or an address.
    SignInFailuresForget(FailureSubject),
    /// Forgets failures that nobody has added to since an instant.
    SignInFailuresExpire {
        /// Which instant.
        before: Timestamp,
    },
}

/// Writes about what is present and what is offered.
#[derive(Debug, Clone)]
pub enum InventoryWrite {
    /// Brings a node's inventory up to date and appends what changed;
    /// [`crate::ApplyError::InventoryMismatch`] where the delta starts elsewhere.
    Apply(Box<InventoryApply>),
    /// Notes versions offered by archives, where they are seen for the first time.
    OfferedVersionsPut {
        /// `ID` of os-release(5).
        distribution_id: String,
        /// The present.
        at: Timestamp,
        /// The versions.
        versions: Vec<OfferedVersion>,
    },
}

impl From<nodes::Write> for Write {
    fn from(write: nodes::Write) -> Self {
        Self::Node(write)
    }
}
impl From<patching::Write> for Write {
    fn from(write: patching::Write) -> Self {
        Self::Patch(write)
    }
}
impl From<commands::Write> for Write {
    fn from(write: commands::Write) -> Self {
        Self::Command(write)
    }
}
impl From<InventoryWrite> for Write {
    fn from(write: InventoryWrite) -> Self {
        Self::Inventory(write)
    }
}
impl From<AuditWrite> for Write {
    fn from(write: AuditWrite) -> Self {
        Self::Audit(write)
    }
}
impl From<TrustWrite> for Write {
    fn from(write: TrustWrite) -> Self {
        Self::Trust(write)
    }
}
impl From<PeopleWrite> for Write {
    fn from(write: PeopleWrite) -> Self {
        Self::People(write)
    }
}
impl From<RecordWrite> for Write {
    fn from(write: RecordWrite) -> Self {
        Self::Record(write)
    }
}

impl Write {
    /// Whether [`Write::apply`] may refuse: by a natural key that is taken, or a delta that does not fit.
    pub(crate) fn may_be_refused(&self) -> bool {
        match self {
            Self::Node(write) => matches!(write, nodes::Write::ConnectionHold { .. }),
            Self::Command(_) | Self::Trust(_) => false,
            Self::Patch(write) => matches!(write, patching::Write::ReportPut(_)),
            Self::Inventory(write) => matches!(write, InventoryWrite::Apply(_)),
            Self::Audit(write) => matches!(write, AuditWrite::SealPut(_)),
            Self::People(write) => {
                matches!(write, PeopleWrite::SignInLinkUse { .. } | PeopleWrite::SignInFailed { .. })
            }
            Self::Record(write) => {
                matches!(write, RecordWrite::IdempotencyPut(_))
            }
        }
    }

    pub(crate) async fn apply(&self, connection: &mut Connection<'_>, scope: &Scope) -> Result<(), Failure> {
        match self {
            Self::Node(write) => tables::nodes::apply(connection, scope, write).await,
            Self::Patch(write) => tables::patching::apply(connection, scope, write).await,
            Self::Command(write) => tables::commands::apply(connection, scope, write).await,
            Self::Inventory(write) => tables::inventory::apply(connection, scope, write).await,
            Self::Audit(write) => tables::audit::apply(connection, scope, write).await,
            Self::People(write) => tables::people::apply(connection, scope, write).await,
            Self::Record(write) => tables::records::apply(connection, scope, write).await,
            Self::Trust(write) => tables::trust::apply(connection, scope, write).await,
        }
    }
}
