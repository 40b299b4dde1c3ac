use aws_wire::iam::{ListAccessKeysRequest, ListAccessKeysResponse};

use super::shown_users::{PAGE_DEFAULT, shown_key, user_arn, user_of};
use crate::{Context, Error, Operate, pages::Page, people::no_such_user};

impl Operate for ListAccessKeysRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        user_arn(context, self.user_name.as_deref())
    }

    async fn run(self, context: &Context) -> Result<ListAccessKeysResponse, Error> {
        let (server, account) = (&context.server, &context.scope.account);
        let name = user_of(context, self.user_name.as_deref())?;
        let limit = usize::try_from(self.max_items.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let marker = self.marker.as_deref();
        let page = Page::open(context, "ListAccessKeys", &name, marker, limit, "InvalidInput")?;
        if server.store.user_get(&server.people_scope(account), &name).await?.row.is_none() {
            return Err(no_such_user(&name));
        }
        let keys = server.store.access_key_list(account, Some(&name)).await?;
        let (keys, marker) = page.cut(context, keys, |row| vec![row.access_key_id.to_string()])?;
        Ok(ListAccessKeysResponse {
            access_key_metadata: Some(keys.iter().map(shown_key).collect()),
            is_truncated: Some(marker.is_some()),
            marker,
        })
    }
}
