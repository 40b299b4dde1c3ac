use aws_wire::careen::{GetEffectivePatchBaselineRequest, GetEffectivePatchBaselineResult};
use nodes::{TagResource, patch_group_of};

use crate::{Context, Error, Operate, snapshot, views};

impl Operate for GetEffectivePatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<GetEffectivePatchBaselineResult, Error> {
        let node = snapshot::node(context, self.instance_id.as_deref().unwrap_or_default()).await?.row;
        let tags = context.server.store.tags_get(&context.scope, &TagResource::node(&node.node_id)).await?.row;
        let group = patch_group_of(&tags);
        let operating_system = views::operating_system(&node);
        let effective = match operating_system {
            Some(os) => Some(snapshot::effective_baseline(context, group.as_ref(), os).await?),
            None => None,
        };
        let reason = match &effective {
            Some(effective) => effective.why.to_string(),
            None => "patch baselines do not know the node's distribution".to_owned(),
        };
        Ok(GetEffectivePatchBaselineResult {
            instance_id: Some(node.node_id.to_string()),
            baseline_id: effective.as_ref().map(|effective| effective.baseline.id.to_string()),
            baseline_name: effective.map(|effective| effective.baseline.name),
            operating_system: operating_system.map(|os| os.as_str().to_owned()),
            patch_group: group.map(|group| group.to_string()),
            reason: Some(reason),
        })
    }
}
