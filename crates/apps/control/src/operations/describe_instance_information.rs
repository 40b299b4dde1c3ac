use aws_wire::{
    Sensitive,
    ssm::{DescribeInstanceInformationRequest, DescribeInstanceInformationResult, InstanceInformation},
};
use nodes::{FilterText, InstanceFilters, ManagedNode, NodeView, Ping, ping_status};

use crate::{Context, Error, Operate, pages::Page, settings::HEARTBEAT_SECONDS, snapshot};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for DescribeInstanceInformationRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("managed-instance/*")]
    }

    async fn run(self, context: &Context) -> Result<DescribeInstanceInformationResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(5);
        let question = (&self.filters, &self.instance_information_filter_list);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "DescribeInstanceInformation", &question, token, limit, "InvalidNextToken")?;
        let newer = self.filters.unwrap_or_default().into_iter();
        let newer: Vec<_> = newer.map(|f| text(f.key, f.values)).collect();
        let older = self.instance_information_filter_list.unwrap_or_default().into_iter();
        let older: Vec<_> = older.map(|f| text(f.key, f.value_set)).collect();
        let filters = InstanceFilters::parse(&newer, &older)?;
        let rows = snapshot::fleet(context).await?.into_iter().filter(|member| {
            let ping_status = ping_status(member.ping.as_ref(), context.now, HEARTBEAT_SECONDS);
            filters.matches(&NodeView { node: &member.node, ping_status, tags: &member.tags })
        });
        let (rows, next_token) = page.cut(context, rows.collect(), |member| vec![member.node.node_id.to_string()])?;
        let list = rows.iter().map(|member| shown(context, &member.node, member.ping.as_ref())).collect();
        Ok(DescribeInstanceInformationResult { instance_information_list: Some(list), next_token })
    }
}

fn text(key: Option<String>, values: Option<Vec<String>>) -> FilterText {
    FilterText { key: key.unwrap_or_default(), values: values.unwrap_or_default() }
}

fn shown(context: &Context, node: &ManagedNode, ping: Option<&Ping>) -> InstanceInformation {
    InstanceInformation {
        instance_id: Some(node.node_id.to_string()),
        ping_status: Some(ping_status(ping, context.now, HEARTBEAT_SECONDS).as_str().to_owned()),
        last_ping_date_time: ping.map(|ping| ping.last_ping_at.into()),
        agent_version: Some(node.facts.agent_version.clone()),
        is_latest_version: Some(node.facts.agent_version == env!("CARGO_PKG_VERSION")),
        platform_type: Some(node.facts.platform_type.as_str().to_owned()),
        platform_name: Some(node.facts.platform_name.clone()),
        platform_version: Some(node.facts.platform_version.clone()),
        activation_id: Some(node.activation_id.to_string()),
        iam_role: Some(node.iam_role.clone()),
        registration_date: Some(node.registered_at.into()),
        resource_type: Some(nodes::RESOURCE_TYPE.to_owned()),
        name: Some(node.name.clone()),
        ip_address: Some(Sensitive::from(node.facts.ip_address.clone())),
        computer_name: Some(node.facts.computer_name.clone()),
        source_id: Some(node.node_id.to_string()),
        source_type: Some("AWS::SSM::ManagedInstance".to_owned()),
        ..InstanceInformation::default()
    }
}
