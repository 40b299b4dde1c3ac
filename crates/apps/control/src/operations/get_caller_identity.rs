use access::Principal;
use aws_wire::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};

use crate::{Context, Error, Operate};

impl Operate for GetCallerIdentityRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![format!("arn:aws:iam::{}:root", context.scope.account)]
    }

    async fn run(self, context: &Context) -> Result<GetCallerIdentityResponse, Error> {
        let user_id = match &context.principal {
            Principal::Root { access_key_id, .. } => access_key_id.to_string(),
            other => other.to_string(),
        };
        Ok(GetCallerIdentityResponse {
            account: Some(context.scope.account.to_string()),
            arn: Some(format!("arn:aws:iam::{}:root", context.scope.account)),
            user_id: Some(user_id),
        })
    }
}
