use aws_wire::careen::{ListPatchReasonsRequest, ListPatchReasonsResult, PatchReason};
use patching::PatchRow;
use store::PatchQuery;

use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for ListPatchReasonsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<ListPatchReasonsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let node = snapshot::node(context, self.instance_id.as_deref().unwrap_or_default()).await?.row;
        let token = self.next_token.as_deref();
        let page = Page::open(context, "ListPatchReasons", &node.node_id, token, limit, "InvalidNextToken")?;
        let mut query = PatchQuery::all(u32::try_from(limit + 1).unwrap_or(u32::MAX));
        query.after = page.after.as_ref().and_then(|key| key.first().cloned());
        let mut rows = context.server.store.patch_list(&context.scope, &node.node_id, &query).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_token = match rows.last() {
            Some(last) if more => Some(page.next(context, vec![last.kb_id()])?),
            _ => None,
        };
        Ok(ListPatchReasonsResult { reasons: Some(rows.into_iter().map(shown).collect()), next_token })
    }
}

fn shown(row: PatchRow) -> PatchReason {
    PatchReason {
        kb_id: Some(row.kb_id()),
        state: Some(row.state.wire_name().to_owned()),
        reason: Some(row.reason.to_string()),
        installed_version: Some(row.installed_version),
        candidate_version: row.available_version,
    }
}
