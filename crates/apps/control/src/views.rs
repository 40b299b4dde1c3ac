//! What the console reads: plain values over the store, for people's eyes. Each function authorises its caller for the
//! matching read of the API before it reads anything. Nothing here is turned into text; that is the console's.
//!
//! Long listings come in pages; their tokens are sealed positions as those of the API are.

use std::collections::BTreeMap;

use commands::{Command, Invocation, OutputPosition, StepOutput};
use identifiers::{CommandId, NodeId, PatchGroupName, Timestamp};
use nodes::{ManagedNode, PingStatus, ResourceType, Tags, patch_group_of, ping_status};
use packages::{Distribution, OperatingSystem};
use patching::{EffectiveBaseline, PackageChange, PatchRow, PatchState, PatchSummary};
use store::{
    CommandKey, CommandQuery, InvocationKey, InvocationQuery, ListedNode, NodeQuery, Order, PackageChanged, PatchQuery,
};

use crate::{
    Context, Error, call::authorise, live_output, live_output::NewOutput, pages::Page, settings::HEARTBEAT_SECONDS,
    snapshot,
};

pub use crate::snapshot::Member;

/// A patch report older than this no longer says how a node is, in seconds: a week, the widest usual interval of scans.
pub const REPORT_STALE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Nodes read at once while the fleet is counted.
const NODES_BATCH: u32 = 1_000;
/// Nodes on one page.
const NODES_PAGE: usize = 100;
/// Patches on one page.
const PATCHES_PAGE: usize = 300;
/// Changed packages on the page of a node, and on a page of its history.
const CHANGES_SHORT: usize = 20;
const CHANGES_PAGE: usize = 200;
/// Commands on the page of a node, and on a page of commands.
const COMMANDS_SHORT: usize = 15;
const COMMANDS_PAGE: usize = 50;
/// Invocations on the page of a command.
const INVOCATIONS_PAGE: usize = 100;

/// How much is known of a node's patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The last report is at most [`REPORT_STALE_SECONDS`] old.
    Fresh,
    /// The last report is older.
    Stale,
    /// There has been no report.
    Never,
}

/// Which nodes of the fleet are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FleetFilter {
    /// All.
    #[default]
    All,
    /// Those of which something is to be done: not compliant, lost, or nothing recent known.
    Attention,
    /// Those with patches that keep them from complying.
    NonCompliant,
    /// Those that do not answer.
    Lost,
    /// Those that never reported their patches.
    NeverReported,
    /// Those whose last report is old.
    Stale,
}

/// One node of the fleet.
pub struct FleetNode {
    /// The node with its tags and its last counts.
    pub member: Member,
    /// Whether it answers.
    pub ping_status: PingStatus,
    /// The patch group its tags put it in.
    pub patch_group: Option<PatchGroupName>,
    /// How much is known of its patches.
    pub knowledge: Knowledge,
}

/// Sums over the whole fleet. Those over patches count only what was reported; how many nodes say nothing is beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FleetTotals {
    /// Registered nodes.
    pub nodes: u64,
    /// Those that [`FleetFilter::Attention`] shows.
    pub attention: u64,
    /// Those that do not answer.
    pub lost: u64,
    /// Those that never reported.
    pub never_reported: u64,
    /// Those whose last report is old.
    pub stale: u64,
    /// Those with patches that keep them from complying.
    pub non_compliant: u64,
    /// Approved patches that are absent.
    pub missing: u64,
    /// Patches whose installation failed.
    pub failed: u64,
    /// Patches that wait for a reboot.
    pub pending_reboot: u64,
    /// Security patches that keep their node from complying, in whichever state.
    pub security: u64,
}

/// The fleet.
pub struct FleetView {
    /// The sums over all nodes.
    pub totals: FleetTotals,
    /// What is shown.
    pub filter: FleetFilter,
    /// A page of it, by node id.
    pub nodes: Vec<FleetNode>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// Which of a node's patches are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PatchFilter {
    /// Those that keep the node from complying.
    #[default]
    Attention,
    /// All.
    All,
    /// Those in one state.
    In(PatchState),
}

