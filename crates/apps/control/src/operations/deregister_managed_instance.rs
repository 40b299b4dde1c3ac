use aws_wire::ssm::{DeregisterManagedInstanceRequest, DeregisterManagedInstanceResult};
use store::Write;

use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for DeregisterManagedInstanceRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<DeregisterManagedInstanceResult, Error> {
        let given = self.instance_id.unwrap_or_default();
        let node = commit(context, || async {
            let node = snapshot::node(context, &given).await?;
            let mut changes = nodes::deregister_node(&node, context.now)?.map(Write::from);
            let arn = snapshot::node_arn(context, Some(&given));
            changes.audit.push(context.audit(
                "ssm:DeregisterManagedInstance",
                arn,
                &node.row,
                &serde_json::Value::Null,
            ));
            Ok((changes, node.row.node_id))
        })
        .await?;
        // The key row is checked at each connect; the connection that stands ends now.
        context.server.sessions.end(&node);
        if let Err(error) = context.server.end_commands_of(&context.scope, &node).await {
            // The reconciler does it within a minute.
            tracing::warn!(%node, "its commands are still open: {}", error.message);
        }
        context.server.wake();
        Ok(DeregisterManagedInstanceResult {})
    }
}
