use aws_wire::ssm::{RemoveTagsFromResourceRequest, RemoveTagsFromResourceResult};
use nodes::TagResource;
use store::Write;

use crate::{Context, Error, Operate, commit::commit, snapshot, tags};

impl Operate for RemoveTagsFromResourceRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![tags::named_arn(context, self.resource_type.as_deref(), self.resource_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<RemoveTagsFromResourceResult, Error> {
        let resource = TagResource::parse(
            self.resource_type.as_deref().unwrap_or_default(),
            self.resource_id.as_deref().unwrap_or_default(),
        )?;
        let keys = self.tag_keys.unwrap_or_default();
        commit(context, || async {
            snapshot::tagged_resource(context, &resource).await?;
            let current = context.server.store.tags_get(&context.scope, &resource).await?;
            let mut changes = nodes::remove_tags(&resource, &current, &keys, context.now).map(Write::from);
            if !changes.is_empty() {
                let arn = tags::resource_arn(context, &resource);
                let mut after = current.row.clone();
                after.retain(|key, _| !keys.contains(key));
                changes.audit.push(context.audit("ssm:RemoveTagsFromResource", arn, &current.row, &after));
            }
            Ok((changes, RemoveTagsFromResourceResult {}))
        })
        .await
    }
}