/// A package that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageHistory {
    /// The inventory that showed it.
    pub at: Timestamp,
    /// The command that did it; `None`: another tool or a person.
    pub command_id: Option<CommandId>,
    /// Which package, from which version to which.
    pub change: PackageChange,
}

/// A command on one node.
#[derive(Debug, Clone)]
pub struct NodeCommand {
    /// The order.
    pub command: Command,
    /// What became of it on this node.
    pub invocation: Invocation,
}

/// One node.
pub struct NodeView {
    /// The node with its tags and its last counts.
    pub member: Member,
    /// Whether it answers.
    pub ping_status: PingStatus,
    /// The patch group its tags put it in.
    pub patch_group: Option<PatchGroupName>,
    /// How much is known of its patches.
    pub knowledge: Knowledge,
    /// The run that the counts come from.
    pub reported_by: Option<CommandId>,
    /// The baseline that governs it, and why; `None`: baselines do not know its distribution.
    pub baseline: Option<EffectiveBaseline>,
    /// Which of its patches are shown.
    pub filter: PatchFilter,
    /// A page of them, by name and architecture.
    pub patches: Vec<PatchRow>,
    /// The token of their next page.
    pub patches_next: Option<String>,
    /// The newest changes of packages.
    pub changes: Vec<PackageHistory>,
    /// Whether there are older ones.
    pub changes_more: bool,
    /// The newest commands.
    pub commands: Vec<NodeCommand>,
    /// Whether there are older ones.
    pub commands_more: bool,
    /// Whether a command is waiting for it or running on it.
    pub busy: bool,
}

