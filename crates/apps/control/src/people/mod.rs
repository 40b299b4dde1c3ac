//! People: users, how they come in, their sessions at the console and their access keys. Of tokens only digests are kept, of
//! passwords only sealed hashes. What may be done by whom is `access`'s to decide, and how often a password may be tried.

mod keys;
mod passwords;
mod sessions;
mod sign_in;
mod users;

use changes::Changes;
use identifiers::{AccountId, Scope, UserName};
use store::{AccessKeyRow, PeopleWrite, TokenDigest, UserRow, Write};

pub(crate) use keys::KeyUses;
pub use keys::UsableKey;
pub use passwords::Passwords;
pub(crate) use sessions::idle_since;
pub use sessions::{OpenSession, Session};
pub(crate) use sign_in::FailureRecords;
pub use sign_in::network;
pub use sign_in::{SignIn, Visit};
pub use users::UserView;

use crate::{Context, Error, Server};

fn digest(token: &str) -> TokenDigest {
    TokenDigest(identity::sha256(token.as_bytes()).to_vec())
}

fn fresh_token() -> Result<String, Error> {
    Ok(agent_wire::Bytes32(identity::random_bytes::<32>()?).to_string())
}

impl Server {
    /// Where the users of an account lie: they are the same in every region, and their revisions need one.
    pub(crate) fn people_scope(&self, account: &AccountId) -> Scope {
        Scope { account: account.clone(), region: self.settings.home.region.clone() }
    }
}

/// A decision about one user and their keys, applied as [`crate::commit::commit`] does it, where the account's users lie.
pub(crate) async fn commit_user<T>(
    context: &Context,
    user: &UserName,
    decide: impl Fn(UserRow, Vec<AccessKeyRow>, &mut Changes<Write>) -> Result<T, Error>,
) -> Result<T, Error> {
    let scope = context.server.people_scope(&context.scope.account);
    for _ in 0..crate::commit::ATTEMPTS_MAX {
        let found = context.server.store.user_get(&scope, user).await?;
        let row = found.row.ok_or_else(|| no_such_user(user))?;
        let keys = context.server.store.access_key_list(&context.scope.account, Some(user)).await?;
        let mut changes: Changes<Write> = Changes::new();
        changes.update(UserRow::aggregate(user), found.revision);
        let answer = decide(row, keys, &mut changes)?;
        if changes.writes.is_empty() {
            return Ok(answer);
        }
        match context.server.store.apply(&scope, changes).await {
            Ok(_) => return Ok(answer),
            Err(store::ApplyError::Conflict { .. } | store::ApplyError::Duplicate { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::contended())
}

/// IAM's words for a user that is not there.
pub(crate) fn no_such_user(user: &UserName) -> Error {
    Error::new("NoSuchEntity", format!("The user with name {user} cannot be found."))
}

/// What may stand in a log or an audit record of a user: never the hash.
pub(crate) fn shown_user(row: &UserRow) -> serde_json::Value {
    serde_json::json!({
        "name": row.name,
        "role": row.role,
        "disabled": row.disabled,
        "has_password": row.password_sealed.is_some(),
    })
}

fn people(write: PeopleWrite) -> Write {
    Write::from(write)
}
