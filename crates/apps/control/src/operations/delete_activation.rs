use aws_wire::ssm::{DeleteActivationRequest, DeleteActivationResult};
use changes::Versioned;
use identifiers::ActivationId;
use nodes::Refused;
use store::Write;

use crate::{Context, Error, Operate, commit::commit};

/// A well-formed id without an activation. The model has this error for what was deleted, and Terraform takes it for
/// "gone already"; `InvalidActivationId` is for ids of another form.
fn gone() -> Refused {
    Refused::InvalidActivation("The activation isn't valid. It might have been deleted.".to_owned())
}

impl Operate for DeleteActivationRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn(&format!("activation/{}", self.activation_id.as_deref().unwrap_or_default()))]
    }

    async fn run(self, context: &Context) -> Result<DeleteActivationResult, Error> {
        let id = ActivationId::parse(self.activation_id.as_deref().unwrap_or_default());
        let id = id.map_err(|_| Refused::InvalidActivationId)?;
        commit(context, || async {
            let found = context.server.store.activation_get(&context.scope, &id).await?;
            let row = found.row.ok_or_else(gone)?;
            let found = Versioned { revision: found.revision, row };
            let mut changes = nodes::delete_activation(&found, context.now).map(Write::from);
            let arn = context.scope.ssm_arn(&format!("activation/{id}"));
            changes.audit.push(context.audit("ssm:DeleteActivation", arn, &found.row, &serde_json::Value::Null));
            Ok((changes, DeleteActivationResult {}))
        })
        .await
    }
}