/// The changes of a node's packages.
pub struct HistoryView {
    /// The node.
    pub node: ManagedNode,
    /// A page of them, newest first.
    pub changes: Vec<PackageHistory>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// Commands.
pub struct CommandsView {
    /// Only those for this node.
    pub node: Option<ManagedNode>,
    /// A page of them, newest first.
    pub commands: Vec<Command>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// One command.
pub struct CommandView {
    /// The order.
    pub command: Command,
    /// A page of what became of it, by node id downwards.
    pub invocations: Vec<Invocation>,
    /// The host names of these nodes, as far as they are known.
    pub hosts: BTreeMap<NodeId, String>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// One command on one node.
pub struct InvocationView {
    /// The order.
    pub command: Command,
    /// What became of it there.
    pub invocation: Invocation,
    /// The node's host name; empty where it is not known any more.
    pub host: String,
    /// What the steps wrote.
    pub outputs: Vec<StepOutput>,
    /// Which packages it changed.
    pub changes: Vec<PackageHistory>,
    /// What has come of its output while it is not over.
    pub live: Option<NewOutput>,
}

/// The whole fleet counted, and a page of the nodes that `filter` means.
///
/// # Errors
/// `AccessDeniedException`; `ValidationException` for a token of another question; when the store cannot be read.
pub async fn fleet(context: &Context, filter: FleetFilter, after: Option<&str>) -> Result<FleetView, Error> {
    for action in ["ssm:DescribeInstanceInformation", "ssm:DescribeInstancePatchStates", "ssm:ListTagsForResource"] {
        authorise(context, action, vec![context.scope.ssm_arn("managed-instance/*")]).await?;
    }
    let question = format!("{filter:?}");
    let page = Page::open(context, "console/fleet", &question, after, NODES_PAGE, "ValidationException")?;
    let beyond = page.after.as_ref().and_then(|key| key.first()).cloned().unwrap_or_default();
    let mut totals = FleetTotals::default();
    let mut rows = Vec::new();
    let mut query = NodeQuery { deregistered: false, node_ids: None, after: None, limit: NODES_BATCH };
    loop {
        let batch = context.server.store.node_list(&context.scope, &query).await?;
        query.after = batch.last().map(|row| row.node.row.node_id.clone());
        let complete = batch.len() < NODES_BATCH as usize;
        for row in batch {
            let shown = totals.count(context, &row, filter) && row.node.row.node_id.as_str() > beyond.as_str();
            if shown && rows.len() <= page.limit {
                rows.push(row);
            }
        }
        if complete {
            break;
        }
    }
    let key = |row: &ListedNode| vec![row.node.row.node_id.to_string()];
    let (rows, next) = page.cut(context, rows, key)?;
    let ids: Vec<String> = rows.iter().map(|row| row.node.row.node_id.to_string()).collect();
    let mut tags = context.server.store.tags_list(&context.scope, ResourceType::ManagedInstance, &ids).await?;
    let node = |row: ListedNode| {
        let tags = tags.remove(row.node.row.node_id.as_str()).unwrap_or_default();
        fleet_node(context, row, tags)
    };
    Ok(FleetView { totals, filter, nodes: rows.into_iter().map(node).collect(), next })
}

impl FleetTotals {
    /// Counts a node in; whether `filter` shows it.
    fn count(&mut self, context: &Context, row: &ListedNode, filter: FleetFilter) -> bool {
        let lost = ping_status(row.ping.as_ref(), context.now, HEARTBEAT_SECONDS) == PingStatus::ConnectionLost;
        let knowledge = knowledge(row.patch_summary.as_ref(), context.now);
        let non_compliant = row.patch_summary.as_ref().is_some_and(|summary| summary.non_compliant_count() > 0);
        let (never, stale) = (knowledge == Knowledge::Never, knowledge == Knowledge::Stale);
        let attention = lost || non_compliant || knowledge != Knowledge::Fresh;
        self.nodes += 1;
        self.attention += u64::from(attention);
        self.lost += u64::from(lost);
        self.never_reported += u64::from(never);
        self.stale += u64::from(stale);
        self.non_compliant += u64::from(non_compliant);
        if let Some(summary) = &row.patch_summary {
            self.missing += u64::from(summary.missing_count);
            self.failed += u64::from(summary.failed_count);
            self.pending_reboot += u64::from(summary.installed_pending_reboot_count);
            self.security += u64::from(summary.security_non_compliant_count);
        }
        match filter {
            FleetFilter::All => true,
            FleetFilter::Attention => attention,
            FleetFilter::NonCompliant => non_compliant,
            FleetFilter::Lost => lost,
            FleetFilter::NeverReported => never,
            FleetFilter::Stale => stale,
        }
    }
}

fn fleet_node(context: &Context, row: ListedNode, tags: Tags) -> FleetNode {
    FleetNode {
        ping_status: ping_status(row.ping.as_ref(), context.now, HEARTBEAT_SECONDS),
        patch_group: patch_group_of(&tags),
        knowledge: knowledge(row.patch_summary.as_ref(), context.now),
        member: Member { node: row.node.row, ping: row.ping, tags, patches: row.patch_summary },
    }
}

fn knowledge(summary: Option<&PatchSummary>, now: Timestamp) -> Knowledge {
    match summary {
        None => Knowledge::Never,
        Some(summary) if now.micros_since(summary.ended_at) > REPORT_STALE_SECONDS * 1_000_000 => Knowledge::Stale,
        Some(_) => Knowledge::Fresh,
    }
}

/// One node with the patches that `filter` means, its newest changes and commands.
///
/// # Errors
/// `InvalidInstanceId` for a node that is not registered; otherwise as [`fleet`].
pub async fn node(context: &Context, id: &str, filter: PatchFilter, after: Option<&str>) -> Result<NodeView, Error> {
    authorise_node(
        context,
        id,
        &[
            "ssm:DescribeInstanceInformation",
            "ssm:DescribeInstancePatchStates",
            "ssm:DescribeInstancePatches",
            "ssm:GetPatchBaselineForPatchGroup",
            "ssm:ListTagsForResource",
            "ssm:ListCommandInvocations",
            "careen:ListPackageChanges",
        ],
    )
    .await?;
    let found = snapshot::node(context, id).await?.row;
    let id = found.node_id.clone();
    let query = NodeQuery { deregistered: false, node_ids: Some(vec![id.clone()]), after: None, limit: 1 };
    let member = snapshot::members(context, &query).await?.pop();
    let member = member.unwrap_or(Member { node: found, ping: None, tags: Tags::new(), patches: None });
    let patch_group = patch_group_of(&member.tags);
    let baseline = match operating_system(&member.node) {
        Some(os) => Some(snapshot::effective_baseline(context, patch_group.as_ref(), os).await?),
        None => None,
    };
    let (store, scope) = (&context.server.store, &context.scope);
    let last = store.patch_summary_get(scope, &id).await?.row;
    let (patches, patches_next) = patches(context, &id, &filter, after).await?;
    let mut changes = changes(context, &id, None, CHANGES_SHORT + 1).await?;
    let mut commands = node_commands(context, &id, COMMANDS_SHORT + 1).await?;
    let busy = !store.invocation_list_open(scope, Some(vec![id.clone()]), None, 1).await?.is_empty();
    let changes_more = changes.len() > CHANGES_SHORT;
    let commands_more = commands.len() > COMMANDS_SHORT;
    changes.truncate(CHANGES_SHORT);
    commands.truncate(COMMANDS_SHORT);
    Ok(NodeView {
        ping_status: ping_status(member.ping.as_ref(), context.now, HEARTBEAT_SECONDS),
        knowledge: knowledge(member.patches.as_ref(), context.now),
        member,
        patch_group,
        reported_by: last.map(|last| last.command_id),
        baseline,
        filter,
        patches,
        patches_next,
        changes: changes.into_iter().map(history).collect(),
        changes_more,
        commands,
        commands_more,
        busy,
    })
}

/// The operating system that a node's baseline is chosen by; `None`: baselines do not know its distribution.
pub(crate) fn operating_system(node: &ManagedNode) -> Option<OperatingSystem> {
    OperatingSystem::of(&distribution(node))
}

fn distribution(node: &ManagedNode) -> Distribution {
    Distribution {
        id: node.facts.distribution_id.clone(),
        name: node.facts.platform_name.clone(),
        version_id: node.facts.distribution_version_id.clone(),
        codename: node.facts.distribution_codename.clone(),
        pretty_name: String::new(),
    }
}

async fn patches(
    context: &Context,
    id: &NodeId,
    filter: &PatchFilter,
    after: Option<&str>,
) -> Result<(Vec<PatchRow>, Option<String>), Error> {
    let question = (id, format!("{filter:?}"));
    let page = Page::open(context, "console/patches", &question, after, PATCHES_PAGE, "ValidationException")?;
    let states = match filter {
        PatchFilter::All => Vec::new(),
        PatchFilter::Attention => PatchState::ALL.iter().copied().filter(|state| state.is_non_compliant()).collect(),
        PatchFilter::In(state) => vec![*state],
    };
    let after = page.after.as_ref().and_then(|key| key.first()).cloned();
    let query = PatchQuery { states, after, ..PatchQuery::all(one_more(PATCHES_PAGE)) };
    let rows = context.server.store.patch_list(&context.scope, id, &query).await?;
    cut(context, &page, rows, |row| vec![row.kb_id()])
}

async fn node_commands(context: &Context, id: &NodeId, limit: usize) -> Result<Vec<NodeCommand>, Error> {
    let limit = u32::try_from(limit).unwrap_or(1);
    let query = InvocationQuery { node_ids: Some(vec![id.clone()]), ..InvocationQuery::all(limit) };
    let invocations = context.server.store.invocation_list(&context.scope, &query).await?;
    let query = CommandQuery { node_id: Some(id.clone()), ..CommandQuery::all(limit) };
    let commands = context.server.store.command_list(&context.scope, &query).await?.into_iter();
    let mut commands: BTreeMap<CommandId, Command> = commands.map(|c| (c.row.command_id.clone(), c.row)).collect();
    // A command that was sent between the two reads is left to the next look.
    let both = |invocation: Invocation| {
        commands.remove(&invocation.command_id).map(|command| NodeCommand { command, invocation })
    };
    Ok(invocations.into_iter().map(|found| found.row).filter_map(both).collect())
}

async fn changes(
    context: &Context,
    id: &NodeId,
    after: Option<&PackageChanged>,
    limit: usize,
) -> Result<Vec<PackageChanged>, Error> {
    let limit = u32::try_from(limit).unwrap_or(1);
    Ok(context.server.store.package_change_list(&context.scope, id, Order::NewestFirst, after, limit).await?)
}

fn history(changed: PackageChanged) -> PackageHistory {
    PackageHistory { at: changed.at, command_id: changed.command_id, change: changed.change }
}

/// The changes of a node's packages.
///
/// # Errors
/// As [`node`].
pub async fn package_history(context: &Context, id: &str, after: Option<&str>) -> Result<HistoryView, Error> {
    package_changes(context, id, after, CHANGES_PAGE, "ValidationException").await
}

/// [`package_history`] in pages of `limit`, with `invalid` as the error for a bad token.
pub(crate) async fn package_changes(
    context: &Context,
    id: &str,
    after: Option<&str>,
    limit: usize,
    invalid: &'static str,
) -> Result<HistoryView, Error> {
    authorise_node(context, id, &["ssm:DescribeInstanceInformation", "careen:ListPackageChanges"]).await?;
    let node = snapshot::node(context, id).await?.row;
    let page = Page::open(context, "ListPackageChanges", &node.node_id, after, limit, invalid)?;
    let last = page.after.as_deref().and_then(|key| changed_of(&node.node_id, key));
    let rows = changes(context, &node.node_id, last.as_ref(), limit + 1).await?;
    let (rows, next) = cut(context, &page, rows, changed_key)?;
    Ok(HistoryView { node, changes: rows.into_iter().map(history).collect(), next })
}

fn changed_key(changed: &PackageChanged) -> Vec<String> {
    let change = &changed.change;
    let version = |version: &Option<String>| version.clone().unwrap_or_default();
    vec![
        changed.at.as_micros().to_string(),
        change.name.clone(),
        change.architecture.clone(),
        version(&change.from),
        version(&change.to),
    ]
}

/// The place that [`changed_key`] wrote down. `None` is not reached: the token was sealed by this server.
fn changed_of(node: &NodeId, key: &[String]) -> Option<PackageChanged> {
    let [at, name, architecture, from, to] = key else { return None };
    let version = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (name, architecture) = (name.clone(), architecture.clone());
    let change = PackageChange { name, architecture, from: version(from), to: version(to) };
    Some(PackageChanged { node_id: node.clone(), at: instant(at)?, command_id: None, change })
}

/// Commands, newest first; with `node` only those for it.
///
/// # Errors
/// As [`fleet`]; `InvalidInstanceId` for a node that is not registered.
pub async fn commands(context: &Context, node: Option<&str>, after: Option<&str>) -> Result<CommandsView, Error> {
    authorise(context, "ssm:ListCommands", vec![context.scope.ssm_arn("*")]).await?;
    let node = match node {
        Some(id) => Some(snapshot::node(context, id).await?.row),
        None => None,
    };
    let node_id = node.as_ref().map(|node| node.node_id.clone());
    let page = Page::open(context, "console/commands", &node_id, after, COMMANDS_PAGE, "ValidationException")?;
    let after = match page.after.as_deref() {
        Some([at, id]) => instant(at).zip(CommandId::parse(id).ok()),
        _ => None,
    };
    let after = after.map(|(requested_at, command_id)| CommandKey { requested_at, command_id });
    let query = CommandQuery { node_id, after, ..CommandQuery::all(one_more(COMMANDS_PAGE)) };
    let rows = context.server.store.command_list(&context.scope, &query).await?;
    let rows: Vec<Command> = rows.into_iter().map(|found| found.row).collect();
    let key = |row: &Command| vec![row.requested_at.as_micros().to_string(), row.command_id.to_string()];
    let (commands, next) = cut(context, &page, rows, key)?;
    Ok(CommandsView { node, commands, next })
}

/// One command with a page of its invocations.
///
/// # Errors
/// `InvalidCommandId` where there is none; otherwise as [`fleet`].
pub async fn command(context: &Context, id: &str, after: Option<&str>) -> Result<CommandView, Error> {
    for action in ["ssm:ListCommands", "ssm:ListCommandInvocations"] {
        authorise(context, action, vec![context.scope.ssm_arn("*")]).await?;
    }
    let command = command_row(context, id).await?;
    let id = &command.command_id;
    let page = Page::open(context, "console/command", id, after, INVOCATIONS_PAGE, "ValidationException")?;
    let node = page.after.as_deref().and_then(|key| NodeId::parse(key.first()?).ok());
    let after =
        node.map(|node_id| InvocationKey { requested_at: command.requested_at, command_id: id.clone(), node_id });
    let all = InvocationQuery::all(one_more(INVOCATIONS_PAGE));
    let query = InvocationQuery { command_id: Some(id.clone()), after, ..all };
    let rows = context.server.store.invocation_list(&context.scope, &query).await?;
    let rows: Vec<Invocation> = rows.into_iter().map(|found| found.row).collect();
    let (invocations, next) = cut(context, &page, rows, |row| vec![row.node_id.to_string()])?;
    let ids: Vec<NodeId> = invocations.iter().map(|row| row.node_id.clone()).collect();
    let hosts = hosts(context, ids).await?;
    Ok(CommandView { command, invocations, hosts, next })
}

/// One command on one node with its output.
///
/// # Errors
/// `InvalidCommandId` or `InvocationDoesNotExist` where there is none; otherwise as [`fleet`].
pub async fn invocation(context: &Context, command: &str, node: &str) -> Result<InvocationView, Error> {
    let (command, invocation) = invocation_row(context, command, node).await?;
    authorise_node(context, node, &["careen:ListPackageChanges"]).await?;
    let (store, scope, node) = (&context.server.store, &context.scope, invocation.node_id.clone());
    let outputs = store.step_output_list(scope, &command.command_id, &node).await?;
    let changes = store.package_change_list_by_command(scope, &command.command_id, &node).await?;
    let host = hosts(context, vec![node.clone()]).await?.remove(&node).unwrap_or_default();
    let changes = changes.into_iter().map(history).collect();
    let beginning = OutputPosition::default();
    let live = match invocation.state.is_ended() {
        true => None,
        false => Some(live_output::since(context, &command, invocation.clone(), &beginning).await?),
    };
    Ok(InvocationView { command, invocation, host, outputs, changes, live })
}

/// A command and its invocation on a node.
pub(crate) async fn invocation_row(
    context: &Context,
    command: &str,
    node: &str,
) -> Result<(Command, Invocation), Error> {
    authorise_node(context, node, &["ssm:GetCommandInvocation"]).await?;
    let command = command_row(context, command).await?;
    let missing = || Error::new("InvocationDoesNotExist", "This command was not sent to this node.");
    let node = NodeId::parse(node).map_err(|_| missing())?;
    let found = context.server.store.invocation_get(&context.scope, &command.command_id, &node).await?;
    Ok((command, found.row.ok_or_else(missing)?))
}

/// A command by its id.
pub(crate) async fn command_row(context: &Context, id: &str) -> Result<Command, Error> {
    let missing = || Error::new("InvalidCommandId", "There is no such command in this account and region.");
    let id = CommandId::parse(id).map_err(|_| missing())?;
    context.server.store.command_get(&context.scope, &id).await?.row.ok_or_else(missing)
}

async fn hosts(context: &Context, ids: Vec<NodeId>) -> Result<BTreeMap<NodeId, String>, Error> {
    let limit = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let query = NodeQuery { deregistered: true, node_ids: Some(ids), after: None, limit };
    let rows = context.server.store.node_list(&context.scope, &query).await?.into_iter();
    Ok(rows.map(|row| (row.node.row.node_id, row.node.row.facts.computer_name)).collect())
}

async fn authorise_node(context: &Context, id: &str, actions: &[&str]) -> Result<(), Error> {
    for action in actions {
        authorise(context, action, vec![snapshot::node_arn(context, Some(id))]).await?;
    }
    Ok(())
}

fn instant(micros: &str) -> Option<Timestamp> {
    micros.parse().ok().map(Timestamp::from_micros)
}

fn one_more(rows: usize) -> u32 {
    u32::try_from(rows + 1).unwrap_or(u32::MAX)
}

/// Cuts what was read, one row more than a page, to the page; the rows are in the listing's order already.
fn cut<T>(
    context: &Context,
    page: &Page,
    mut rows: Vec<T>,
    key: impl Fn(&T) -> Vec<String>,
) -> Result<(Vec<T>, Option<String>), Error> {
    let more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let next = match rows.last() {
        Some(last) if more => Some(page.next(context, key(last))?),
        _ => None,
    };
    Ok((rows, next))
}
