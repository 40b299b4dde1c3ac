use aws_wire::ssm::{AddTagsToResourceRequest, AddTagsToResourceResult};
use nodes::{Refused, ResourceType, TagResource};
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
        // The documents that there are belong to the system, as AWS's own do: nobody's tags would show on them.
        if resource.resource_type == ResourceType::Document {
            return Err(Refused::InvalidResourceId.into());
        }
        let given = tags::given_tags(self.tags);
        commit(context, || async {
            let exists = snapshot::tagged_resource(context, &resource).await?;
            let current = context.server.store.tags_get(&context.scope, &resource).await?;
            let mut changes = nodes::add_tags(&resource, &current, &given, context.now)?.map(Write::from);
            if !changes.is_empty() {
                changes.read.push(exists);
                let arn = tags::resource_arn(context, &resource);
                let mut after = current.row.clone();
                after.extend(given.iter().cloned());
                changes.audit.push(context.audit("ssm:AddTagsToResource", arn, &current.row, &after));
            }
            Ok((changes, AddTagsToResourceResult {}))
        })
        .await
    }
}
