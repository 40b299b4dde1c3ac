//! Output as it comes: what an invocation has written since somebody last looked.

use commands::{Command, Invocation, OutputPiece, OutputPosition, output_since};
use store::InvocationQuery;

use crate::{Context, Error, call::authorise, snapshot, views};

/// What is new of an invocation's output.
pub struct NewOutput {
    /// The invocation as it was when the output was read.
    pub invocation: Invocation,
    /// What its steps have written since.
    pub pieces: Vec<OutputPiece>,
    /// Where to go on.
    pub next: OutputPosition,
}

/// What a command's invocation on a node has written since a position. Of steps that run it is what has come so far, which the
/// result then confirms and completes.
///
/// # Errors
/// `InvalidCommandId` or `InvocationDoesNotExist` where there is none; otherwise as [`views::fleet`].
pub async fn new_output(
    context: &Context,
    command: &str,
    node: &str,
    position: &OutputPosition,
) -> Result<NewOutput, Error> {
    let (command, invocation) = views::invocation_row(context, command, node).await?;
    since(context, &command, invocation, position).await
}

/// The same of an invocation that was read already.
pub(crate) async fn since(
    context: &Context,
    command: &Command,
    invocation: Invocation,
    position: &OutputPosition,
) -> Result<NewOutput, Error> {
    let (store, scope) = (&context.server.store, &context.scope);
    let outputs = store.step_output_list(scope, &command.command_id, &invocation.node_id).await?;
    let live = match invocation.state.is_ended() {
        true => Vec::new(),
        false => store.live_output_list(scope, &command.command_id, &invocation.node_id).await?,
    };
    let (pieces, next) = output_since(&invocation, &outputs, &live, position);
    Ok(NewOutput { invocation, pieces, next })
}

/// A command's invocations, or the one on a node, sorted by node.
///
/// # Errors
/// As [`new_output`].
pub async fn invocations(context: &Context, command: &str, node: Option<&str>) -> Result<Vec<Invocation>, Error> {
    if let Some(node) = node {
        return Ok(vec![views::invocation_row(context, command, node).await?.1]);
    }
    authorise(context, "ssm:ListCommandInvocations", vec![context.scope.ssm_arn("*")]).await?;
    let command = views::command_row(context, command).await?;
    let query = InvocationQuery { command_id: Some(command.command_id), ..InvocationQuery::all(snapshot::WHOLE_MAX) };
    let rows = context.server.store.invocation_list(&context.scope, &query).await?;
    Ok(rows.into_iter().rev().map(|found| found.row).collect())
}
