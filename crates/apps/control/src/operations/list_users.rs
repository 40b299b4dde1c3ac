use aws_wire::iam::{ListUsersRequest, ListUsersResponse};

use super::shown_users::{PAGE_DEFAULT, all_users, shown_user};
use crate::{Context, Error, Operate, pages::Page};

impl Operate for ListUsersRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![all_users(&context.scope.account)]
    }

    async fn run(self, context: &Context) -> Result<ListUsersResponse, Error> {
        let limit = u32::try_from(self.max_items.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let marker = self.marker.as_deref();
        let page = Page::open(context, "ListUsers", &self.path_prefix, marker, limit as usize, "InvalidInput")?;
        // Every user's path is `/`.
        let none = self.path_prefix.is_some_and(|prefix| prefix != "/");
        let after = page.after.as_ref().and_then(|key| key.first()).map(String::as_str);
        let mut users = match none {
            true => Vec::new(),
            false => context.server.store.user_list(&context.scope.account, after, limit + 1).await?,
        };
        let more = users.len() > page.limit;
        users.truncate(page.limit);
        let marker = match users.last() {
            Some(last) if more => Some(page.next(context, vec![last.name.folded()])?),
            _ => None,
        };
        let users = users.iter().map(|row| aws_wire::iam::User { tags: None, ..shown_user(row) }).collect();
        Ok(ListUsersResponse { users: Some(users), is_truncated: Some(more), marker })
    }
}
