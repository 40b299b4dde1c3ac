use aws_wire::ssm::{UpdateManagedInstanceRoleRequest, UpdateManagedInstanceRoleResult};
use store::Write;

use crate::{Context, Error, Operate, commit::commit, snapshot};

impl Operate for UpdateManagedInstanceRoleRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<UpdateManagedInstanceRoleResult, Error> {
        let (given, role) = (self.instance_id.unwrap_or_default(), self.iam_role.unwrap_or_default());
        commit(context, || async {
            let node = snapshot::node(context, &given).await?;
            let mut changes = nodes::update_role(&node, &role, context.now)?.map(Write::from);
            if !changes.is_empty() {
                let arn = snapshot::node_arn(context, Some(&given));
                changes.audit.push(context.audit("ssm:UpdateManagedInstanceRole", arn, &node.row.iam_role, &role));
            }
            Ok((changes, UpdateManagedInstanceRoleResult {}))
        })
        .await
    }
}
