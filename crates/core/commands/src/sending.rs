//! `SendCommand`: whether a command may be sent, and what it becomes.

use crate::command::{Command, GivenParameters};
use crate::documents::{Document, Platform};
use crate::parameters::{ParameterValues, check_parameters};
use crate::steps::{execution_timeout_seconds, resolve_steps};
use crate::write::command_aggregate;
use crate::{
    CommandState, EndState, Invocation, InvocationState, RESPONSE_CODE_UNKNOWN, RateLimit, Refused, StepOutcome,
    StepStatus, Target, Write, parse_targets, refuse_unsupported,
};
use changes::{Changes, Event, Revision};
use identifiers::{CommandId, IdSource, JobId, NodeId, Timestamp};
use std::collections::BTreeSet;

/// `TimeoutSeconds` when none is given.
pub const DELIVERY_TIMEOUT_SECONDS_DEFAULT: i64 = 3600;

/// `TimeoutSeconds` that the SSM model takes.
const DELIVERY_TIMEOUT_SECONDS: std::ops::RangeInclusive<i64> = 30..=2_592_000;

const COMMENT_CHARS_MAX: usize = 100;
const INSTANCE_IDS_MAX: usize = 50;

/// Parameters of a built-in document that its plugin cannot serve yet, by document name.
const UNSUPPORTED_PARAMETERS: [(&str, &[&str]); 1] =
    [("AWS-RunPatchBaseline", &["AssociationId", "SnapshotId", "InstallOverrideList", "BaselineOverride"])];

/// What `SendCommand` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandRequest {
    /// As given; see [`Document::check_version`].
    pub document_version: Option<String>,
    /// As given; see [`Document::check_hash`].
    pub document_hash: Option<String>,
    /// As given.
    pub document_hash_type: Option<String>,
    /// At most 100 characters.
    pub comment: Option<String>,
    /// As given.
    pub parameters: GivenParameters,
    /// Nodes by id, at most 50, as texts.
    pub instance_ids: Vec<String>,
    /// Nodes by other means; not beside ids.
    pub targets: Vec<Target>,
    /// 30 to 2592000 (thirty days).
    pub timeout_seconds: Option<i64>,
    /// As given.
    pub max_concurrency: Option<String>,
    /// As given.
    pub max_errors: Option<String>,
    /// Who asks.
    pub requested_by: String,
    /// The request.
    pub request_id: String,
}

/// A registered node that the request means: by its id, or because [`crate::selects`] says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetNode {
    /// Its id.
    pub node_id: NodeId,
    /// Its name for people: the host's.
    pub name: String,
    /// Its kind of operating system.
    pub platform: Platform,
}

/// Sends a command: the command itself and one invocation for every node, none of them begun.
///
/// `nodes` are the registered ones among those that the request means. Without any (of targets), the command is made all
/// the same and ends as NoInstancesInTag as soon as it is advanced. Nodes of targets whose platform the document does
/// not know get an invocation that is InvalidPlatform from the start.
///
/// # Errors
/// [`Refused::Validation`], [`Refused::InvalidParameters`], [`Refused::InvalidDocumentVersion`],
/// [`Refused::InvalidDocument`] and [`Refused::MaxDocumentSizeExceeded`] for what the request holds;
/// [`Refused::InvalidInstanceId`], [`Refused::DuplicateInstanceId`] and [`Refused::UnsupportedPlatformType`] for nodes named by
/// id.
pub fn send_command(
    request: &CommandRequest,
    document: &Document,
    nodes: &[TargetNode],
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Result<(Command, Changes<Write>), Refused> {
    check_request(request, document)?;
    let instance_ids = check_instance_ids(request, document, nodes)?;
    let values = check_parameters(document, &request.parameters)?;
    let mut nodes: Vec<&TargetNode> = nodes.iter().collect();
    nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    nodes.dedup_by(|a, b| a.node_id == b.node_id);

    let command = new_command(request, document, instance_ids, &values, &nodes, now, ids)?;
    let mut changes = Changes::new();
    changes.update(command_aggregate(&command.command_id), Revision::default());
    changes.events.push(Event {
        at: now,
        kind: "command.sent".to_owned(),
        subject: command.command_id.to_string(),
        body: serde_json::json!({"document": command.document_name.as_str(), "targets": command.target_count}),
    });
    changes.writes.push(Write::CommandPut(Box::new(command.clone())));
    for node in nodes {
        let invocation = new_invocation(&command, document, &values, node, ids);
        changes.writes.push(Write::InvocationPut(Box::new(invocation)));
    }
    Ok((command, changes))
}

fn check_request(request: &CommandRequest, document: &Document) -> Result<(), Refused> {
    document.check_version(request.document_version.as_deref())?;
    document.check_hash(request.document_hash.as_deref(), request.document_hash_type.as_deref())?;
    if request.comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARS_MAX) {
        return Err(Refused::Validation(format!("Comment has at most {COMMENT_CHARS_MAX} characters.")));
    }
    if let Some(seconds) = request.timeout_seconds.filter(|seconds| !DELIVERY_TIMEOUT_SECONDS.contains(seconds)) {
        return Err(Refused::Validation(format!(
            "1 validation error detected: Value '{seconds}' at 'timeoutSeconds' failed to satisfy constraint: Member must be \
             between {} and {}",
            DELIVERY_TIMEOUT_SECONDS.start(),
            DELIVERY_TIMEOUT_SECONDS.end()
        )));
    }
    let unsupported = UNSUPPORTED_PARAMETERS.iter().find(|(name, _)| *name == document.name.as_str());
    for name in unsupported.map_or(&[][..], |(_, names)| names) {
        let set = request.parameters.get(*name).is_some_and(|values| values.iter().any(|value| !value.is_empty()));
        refuse_unsupported(&[(&format!("Parameter {name}"), set)])?;
    }
    parse_targets(&request.targets)?;
    match (request.instance_ids.is_empty(), request.targets.is_empty()) {
        (true, true) => Err(Refused::Validation("Give InstanceIds or Targets.".to_owned())),
        (false, false) => Err(Refused::Validation("Give InstanceIds or Targets, not both.".to_owned())),
        _ => Ok(()),
    }
}

