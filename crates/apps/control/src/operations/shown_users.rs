//! What IAM's operations have in common: users and keys as IAM writes them.

use access::Role;
use aws_wire::iam::{AccessKeyMetadata, Tag, User};
use identifiers::{AccessKeyId, AccountId, UserName};
use store::{AccessKeyRow, AccessKeyStatus, UserRow};

use crate::{Context, Error};

/// The tag that says a user's role.
pub(crate) const ROLE_TAG: &str = "careen:Role";

/// The page where the caller names no size, as AWS has it.
pub(crate) const PAGE_DEFAULT: i32 = 100;

/// Whom a request is about: the one it names, or the caller.
pub(crate) fn user_of(context: &Context, named: Option<&str>) -> Result<UserName, Error> {
    match (named, context.principal.user()) {
        (Some(name), _) => UserName::parse(name)
            .map_err(|_| Error::new("NoSuchEntity", "The user with that name cannot be found.".to_owned())),
        (None, Some((_, user))) => Ok(user.clone()),
        (None, None) => Err(Error::validation("UserName must be given: the caller is not a user.")),
    }
}

/// The resource of a request about one user.
pub(crate) fn user_arn(context: &Context, named: Option<&str>) -> Vec<String> {
    let account = &context.scope.account;
    vec![user_of(context, named).map_or_else(|_| all_users(account), |user| user.arn(account))]
}

/// The resource of a request about all users.
pub(crate) fn all_users(account: &AccountId) -> String {
    format!("arn:aws:iam::{account}:user/*")
}

/// A user as IAM writes one.
pub(crate) fn shown_user(row: &UserRow) -> User {
    let role = Tag { key: Some(ROLE_TAG.to_owned()), value: Some(row.role.to_string()) };
    User {
        path: Some("/".to_owned()),
        user_name: Some(row.name.to_string()),
        user_id: Some(row.user_id.clone()),
        arn: Some(row.name.arn(&row.account)),
        create_date: Some(row.created_at.into()),
        password_last_used: row.signed_in_at.map(Into::into),
        permissions_boundary: None,
        tags: Some(vec![role]),
    }
}

/// The role that the tags of a new user say; a reader without. Other tags are not kept, and so not taken.
pub(crate) fn role_of(tags: Option<Vec<Tag>>) -> Result<Role, Error> {
    let mut role = Role::Reader;
    for tag in tags.unwrap_or_default() {
        if tag.key.as_deref() != Some(ROLE_TAG) {
            return Err(Error::not_yet("Every tag but careen:Role"));
        }
        let value = tag.value.unwrap_or_default();
        role =
            Role::parse(&value).ok_or_else(|| Error::new("InvalidInput", "careen:Role is administrator or reader."))?;
    }
    Ok(role)
}

/// An access key as IAM writes one, without its secret.
pub(crate) fn shown_key(row: &AccessKeyRow) -> AccessKeyMetadata {
    AccessKeyMetadata {
        user_name: Some(row.user.to_string()),
        access_key_id: Some(row.access_key_id.to_string()),
        status: Some(row.status.as_str().to_owned()),
        create_date: Some(row.created_at.into()),
    }
}

/// The key of that id among those of a user.
pub(crate) fn key_among(keys: Vec<AccessKeyRow>, id: Option<&str>) -> Result<AccessKeyRow, Error> {
    let id = id.and_then(|id| AccessKeyId::parse(id).ok());
    let found = keys.into_iter().find(|row| Some(&row.access_key_id) == id.as_ref());
    found.ok_or_else(|| no_such_key(id.as_ref()))
}

/// IAM's words for a key that is not there.
pub(crate) fn no_such_key(id: Option<&AccessKeyId>) -> Error {
    let id = id.map(ToString::to_string).unwrap_or_default();
    Error::new("NoSuchEntity", format!("The Access Key with id {id} cannot be found."))
}

/// What may stand in an audit record of a key.
pub(crate) fn audited_key(row: &AccessKeyRow) -> serde_json::Value {
    serde_json::json!({
        "access_key_id": row.access_key_id,
        "user": row.user,
        "active": row.status == AccessKeyStatus::Active,
    })
}
