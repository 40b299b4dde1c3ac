use aws_wire::iam::{AccessKeyLastUsed, GetAccessKeyLastUsedRequest, GetAccessKeyLastUsedResponse};
use identifiers::AccessKeyId;

use super::shown_users::{all_users, no_such_key};
use crate::{Context, Error, Operate};

impl Operate for GetAccessKeyLastUsedRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![all_users(&context.scope.account)]
    }

    async fn run(self, context: &Context) -> Result<GetAccessKeyLastUsedResponse, Error> {
        let id = self.access_key_id.as_deref().and_then(|id| AccessKeyId::parse(id).ok());
        let found = match &id {
            Some(id) => context.server.store.access_key_get(id).await?,
            None => None,
        };
        let found = found.map(|(row, _)| row).filter(|row| row.account == context.scope.account);
        let row = found.ok_or_else(|| no_such_key(id.as_ref()))?;
        // AWS says N/A of a key that was never used.
        let never = || "N/A".to_owned();
        let last = match row.last_use {
            Some(used) => AccessKeyLastUsed {
                last_used_date: Some(used.at.into()),
                service_name: Some(used.service),
                region: Some(used.region),
            },
            None => AccessKeyLastUsed { last_used_date: None, service_name: Some(never()), region: Some(never()) },
        };
        Ok(GetAccessKeyLastUsedResponse { user_name: Some(row.user.to_string()), access_key_last_used: Some(last) })
    }
}
