use aws_wire::ssm::{CreatePatchBaselineRequest, CreatePatchBaselineResult};
use changes::{Changes, Revision, Versioned};
use nodes::{TagResource, Tags};
use patching::CreateBaseline;
use store::Write;

use super::baselines::{Given, operating_system};
use crate::{Context, Error, Operate, commit::commit, idempotency::Token, snapshot, tags::given_tags};

impl Operate for CreatePatchBaselineRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("patchbaseline/*")]
    }

    async fn run(self, context: &Context) -> Result<CreatePatchBaselineResult, Error> {
        let token = Token::of(context, "CreatePatchBaseline", self.client_token.as_deref(), &self)?;
        let tags = given_tags(self.tags.clone());
        let input = CreateBaseline {
            name: self.name.clone().unwrap_or_default(),
            operating_system: self
                .operating_system
                .as_ref()
                .map(|_| operating_system(self.operating_system.as_ref()))
                .transpose()?,
            members: given(self).members()?,
        };
        commit(context, || async {
            // Looked at anew in each attempt: the same request may be running twice, and the other was first.
            if let Some(first) = token.first_answer(context).await? {
                return Ok((Changes::new(), first));
            }
            let existing = snapshot::own_baselines(context).await?;
            let made = context
                .server
                .with_ids(|ids| patching::create_baseline(input.clone(), existing.len(), ids, context.now));
            let (baseline, changes) = made?;
            let mut changes = changes.map(Write::from);
            if !tags.is_empty() {
                let nothing = Versioned { revision: Revision(0), row: Tags::new() };
                let tagged = nodes::add_tags(&TagResource::baseline(&baseline.id), &nothing, &tags, context.now)?;
                changes.append(tagged.map(Write::from));
            }
            let null = serde_json::Value::Null;
            changes.audit.push(context.audit(
                "ssm:CreatePatchBaseline",
                baseline.arn(&context.scope),
                &null,
                &baseline.audit_json(),
            ));
            let answer = CreatePatchBaselineResult { baseline_id: Some(baseline.id.to_string()) };
            changes.writes.extend(token.write(context, &answer)?);
            Ok((changes, answer))
        })
        .await
    }
}

fn given(request: CreatePatchBaselineRequest) -> Given {
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
