use aws_wire::ssm::{RegisterDefaultPatchBaselineRequest, RegisterDefaultPatchBaselineResult};
use store::Write;

use super::baselines::named_arn;
use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for RegisterDefaultPatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<RegisterDefaultPatchBaselineResult, Error> {
        let id = self.baseline_id.unwrap_or_default();
        commit(context, || async {
            let baseline = snapshot::baseline(context, &id).await?;
            let current = snapshot::default_of(context, Some(baseline.row.operating_system)).await?;
            let mut changes = patching::register_default(&baseline, &current).map(Write::from);
            let after =
                serde_json::json!({"operating_system": baseline.row.operating_system, "baseline": baseline.row.id});
            let arn = baseline.row.arn(&context.scope);
            changes.audit.push(context.audit("ssm:RegisterDefaultPatchBaseline", arn, &current.row, &after));
            let baseline_id = Some(baseline.row.public_id(&context.scope.region));
            Ok((changes, RegisterDefaultPatchBaselineResult { baseline_id }))
        })
        .await
    }
}
