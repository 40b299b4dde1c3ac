use aws_wire::ssm::{UpdatePatchBaselineRequest, UpdatePatchBaselineResult};
use patching::{PatchBaseline, UpdateBaseline};
use store::Write;

use super::baselines::{Given, Shown, named_arn};
use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for UpdatePatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(self.baseline_id.as_ref(), &context.scope)]
    }

    async fn run(self, context: &Context) -> Result<UpdatePatchBaselineResult, Error> {
        let id = self.baseline_id.clone().unwrap_or_default();
        let input = UpdateBaseline {
            name: self.name.clone(),
            replace: self.replace.unwrap_or(false),
            members: given(self).members()?,
        };
        let baseline = commit(context, || async {
            let own = snapshot::own_baseline(context, &id).await?;
            let before = own.row.as_ref().map(PatchBaseline::audit_json);
            let (baseline, changes) = patching::update_baseline(&id, &context.scope, input.clone(), &own, context.now)?;
            let mut changes = changes.map(Write::from);
            let arn = baseline.arn(&context.scope);
            changes.audit.push(context.audit("ssm:UpdatePatchBaseline", arn, &before, &baseline.audit_json()));
            Ok((changes, baseline))
        })
        .await?;
        Ok(answer(context, &baseline))
    }
}

fn given(request: UpdatePatchBaselineRequest) -> Given {
    Given {
        description: request.description,
        global_filters: request.global_filters,
        approval_rules: request.approval_rules,
        approved_patches: request.approved_patches,
        approved_patches_compliance_level: request.approved_patches_compliance_level,
        approved_patches_enable_non_security: request.approved_patches_enable_non_security,
        rejected_patches: request.rejected_patches,
        rejected_patches_action: request.rejected_patches_action,
        sources: request.sources,
        available_security_updates_compliance_status: request.available_security_updates_compliance_status,
    }
}

fn answer(context: &Context, baseline: &PatchBaseline) -> UpdatePatchBaselineResult {
    let shown = Shown::of(baseline);
    UpdatePatchBaselineResult {
        baseline_id: Some(baseline.public_id(&context.scope.region)),
        name: Some(baseline.name.clone()),
        operating_system: Some(baseline.operating_system.as_str().to_owned()),
        description: Some(baseline.description.clone()),
        global_filters: Some(shown.global_filters),
        approval_rules: Some(shown.approval_rules),
        approved_patches: Some(baseline.approved_patches.clone()),
        approved_patches_compliance_level: Some(baseline.approved_patches_compliance_level.as_str().to_owned()),
        approved_patches_enable_non_security: Some(baseline.approved_patches_enable_non_security),
        rejected_patches: Some(baseline.rejected_patches.clone()),
        rejected_patches_action: Some(baseline.rejected_patches_action.as_str().to_owned()),
        sources: Some(shown.sources),
        created_date: Some(baseline.created_at.into()),
        modified_date: Some(baseline.modified_at.into()),
        available_security_updates_compliance_status: shown.available_security_updates,
    }
}
