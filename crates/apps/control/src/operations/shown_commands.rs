//! Commands and invocations as the answers show them, with the empty members that AWS gives.

use aws_wire::{
    Sensitive,
    ssm::{self, CloudWatchOutputConfig, NotificationConfig},
};
use commands::{Command, Invocation, StepOutcome, StepOutput};
use identifiers::Timestamp;

fn count(count: u32) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

fn empty() -> Option<String> {
    Some(String::new())
}

/// Command outputs do not go to CloudWatch.
pub(super) fn no_cloud_watch() -> Option<CloudWatchOutputConfig> {
    Some(CloudWatchOutputConfig { cloud_watch_log_group_name: empty(), cloud_watch_output_enabled: Some(false) })
}

fn no_notification() -> Option<NotificationConfig> {
    Some(NotificationConfig {
        notification_arn: empty(),
        notification_events: Some(Vec::new()),
        notification_type: empty(),
    })
}

/// A command.
pub(super) fn shown_command(command: &Command) -> ssm::Command {
    let target =
        |target: &commands::Target| ssm::Target { key: Some(target.key.clone()), values: Some(target.values.clone()) };
    ssm::Command {
        command_id: Some(command.command_id.to_string()),
        document_name: Some(command.document_name.to_string()),
        document_version: Some(command.document_version.clone()),
        comment: Some(command.comment.clone()),
        expires_after: Some(command.expires_at.into()),
        parameters: Some(Sensitive::from(command.parameters.clone())),
        instance_ids: Some(command.instance_ids.iter().map(ToString::to_string).collect()),
        targets: Some(command.targets.iter().map(target).collect()),
        requested_date_time: Some(command.requested_at.into()),
        status: Some(command.state.status().to_owned()),
        status_details: Some(command.state.status_details().to_owned()),
        output_s3_bucket_name: empty(),
        output_s3_key_prefix: empty(),
        max_concurrency: Some(command.max_concurrency.to_string()),
        max_errors: Some(command.max_errors.to_string()),
        target_count: count(command.target_count),
        completed_count: count(command.completed_count),
        error_count: count(command.error_count),
        delivery_timed_out_count: count(command.delivery_timed_out_count),
        service_role: empty(),
        notification_config: no_notification(),
        cloud_watch_output_config: no_cloud_watch(),
        timeout_seconds: i32::try_from(command.delivery_timeout_seconds).ok(),
        ..ssm::Command::default()
    }
}

/// An invocation; `outputs` are those of its steps where details are wanted.
pub(super) fn shown_invocation(
    command: &Command,
    invocation: &Invocation,
    outputs: Option<&[StepOutput]>,
) -> ssm::CommandInvocation {
    let plugins = match outputs {
        Some(outputs) => invocation.steps.iter().map(|step| shown_plugin(step, outputs)).collect(),
        None => Vec::new(),
    };
    ssm::CommandInvocation {
        command_id: Some(command.command_id.to_string()),
        instance_id: Some(invocation.node_id.to_string()),
        instance_name: Some(invocation.instance_name.clone()),
        comment: Some(command.comment.clone()),
        document_name: Some(command.document_name.to_string()),
        document_version: Some(command.document_version.clone()),
        requested_date_time: Some(invocation.requested_at.into()),
        status: Some(invocation.state.status().to_owned()),
        status_details: Some(invocation.state.status_details().to_owned()),
        trace_output: Some(invocation.trace.chars().take(commands::LISTED_CHARS_MAX).collect()),
        standard_output_url: empty(),
        standard_error_url: empty(),
        command_plugins: Some(plugins),
        service_role: empty(),
        notification_config: no_notification(),
        cloud_watch_output_config: no_cloud_watch(),
    }
}

fn shown_plugin(step: &StepOutcome, outputs: &[StepOutput]) -> ssm::CommandPlugin {
    let output = outputs.iter().find(|output| output.step == step.name).filter(|_| step.status.is_ended());
    ssm::CommandPlugin {
        name: Some(step.name.clone()),
        status: Some(step.status.status().to_owned()),
        status_details: Some(step.status.status_details().to_owned()),
        response_code: i32::try_from(step.response_code).ok(),
        response_start_date_time: step.started_at.map(Into::into),
        response_finish_date_time: step.finished_at.map(Into::into),
        output: Some(output.map(StepOutput::listed).unwrap_or_default()),
        standard_output_url: empty(),
        standard_error_url: empty(),
        output_s3_region: empty(),
        output_s3_bucket_name: empty(),
        output_s3_key_prefix: empty(),
    }
}

/// An ISO 8601 duration in seconds with milliseconds, e.g. `PT0.091S`; empty until both ends are known.
pub(super) fn elapsed(from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    let (Some(from), Some(until)) = (from, until) else { return String::new() };
    let millis = until.micros_since(from).max(0) / 1000;
    match (millis / 1000, millis % 1000) {
        (seconds, 0) => format!("PT{seconds}S"),
        (seconds, millis) => format!("PT{seconds}.{millis:03}S"),
    }
}