/// The nodes named by id: all of them must be registered, once, and of a platform that the document knows.
fn check_instance_ids(
    request: &CommandRequest,
    document: &Document,
    nodes: &[TargetNode],
) -> Result<Vec<NodeId>, Refused> {
    if request.instance_ids.len() > INSTANCE_IDS_MAX {
        return Err(Refused::Validation(format!("InstanceIds has at most {INSTANCE_IDS_MAX} elements.")));
    }
    let mut seen = BTreeSet::new();
    if !request.instance_ids.iter().all(|id| seen.insert(id)) {
        return Err(Refused::DuplicateInstanceId);
    }
    let mut instance_ids = Vec::new();
    let mut unknown = Vec::new();
    for text in &request.instance_ids {
        match nodes.iter().find(|node| node.node_id.as_str() == text) {
            Some(node) if document.platform_types.contains(&node.platform) => instance_ids.push(node.node_id.clone()),
            Some(node) => {
                return Err(Refused::UnsupportedPlatformType(format!(
                    "Document {} does not run on {} ({text}).",
                    document.name,
                    node.platform.as_str()
                )));
            }
            None => unknown.push(text.chars().take(64).collect::<String>()),
        }
    }
    if unknown.is_empty() {
        Ok(instance_ids)
    } else {
        Err(Refused::InvalidInstanceId(format!(
            "Instances [[{}]] not in a valid state for this account",
            unknown.join(", ")
        )))
    }
}

fn new_command(
    request: &CommandRequest,
    document: &Document,
    instance_ids: Vec<NodeId>,
    values: &ParameterValues,
    nodes: &[&TargetNode],
    now: Timestamp,
    ids: &mut dyn IdSource,
) -> Result<Command, Refused> {
    let platforms: BTreeSet<Platform> = nodes.iter().map(|node| node.platform).collect();
    let platforms: Vec<Platform> = platforms.into_iter().collect();
    let delivery_timeout_seconds = request.timeout_seconds.unwrap_or(DELIVERY_TIMEOUT_SECONDS_DEFAULT);
    let execution_timeout_seconds = execution_timeout_seconds(document, values, &platforms);
    let limit = |text: &Option<String>, default, parse: fn(&str) -> Result<RateLimit, Refused>| match text.as_deref() {
        None | Some("") => Ok(default),
        Some(text) => parse(text),
    };
    let max_concurrency =
        limit(&request.max_concurrency, RateLimit::CONCURRENCY_DEFAULT, RateLimit::parse_concurrency)?;
    let max_errors = limit(&request.max_errors, RateLimit::ERRORS_DEFAULT, RateLimit::parse_errors)?;
    Ok(Command {
        command_id: CommandId::generate(ids),
        document_name: document.name.clone(),
        document_version: request.document_version.clone().unwrap_or_default(),
        document_version_resolved: document.version.clone(),
        comment: request.comment.clone().unwrap_or_default(),
        parameters: request.parameters.clone(),
        instance_ids,
        targets: request.targets.clone(),
        delivery_timeout_seconds,
        execution_timeout_seconds,
        requested_at: now,
        delivery_until: now.plus_seconds(delivery_timeout_seconds),
        expires_at: now.plus_seconds(delivery_timeout_seconds.saturating_add(execution_timeout_seconds)),
        max_concurrency,
        max_errors,
        state: CommandState::Pending,
        target_count: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        completed_count: 0,
        error_count: 0,
        delivery_timed_out_count: 0,
        cancel_requested_at: None,
        finished_at: None,
        requested_by: request.requested_by.clone(),
        request_id: request.request_id.clone(),
    })
}

