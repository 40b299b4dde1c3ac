use aws_wire::ssm::{ListTagsForResourceRequest, ListTagsForResourceResult};
use nodes::TagResource;

use crate::{Context, Error, Operate, snapshot, tags};

impl Operate for ListTagsForResourceRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![tags::named_arn(context, self.resource_type.as_deref(), self.resource_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<ListTagsForResourceResult, Error> {
        let resource = TagResource::parse(
            self.resource_type.as_deref().unwrap_or_default(),
            self.resource_id.as_deref().unwrap_or_default(),
        )?;
        snapshot::tagged_resource(context, &resource).await?;
        let current = context.server.store.tags_get(&context.scope, &resource).await?;
        Ok(ListTagsForResourceResult { tag_list: Some(tags::shown_tags(&current.row)) })
    }
}
