use aws_wire::iam::{GetUserRequest, GetUserResponse};

use super::shown_users::{shown_user, user_arn, user_of};
use crate::{Context, Error, Operate, people::no_such_user};

impl Operate for GetUserRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<GetUserResponse, Error> {
        let name = user_of(context, self.user_name.as_deref())?;
        let scope = context.server.people_scope(&context.scope.account);
        let row = context.server.store.user_get(&scope, &name).await?.row.ok_or_else(|| no_such_user(&name))?;
        Ok(GetUserResponse { user: Some(shown_user(&row)) })
    }
}