fn new_invocation(
    command: &Command,
    document: &Document,
    values: &ParameterValues,
    node: &TargetNode,
    ids: &mut dyn IdSource,
) -> Invocation {
    let runs = document.platform_types.contains(&node.platform);
    let pending = |name, plugin| StepOutcome {
        name,
        plugin,
        status: StepStatus::Pending,
        response_code: RESPONSE_CODE_UNKNOWN,
        started_at: None,
        finished_at: None,
    };
    let steps = resolve_steps(document, values, node.platform);
    let mut invocation = Invocation {
        command_id: command.command_id.clone(),
        node_id: node.node_id.clone(),
        instance_name: node.name.clone(),
        job_id: JobId::generate(ids),
        state: InvocationState::PENDING,
        trace: String::new(),
        requested_at: command.requested_at,
        sent_at: None,
        started_at: None,
        finished_at: None,
        delivery_until: command.delivery_until,
        expires_at: command.expires_at,
        steps: steps.into_iter().map(|step| pending(step.name, step.plugin)).collect(),
    };
    if !runs {
        invocation.state = InvocationState::Ended(EndState::InvalidPlatform);
        invocation.trace = format!("Document {} does not run on {}.", document.name, node.platform.as_str());
        invocation.finished_at = Some(command.requested_at);
        invocation.close_steps(EndState::InvalidPlatform);
    }
    invocation
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::built_in_document;
    use identifiers::SeededIds;

    pub(crate) fn now() -> Timestamp {
        Timestamp::from_seconds(1_000_000)
    }

    pub(crate) fn nodes(count: u32) -> Vec<TargetNode> {
        let node = |n| TargetNode {
            node_id: NodeId::parse(&format!("mi-{n:017x}")).unwrap(),
            name: format!("host-{n}"),
            platform: Platform::Linux,
        };
        (0..count).map(node).collect()
    }

    pub(crate) fn request() -> CommandRequest {
        CommandRequest {
            parameters: GivenParameters::from([("commands".to_owned(), vec!["uptime".to_owned()])]),
            targets: vec![Target { key: "InstanceIds".into(), values: vec!["*".into()] }],
            requested_by: "key/ADMIN".into(),
            ..Default::default()
        }
    }

    fn send(request: &CommandRequest, nodes: &[TargetNode]) -> Result<(Command, Changes<Write>), Refused> {
        let document = built_in_document("AWS-RunShellScript").unwrap();
        send_command(request, document, nodes, now(), &mut SeededIds::new(1))
    }

    /// A command for so many nodes.
    pub(crate) fn command(count: u32) -> Command {
        send(&request(), &nodes(count)).unwrap().0
    }

    /// Its invocations.
    pub(crate) fn invocations(command: &Command) -> Vec<Invocation> {
        let document = built_in_document("AWS-RunShellScript").unwrap();
        let values = check_parameters(document, &command.parameters).unwrap();
        let mut ids = SeededIds::new(2);
        nodes(command.target_count)
            .iter()
            .map(|node| new_invocation(command, document, &values, node, &mut ids))
            .collect()
    }

    #[test]
    fn a_command_is_one_row_and_an_invocation_for_each_node() {
        let (command, changes) = send(&request(), &nodes(3)).unwrap();
        assert_eq!(changes.read, [(command_aggregate(&command.command_id), Revision(0))]);
        assert_eq!(changes.writes.len(), 4);
        let jobs: BTreeSet<String> = changes
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::InvocationPut(invocation) => {
                    assert_eq!((invocation.state, invocation.steps.len()), (InvocationState::PENDING, 1));
                    assert_eq!(invocation.steps[0].response_code, -1);
                    Some(invocation.job_id.to_string())
                }
                _ => None,
            })
            .collect();
        assert_eq!(jobs.len(), 3);
        assert_eq!((command.state, command.target_count), (CommandState::Pending, 3));
        assert_eq!((command.max_concurrency, command.max_errors), (RateLimit::Count(50), RateLimit::Count(0)));
        assert_eq!(command.expires_at, now().plus_seconds(7200), "an hour to take it and an hour to run it");
        assert_eq!(send(&request(), &[]).unwrap().0.target_count, 0, "no node is no error");
    }

    #[test]
    fn a_request_is_refused_for_what_it_holds() {
        let by_id = |ids: &[&str]| CommandRequest {
            instance_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            targets: Vec::new(),
            ..request()
        };
        let (zero, one) = ("mi-00000000000000000", "mi-00000000000000001");
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (by_id(&[zero, one]), None),
            (by_id(&[zero, zero]), Some("DuplicateInstanceId")),
            (by_id(&[zero, "mi-00000000000000009"]), Some("InvalidInstanceId")),
            (by_id(&["i-12345678"]), Some("InvalidInstanceId")),
            (by_id(&[]), Some("ValidationException")),
            (CommandRequest { targets: request().targets, ..by_id(&[zero]) }, Some("ValidationException")),
            (CommandRequest { timeout_seconds: Some(29), ..request() }, Some("ValidationException")),
            (CommandRequest { timeout_seconds: Some(30), ..request() }, None),
            (CommandRequest { timeout_seconds: Some(2_592_001), ..request() }, Some("ValidationException")),
            (CommandRequest { comment: Some("c".repeat(101)), ..request() }, Some("ValidationException")),
            (CommandRequest { max_concurrency: text("0"), ..request() }, Some("ValidationException")),
            (CommandRequest { max_concurrency: text("10%"), max_errors: text("0"), ..request() }, None),
            (CommandRequest { max_errors: text("x"), ..request() }, Some("ValidationException")),
            (CommandRequest { document_version: text("1"), ..request() }, None),
            (CommandRequest { document_version: text("7"), ..request() }, Some("InvalidDocumentVersion")),
            (CommandRequest { document_hash: text("abc"), ..request() }, Some("InvalidDocument")),
            (CommandRequest { parameters: GivenParameters::new(), ..request() }, Some("InvalidParameters")),
        ];
        for (request, code) in cases {
            assert_eq!(send(&request, &nodes(2)).err().map(|e| e.code()), code, "{request:?}");
        }
    }

    #[test]
    fn a_foreign_platform_is_refused_by_id_and_noted_by_target() {
        let mut fleet = nodes(2);
        fleet[1].platform = Platform::Windows;
        let by_id =
            CommandRequest { instance_ids: vec![fleet[1].node_id.to_string()], targets: Vec::new(), ..request() };
        assert_eq!(send(&by_id, &fleet).unwrap_err().code(), "UnsupportedPlatformType");
        let (_, changes) = send(&request(), &fleet).unwrap();
        let Write::InvocationPut(second) = &changes.writes[2] else { panic!("{:?}", changes.writes) };
        assert_eq!(second.state, InvocationState::Ended(EndState::InvalidPlatform));
        assert!(second.trace.contains("Windows"));
    }

    #[test]
    fn patch_parameters_without_a_feature_are_refused_by_name() {
        let document = built_in_document("AWS-RunPatchBaseline").unwrap();
        for (name, value, code) in [
            ("RebootOption", "NoReboot", None),
            ("SnapshotId", "", None),
            ("SnapshotId", "6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab", Some("ValidationException")),
            ("InstallOverrideList", "https://example.org/a", Some("ValidationException")),
            ("BaselineOverride", "https://example.org/a", Some("ValidationException")),
        ] {
            let parameters = GivenParameters::from([
                ("Operation".to_owned(), vec!["Scan".to_owned()]),
                (name.to_owned(), vec![value.to_owned()]),
            ]);
            let request = CommandRequest { parameters, ..request() };
            let found = send_command(&request, document, &nodes(1), now(), &mut SeededIds::new(1));
            if let Err(refused) = &found {
                assert!(refused.to_string().contains(name), "{refused}");
            }
            assert_eq!(found.err().map(|e| e.code()), code, "{name}={value}");
        }
    }
}
