use aws_wire::ssm::{GetPatchBaselineForPatchGroupRequest, GetPatchBaselineForPatchGroupResult};

use super::baselines::operating_system;
use crate::{Context, Error, Operate, snapshot};

impl Operate for GetPatchBaselineForPatchGroupRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("patchbaseline/*")]
    }

    async fn run(self, context: &Context) -> Result<GetPatchBaselineForPatchGroupResult, Error> {
        let operating_system = operating_system(self.operating_system.as_ref())?;
        let group = snapshot::patch_group(self.patch_group.as_deref())?;
        let effective = snapshot::effective_baseline(context, Some(&group), operating_system).await?;
        Ok(GetPatchBaselineForPatchGroupResult {
            baseline_id: Some(effective.baseline.public_id(&context.scope.region)),
            patch_group: Some(group.to_string()),
            operating_system: Some(operating_system.as_str().to_owned()),
        })
    }
}
