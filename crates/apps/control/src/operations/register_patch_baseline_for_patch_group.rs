use aws_wire::ssm::{RegisterPatchBaselineForPatchGroupRequest, RegisterPatchBaselineForPatchGroupResult};
use store::Write;

use super::baselines::named_arn;
use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for RegisterPatchBaselineForPatchGroupRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<RegisterPatchBaselineForPatchGroupResult, Error> {
        let id = self.baseline_id.unwrap_or_default();
        let group = snapshot::patch_group(self.patch_group.as_deref())?;
        commit(context, || async {
            let baseline = snapshot::baseline(context, &id).await?;
            let current = snapshot::registration(context, &group, baseline.row.operating_system).await?;
            let mut changes = patching::register_patch_group(&baseline, &group, &current)?.map(Write::from);
            if !changes.is_empty() {
                let null = serde_json::Value::Null;
                let after = serde_json::json!({"patch_group": group, "baseline": baseline.row.id});
                let arn = baseline.row.arn(&context.scope);
                changes.audit.push(context.audit("ssm:RegisterPatchBaselineForPatchGroup", arn, &null, &after));
            }
            let answer = RegisterPatchBaselineForPatchGroupResult {
                baseline_id: Some(baseline.row.public_id(&context.scope.region)),
                patch_group: Some(group.to_string()),
            };
            Ok((changes, answer))
        })
        .await
    }
}
