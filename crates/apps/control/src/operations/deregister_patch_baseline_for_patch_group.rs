use aws_wire::ssm::{DeregisterPatchBaselineForPatchGroupRequest, DeregisterPatchBaselineForPatchGroupResult};
use store::Write;

use super::baselines::named_arn;
use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for DeregisterPatchBaselineForPatchGroupRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<DeregisterPatchBaselineForPatchGroupResult, Error> {
        let id = self.baseline_id.unwrap_or_default();
        let group = snapshot::patch_group(self.patch_group.as_deref())?;
        commit(context, || async {
            let current = snapshot::registrations(context).await?;
            let decided = patching::deregister_patch_group(&id, &context.scope, &group, &current)?;
            let mut changes = decided.map(Write::from);
            if !changes.is_empty() {
                let before = serde_json::json!({"patch_group": group, "baseline": id});
                let arn = named_arn(Some(&id), &context.scope);
                let null = serde_json::Value::Null;
                changes.audit.push(context.audit("ssm:DeregisterPatchBaselineForPatchGroup", arn, &before, &null));
            }
            let answer = DeregisterPatchBaselineForPatchGroupResult {
                baseline_id: Some(id.clone()),
                patch_group: Some(group.to_string()),
            };
            Ok((changes, answer))
        })
        .await
    }
}
