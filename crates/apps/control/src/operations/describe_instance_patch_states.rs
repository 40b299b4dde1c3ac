use aws_wire::ssm::{DescribeInstancePatchStatesRequest, DescribeInstancePatchStatesResult, InstancePatchState};
use identifiers::NodeId;
use nodes::NodeState;
use patching::PatchSummary;
use store::NodePatchSummary;

use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size; AWS gives up to 100.
const PAGE_DEFAULT: i32 = 100;

impl Operate for DescribeInstancePatchStatesRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        match self.instance_ids.as_deref().unwrap_or_default() {
            [] => vec![context.scope.ssm_arn("managed-instance/*")],
            ids => ids.iter().map(|id| snapshot::node_arn(context, Some(id))).collect(),
        }
    }

    async fn run(self, context: &Context) -> Result<DescribeInstancePatchStatesResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(10);
        let token = self.next_token.as_deref();
        let operation = "DescribeInstancePatchStates";
        let page = Page::open(context, operation, &self.instance_ids, token, limit, "InvalidNextToken")?;
        // Nodes that are unknown or have never reported are just not in the answer.
        let ids = self.instance_ids.unwrap_or_default();
        let ids: Vec<NodeId> = ids.iter().filter_map(|id| NodeId::parse(id).ok()).collect();
        let mut rows = Vec::new();
        for row in context.server.store.patch_summary_list(&context.scope, &ids).await? {
            let node = context.server.store.node_get(&context.scope, &row.node_id).await?.row;
            if node.is_some_and(|node| node.state == NodeState::Registered) {
                rows.push(row);
            }
        }
        let (rows, next_token) = page.cut(context, rows, |row| vec![row.node_id.to_string()])?;
        let states = rows.iter().map(shown).collect();
        Ok(DescribeInstancePatchStatesResult { instance_patch_states: Some(states), next_token })
    }
}

fn count(count: u32) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

fn shown(row: &NodePatchSummary) -> InstancePatchState {
    let summary: &PatchSummary = &row.summary;
    InstancePatchState {
        instance_id: Some(row.node_id.to_string()),
        patch_group: Some(summary.patch_group.clone()),
        baseline_id: Some(summary.baseline_id.to_string()),
        snapshot_id: Some(summary.snapshot_id.clone()),
        install_override_list: Some(String::new()),
        owner_information: None,
        installed_count: count(summary.installed_count),
        installed_other_count: count(summary.installed_other_count),
        installed_pending_reboot_count: count(summary.installed_pending_reboot_count),
        installed_rejected_count: count(summary.installed_rejected_count),
        missing_count: count(summary.missing_count),
        failed_count: count(summary.failed_count),
        // What is not installed is not looked at here, so nothing is known of it.
        unreported_not_applicable_count: None,
        not_applicable_count: None,
        available_security_update_count: count(0),
        operation_start_time: Some(summary.started_at.into()),
        operation_end_time: Some(summary.ended_at.into()),
        operation: Some(summary.operation.as_str().to_owned()),
        last_no_reboot_install_operation_time: summary.last_no_reboot_install_at.map(Into::into),
        reboot_option: Some(summary.reboot_option.as_str().to_owned()),
        critical_non_compliant_count: count(summary.critical_non_compliant_count),
        security_non_compliant_count: count(summary.security_non_compliant_count),
        other_non_compliant_count: count(summary.other_non_compliant_count),
    }
}
