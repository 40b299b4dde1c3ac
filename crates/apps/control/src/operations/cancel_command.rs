use aws_wire::ssm::{CancelCommandRequest, CancelCommandResult};
use store::{InvocationQuery, Write};

use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for CancelCommandRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn(&format!("command/{}", self.command_id.as_deref().unwrap_or_default()))]
    }

    async fn run(self, context: &Context) -> Result<CancelCommandResult, Error> {
        let id = snapshot::command_id(self.command_id.as_deref())?;
        let given = self.instance_ids.unwrap_or_default();
        commit(context, || async {
            let command = snapshot::command(context, &id).await?;
            let all = InvocationQuery { command_id: Some(id.clone()), ..InvocationQuery::all(snapshot::WHOLE_MAX) };
            let all = context.server.store.invocation_list(&context.scope, &all).await?;
            let before = command.row.state;
            let (_, changes) = commands::cancel_command(&command, &all, &given, context.now)?;
            let mut changes = changes.map(Write::from);
            if !changes.is_empty() {
                let arn = context.scope.ssm_arn(&format!("command/{id}"));
                changes.audit.push(context.audit("ssm:CancelCommand", arn, &before, &given));
            }
            Ok((changes, ()))
        })
        .await?;
        context.server.wake();
        Ok(CancelCommandResult {})
    }
}
