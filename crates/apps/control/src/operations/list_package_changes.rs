use aws_wire::careen::{ListPackageChangesRequest, ListPackageChangesResult, PackageChange};

use crate::{Context, Error, Operate, snapshot, views};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for ListPackageChangesRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<ListPackageChangesResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let id = self.instance_id.as_deref().unwrap_or_default();
        let token = self.next_token.as_deref();
        let found = views::package_changes(context, id, token, limit, "InvalidNextToken").await?;
        let shown = |row: views::PackageHistory| PackageChange {
            at: Some(row.at.into()),
            name: Some(row.change.name),
            architecture: Some(row.change.architecture),
            from_version: row.change.from,
            to_version: row.change.to,
            command_id: row.command_id.map(|id| id.to_string()),
        };
        Ok(ListPackageChangesResult {
            changes: Some(found.changes.into_iter().map(shown).collect()),
            next_token: found.next,
        })
    }
}
