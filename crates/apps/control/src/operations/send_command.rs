use aws_wire::ssm::{NotificationConfig, SendCommandRequest, SendCommandResult};
use commands::{
    Command, CommandRequest, GivenParameters, Platform, Target, TargetNode, built_in_document, document_name_of,
    no_such_document,
};
use identifiers::NodeId;
use nodes::{NodeState, PlatformType};
use store::Write;

use super::shown_commands::shown_command;
use crate::{Context, Error, Member, Operate, commit::commit, snapshot};

impl Operate for SendCommandRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        let mut arns = vec![super::documents::named_arn(context, self.document_name.as_deref())];
        match self.instance_ids.as_deref().unwrap_or_default() {
            [] => arns.push(context.scope.ssm_arn("managed-instance/*")),
            ids => arns.extend(ids.iter().map(|id| snapshot::node_arn(context, Some(id)))),
        }
        arns
    }

    async fn run(self, context: &Context) -> Result<SendCommandResult, Error> {
        refuse_unsupported(&self)?;
        let name = document_name_of(self.document_name.as_deref().unwrap_or_default())?;
        let document = built_in_document(name.as_str()).ok_or_else(|| no_such_document(name.as_str()))?;
        let request = request(context, self);
        let command = commit(context, || async {
            let nodes = targets(context, &request).await?;
            let sent =
                context.server.with_ids(|ids| commands::send_command(&request, document, &nodes, context.now, ids));
            let (command, changes) = sent?;
            let mut changes = changes.map(Write::from);
            let arn = context.scope.ssm_arn(&format!("command/{}", command.command_id));
            let null = serde_json::Value::Null;
            // Parameters may hold secrets; they are kept with the command, which the record names.
            let recorded = Command { parameters: GivenParameters::new(), ..command.clone() };
            changes.audit.push(context.audit("ssm:SendCommand", arn, &null, &recorded));
            Ok((changes, command))
        })
        .await?;
        context.server.wake();
        Ok(SendCommandResult { command: Some(shown_command(&command)) })
    }
}

fn refuse_unsupported(input: &SendCommandRequest) -> Result<(), Error> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let notifies = |config: &NotificationConfig| {
        let events = config.notification_events.as_ref().is_some_and(|events| !events.is_empty());
        events || given(&config.notification_arn) || given(&config.notification_type)
    };
    let cloud_watch = input.cloud_watch_output_config.as_ref();
    let alarms = input.alarm_configuration.as_ref().and_then(|config| config.alarms.as_ref());
    let notification = input.notification_config.as_ref();
    // OutputS3Region is deprecated and has no effect in AWS either.
    Ok(commands::refuse_unsupported(&[
        ("OutputS3BucketName", given(&input.output_s3_bucket_name)),
        ("OutputS3KeyPrefix", given(&input.output_s3_key_prefix)),
        ("ServiceRoleArn", given(&input.service_role_arn)),
        ("NotificationConfig", notification.is_some_and(notifies)),
        ("CloudWatchOutputConfig", cloud_watch.is_some_and(|config| config.cloud_watch_output_enabled == Some(true))),
        ("AlarmConfiguration", alarms.is_some_and(|alarms| !alarms.is_empty())),
    ])?)
}

fn request(context: &Context, input: SendCommandRequest) -> CommandRequest {
    let target = |target: aws_wire::ssm::Target| Target {
        key: target.key.unwrap_or_default(),
        values: target.values.unwrap_or_default(),
    };
    CommandRequest {
        document_version: input.document_version,
        document_hash: input.document_hash,
        document_hash_type: input.document_hash_type,
        comment: input.comment,
        parameters: input.parameters.map(aws_wire::Sensitive::into_exposed).unwrap_or_default(),
        instance_ids: input.instance_ids.unwrap_or_default(),
        targets: input.targets.unwrap_or_default().into_iter().map(target).collect(),
        timeout_seconds: input.timeout_seconds.map(i64::from),
        max_concurrency: input.max_concurrency,
        max_errors: input.max_errors,
        requested_by: context.principal.to_string(),
        request_id: context.request_id.to_string(),
    }
}

/// The nodes that a request means, as they are now: a command does not reach nodes that join later.
async fn targets(context: &Context, request: &CommandRequest) -> Result<Vec<TargetNode>, Error> {
    if !request.instance_ids.is_empty() {
        let mut found = Vec::new();
        for id in request.instance_ids.iter().filter_map(|id| NodeId::parse(id).ok()) {
            let node = context.server.store.node_get(&context.scope, &id).await?.row;
            found.extend(node.filter(|node| node.state == NodeState::Registered).map(|node| target_node(&node)));
        }
        return Ok(found);
    }
    let selectors = commands::parse_targets(&request.targets)?;
    let fleet = snapshot::fleet(context).await?;
    let meant = |member: &&Member| commands::selects(&selectors, &member.node.node_id, &member.tags);
    Ok(fleet.iter().filter(meant).map(|member| target_node(&member.node)).collect())
}

fn target_node(node: &nodes::ManagedNode) -> TargetNode {
    TargetNode {
        node_id: node.node_id.clone(),
        name: node.name.clone(),
        platform: match node.facts.platform_type {
            PlatformType::Linux => Platform::Linux,
            PlatformType::MacOS => Platform::MacOS,
            PlatformType::Windows => Platform::Windows,
        },
    }
}
