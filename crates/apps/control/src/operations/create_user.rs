use aws_wire::iam::{CreateUserRequest, CreateUserResponse};
use changes::Changes;
use identifiers::UserName;
use store::{ApplyError, PeopleWrite, UserRow, Write};

use super::shown_users::{role_of, shown_user, user_arn};
use crate::{Context, Error, Operate, people};

impl Operate for CreateUserRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<CreateUserResponse, Error> {
        if self.path.is_some_and(|path| path != "/") {
            return Err(Error::not_yet("Path"));
        }
        if self.permissions_boundary.is_some() {
            return Err(Error::not_yet("PermissionsBoundary"));
        }
        let name = UserName::parse(self.user_name.as_deref().unwrap_or_default())
            .map_err(|error| Error::new("InvalidInput", error.to_string()))?;
        let role = role_of(self.tags)?;
        let server = &context.server;
        let scope = server.people_scope(&context.scope.account);
        let found = server.store.user_get(&scope, &name).await?;
        let taken = || Error::new("EntityAlreadyExists", format!("User with name {name} already exists."));
        if found.row.is_some() {
            return Err(taken());
        }
        let row = UserRow {
            account: context.scope.account.clone(),
            name: name.clone(),
            user_id: server.with_ids(|ids| format!("AIDA{}", ids.hex17().to_uppercase())),
            role,
            password_sealed: None,
            disabled: false,
            created_at: context.now,
            password_changed_at: None,
            signed_in_at: None,
        };
        let mut changes: Changes<Write> = Changes::new();
        changes.update(UserRow::aggregate(&name), found.revision);
        let arn = name.arn(&row.account);
        changes.audit.push(context.audit("iam:CreateUser", arn, &serde_json::Value::Null, &people::shown_user(&row)));
        changes.writes.push(PeopleWrite::UserPut(row.clone()).into());
        match server.store.apply(&scope, changes).await {
            Ok(_) => Ok(CreateUserResponse { user: Some(shown_user(&row)) }),
            Err(ApplyError::Conflict { .. }) => Err(taken()),
            Err(error) => Err(error.into()),
        }
    }
}
