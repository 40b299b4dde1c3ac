use aws_wire::ssm::{GetCommandInvocationRequest, GetCommandInvocationResult};
use commands::{Refused, StepOutput};
use identifiers::Timestamp;

use super::shown_commands::{elapsed, no_cloud_watch};
use crate::{Context, Error, Operate, snapshot};

impl Operate for GetCommandInvocationRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn(&format!("command/{}", self.command_id.as_deref().unwrap_or_default()))]
    }

    async fn run(self, context: &Context) -> Result<GetCommandInvocationResult, Error> {
        let command_id = snapshot::command_id(self.command_id.as_deref())?;
        let node_id = snapshot::any_node_id(self.instance_id.as_deref().unwrap_or_default())?;
        let command = snapshot::command(context, &command_id).await?.row;
        // AWS's waiter relies on exactly this error for an invocation that is not there (yet).
        let found = context.server.store.invocation_get(&context.scope, &command_id, &node_id).await?;
        let invocation = found.row.ok_or(Refused::InvocationDoesNotExist)?;
        let step = invocation.step_named(self.plugin_name.as_deref())?;
        let outputs = context.server.store.step_output_list(&context.scope, &command_id, &node_id).await?;
        let ended = step.status.is_ended();
        let output = outputs.iter().find(|output| step.name == output.step).filter(|_| ended);
        let (status, details) = invocation.step_status(step);
        let at = |at: Option<Timestamp>| Some(at.map(Timestamp::to_rfc3339_millis).unwrap_or_default());
        let (started_at, finished_at) = (step.started_at, step.finished_at);
        Ok(GetCommandInvocationResult {
            command_id: Some(command_id.to_string()),
            instance_id: Some(node_id.to_string()),
            comment: Some(command.comment),
            document_name: Some(command.document_name.to_string()),
            document_version: Some(command.document_version),
            plugin_name: Some(step.name.clone()),
            response_code: i32::try_from(step.response_code).ok(),
            execution_start_date_time: at(started_at),
            execution_elapsed_time: Some(elapsed(started_at, finished_at)),
            execution_end_date_time: at(finished_at),
            status: Some(status.to_owned()),
            status_details: Some(details.to_owned()),
            standard_output_content: Some(output.map(StepOutput::stdout_content).unwrap_or_default()),
            standard_output_url: Some(String::new()),
            standard_error_content: Some(output.map(StepOutput::stderr_content).unwrap_or_default()),
            standard_error_url: Some(String::new()),
            cloud_watch_output_config: no_cloud_watch(),
        })
    }
}
