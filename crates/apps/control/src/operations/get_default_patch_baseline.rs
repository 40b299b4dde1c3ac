use aws_wire::ssm::{GetDefaultPatchBaselineRequest, GetDefaultPatchBaselineResult};

use super::baselines::operating_system;
use crate::{Context, Error, Operate, snapshot};

impl Operate for GetDefaultPatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("patchbaseline/*")]
    }

    async fn run(self, context: &Context) -> Result<GetDefaultPatchBaselineResult, Error> {
        let operating_system = operating_system(self.operating_system.as_ref())?;
        let effective = snapshot::effective_baseline(context, None, operating_system).await?;
        Ok(GetDefaultPatchBaselineResult {
            baseline_id: Some(effective.baseline.public_id(&context.scope.region)),
            operating_system: Some(operating_system.as_str().to_owned()),
        })
    }
}
