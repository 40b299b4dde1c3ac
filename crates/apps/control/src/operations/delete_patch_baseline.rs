use aws_wire::ssm::{DeletePatchBaselineRequest, DeletePatchBaselineResult};
use changes::Changes;
use nodes::{TagResource, tags_aggregate};
use store::Write;

use super::baselines::named_arn;
use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for DeletePatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<DeletePatchBaselineResult, Error> {
        let id = self.baseline_id.unwrap_or_default();
        commit(context, || async {
            let own = snapshot::own_baseline(context, &id).await?;
            let operating_system = own.row.as_ref().map(|row| row.operating_system);
            let default = snapshot::default_of(context, operating_system).await?;
            let groups = snapshot::registrations(context).await?.into_iter().map(|r| r.row).collect::<Vec<_>>();
            let decided = patching::delete_baseline(&id, &context.scope, &own, &default, &groups)?;
            let mut changes: Changes<Write> = decided.map(Write::from);
            if let (Some(row), false) = (&own.row, changes.is_empty()) {
                let tags = TagResource::baseline(&row.id);
                changes.touched.push(tags_aggregate(&tags));
                changes.writes.push(Write::from(nodes::Write::TagsForget(tags)));
                let null = serde_json::Value::Null;
                let arn = row.arn(&context.scope);
                changes.audit.push(context.audit("ssm:DeletePatchBaseline", arn, &row.audit_json(), &null));
            }
            Ok((changes, DeletePatchBaselineResult { baseline_id: Some(id.clone()) }))
        })
        .await
    }
}
