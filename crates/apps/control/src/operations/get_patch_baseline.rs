use aws_wire::ssm::{GetPatchBaselineRequest, GetPatchBaselineResult};
use patching::PatchGroupRegistration;

use super::baselines::{Shown, named_arn};
use crate::{Context, Error, Operate, snapshot};

impl Operate for GetPatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<GetPatchBaselineResult, Error> {
        let baseline = snapshot::baseline(context, self.baseline_id.as_deref().unwrap_or_default()).await?.row;
        let registrations = snapshot::registrations(context).await?;
        let shown = Shown::of(&baseline);
        let serves = |row: &PatchGroupRegistration| row.baseline == baseline.id;
        let mut patch_groups: Vec<String> =
            registrations.into_iter().map(|r| r.row).filter(serves).map(|row| row.patch_group.to_string()).collect();
        patch_groups.sort();
        patch_groups.dedup();
        Ok(GetPatchBaselineResult {
            baseline_id: Some(baseline.public_id(&context.scope.region)),
            name: Some(baseline.name),
            operating_system: Some(baseline.operating_system.as_str().to_owned()),
            description: Some(baseline.description),
            global_filters: Some(shown.global_filters),
            approval_rules: Some(shown.approval_rules),
            approved_patches: Some(baseline.approved_patches),
            approved_patches_compliance_level: Some(baseline.approved_patches_compliance_level.as_str().to_owned()),
            approved_patches_enable_non_security: Some(baseline.approved_patches_enable_non_security),
            rejected_patches: Some(baseline.rejected_patches),
            rejected_patches_action: Some(baseline.rejected_patches_action.as_str().to_owned()),
            patch_groups: Some(patch_groups),
            sources: Some(shown.sources),
            created_date: Some(baseline.created_at.into()),
            modified_date: Some(baseline.modified_at.into()),
            available_security_updates_compliance_status: shown.available_security_updates,
        })
    }
}
