use aws_wire::ssm::{AddTagsToResourceRequest, AddTagsToResourceResult};
use nodes::TagResource;
use store::Write;

use crate::{Context, Error, Operate, commit::commit, snapshot, tags};

impl Operate for AddTagsToResourceRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![tags::named_arn(context, self.resource_type.as_deref(), self.resource_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<AddTagsToResourceResult, Error> {
        let resource = TagResource::parse(
            self.resource_type.as_deref().unwrap_or_default(),
            self.resource_id.as_deref().unwrap_or_default(),
        )?;
        let given = tags::given_tags(self.tags);
        commit(context, || async {
            let exists = snapshot::tagged_resource(context, &resource).await?;
            let current = context.server.store.tags_get(&context.scope, &resource).await?;
            let mut changes = nodes::add_tags(&resource, &current, &given, context.now)?.map(Write::from);
            if !changes.is_empty() {
                changes.read.push(exists);
                let arn = tags::resource_arn(context, &resource);
                changes.audit.push(context.audit("ssm:AddTagsToResource", arn, &current.row, &given));
            }
            Ok((changes, AddTagsToResourceResult {}))
        })
        .await
    }
}
