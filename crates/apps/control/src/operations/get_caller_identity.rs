use access::Principal;
use aws_wire::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};
use identifiers::UserName;

use crate::{Context, Error, Operate};

impl Operate for GetCallerIdentityRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![arn(context)]
    }

    async fn run(self, context: &Context) -> Result<GetCallerIdentityResponse, Error> {
        let account = &context.scope.account;
        let user_id = match context.principal.user() {
            // As AWS has it: the administrator's id is the account's.
            Some((_, user)) if user.is_root() => account.to_string(),
            Some((_, user)) => {
                let found = context.server.store.user_get(&context.server.people_scope(account), user).await?;
                found.row.map(|row| row.user_id).unwrap_or_default()
            }
            None => context.principal.to_string(),
        };
        Ok(GetCallerIdentityResponse {
            account: Some(account.to_string()),
            arn: Some(arn(context)),
            user_id: Some(user_id),
        })
    }
}

fn arn(context: &Context) -> String {
    let account = &context.scope.account;
    match &context.principal {
        Principal::Key { user, .. } | Principal::Console { user, .. } => user.arn(account),
        Principal::Node { .. } | Principal::System => UserName::root().arn(account),
    }
}
