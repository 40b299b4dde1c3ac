use askama::Template;
use control::views::{HistoryView, Knowledge, NodeCommand, NodeView, PackageHistory, PatchFilter};
use identifiers::{Scope, Timestamp};
use nodes::{ManagedNode, PingStatus};
use patching::{PatchRow, PatchState, PlanNote, Reason};

use super::{
    Choice, Frame, Notice, Person, status_tone,
    text::{NAME_CHARS, SENTENCE_CHARS, When, age, clean, sentence},
};

/// How soon the page of a node with a running command reads itself anew, in seconds.
const RELOAD_SECONDS: u32 = 5;
/// The same while the node does not answer.
const RELOAD_LOST_SECONDS: u32 = 30;

/// One node.
#[derive(Template)]
#[template(path = "node.html")]
pub(crate) struct Node {
    frame: Frame,
    id: String,
    host: String,
    name: String,
    platform: String,
    ping: &'static str,
    ping_tone: &'static str,
    notices: Vec<Notice>,
    counts: Option<Counts>,
    busy: bool,
    baseline: Option<BaselineLine>,
    patch_group: String,
    choices: Vec<Choice>,
    patches: Vec<PatchLine>,
    /// Said where `patches` is empty.
    no_patches: &'static str,
    patches_next: Option<String>,
    changes: Vec<ChangeLine>,
    changes_more: bool,
    commands: Vec<CommandLine>,
    commands_more: bool,
    facts: Facts,
    tags: Vec<String>,
}

/// The counts of the last report.
struct Counts {
    cards: Vec<(u32, &'static str, &'static str)>,
    operation: &'static str,
    reported_at: When,
    command_id: String,
}

/// The baseline that governs a node, and why.
struct BaselineLine {
    id: String,
    name: String,
    why: String,
    /// What of it has no effect here; empty: nothing.
    note: String,
}

/// A patch.
struct PatchLine {
    package: String,
    state: &'static str,
    tone: &'static str,
    installed: String,
    offered: String,
    /// Whether that version comes from a security archive, and how the baseline ranks it.
    class: String,
    reason: String,
}

/// A package that changed.
pub(super) struct ChangeLine {
    pub(super) at: When,
    pub(super) package: String,
    pub(super) what: &'static str,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) command_id: String,
}

/// A command that was sent to the node.
struct CommandLine {
    id: String,
    document: String,
    detail: String,
    status: &'static str,
    tone: &'static str,
    requested_at: When,
    by: String,
}

/// What is known of the host.
struct Facts {
    ip_address: String,
    architecture: String,
    agent_version: String,
    /// What the node's own policy restricts; empty: nothing.
    policy: String,
    last_ping_at: Option<When>,
    last_boot_at: Option<When>,
    registered_at: When,
    inventory_at: Option<When>,
    iam_role: String,
}

/// The name people know a node by: what it calls itself, else what it was registered as, else its id.
pub(super) fn host_name(node: &ManagedNode) -> String {
    let names = [node.facts.computer_name.as_str(), node.name.as_str(), node.node_id.as_str()];
    clean(names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(), NAME_CHARS)
}

/// Whether a node answers, in words, and the colour of it.
pub(super) fn ping(status: PingStatus) -> (&'static str, &'static str) {
    match status {
        PingStatus::Online => ("Online", "good"),
        PingStatus::ConnectionLost => ("Connection lost", "bad"),
    }
}

impl Node {
    /// `sent`: the command that was just sent from here.
    pub(crate) fn new(person: &Person, view: NodeView, scope: &Scope, now: Timestamp, sent: &str) -> Self {
        let node = &view.member.node;
        let id = node.node_id.to_string();
        let reload = match view.ping_status {
            PingStatus::Online => RELOAD_SECONDS,
            PingStatus::ConnectionLost => RELOAD_LOST_SECONDS,
        };
        let (ping, ping_tone) = ping(view.ping_status);
        let mut notices: Vec<Notice> = sent_notice(&view, sent).into_iter().collect();
        notices.extend(warnings(&view, now));
        let baseline = view.baseline.as_ref().map(|effective| BaselineLine {
            id: effective.baseline.public_id(&scope.region),
            name: clean(&effective.baseline.name, NAME_CHARS),
            why: sentence(&effective.why.to_string()),
            note: dates_note(effective).map_or_else(String::new, |note| sentence(&note.to_string())),
        });
        let facts = &node.facts;
        Self {
            frame: Frame::of(person, "fleet", view.busy.then_some(reload)),
            host: host_name(node),
            name: clean(&node.name, NAME_CHARS),
            platform: clean(&format!("{} {}", facts.platform_name, facts.platform_version), NAME_CHARS),
            ping,
            ping_tone,
            notices,
            counts: counts(&view, now),
            busy: view.busy,
            baseline,
            patch_group: view.patch_group.as_ref().map_or_else(String::new, |g| clean(g.as_str(), NAME_CHARS)),
            choices: choices(&view),
            patches: view.patches.iter().map(patch_line).collect(),
            no_patches: no_patches(&view),
            patches_next: view
                .patches_next
                .as_ref()
                .map(|token| format!("/console/nodes/{id}?state={}&after={token}#patches", filter_name(&view.filter))),
            changes: view.changes.iter().map(|change| change_line(change, now)).collect(),
            changes_more: view.changes_more,
            commands: view.commands.iter().map(|command| command_line(command, now)).collect(),
            commands_more: view.commands_more,
            facts: facts_of(&view, now),
            tags: view.member.tags.iter().map(|(key, value)| clean(&format!("{key}={value}"), NAME_CHARS)).collect(),
            id,
        }
    }
}

fn sent_notice(view: &NodeView, sent: &str) -> Option<Notice> {
    let known = view.commands.iter().find(|known| known.command.command_id.as_str() == sent)?;
    if known.invocation.state.is_ended() {
        return None;
    }
    let text = match view.ping_status {
        PingStatus::Online => "The command was sent.",
        PingStatus::ConnectionLost => "The command was accepted. It waits until the node answers, or expires.",
    };
    let link = format!("/console/commands/{sent}/{}", view.member.node.node_id);
    Some(Notice { link, ..Notice::new("good", text) })
}

/// What a reader of the page should know before any number on it.
fn warnings(view: &NodeView, now: Timestamp) -> Vec<Notice> {
    let mut notices = Vec::new();
    let node = &view.member.node;
    if let Some(held) = &node.held {
        notices.push(Notice::new(
            "bad",
            format!(
                "This node is held since {} ({}): nobody may connect as it, so it gets no orders. {} \
                 To release it, on the server: careen admin node release {}",
                age(held.at, now),
                held.at.to_human(),
                held.reason,
                node.node_id
            ),
        ));
    }
    match (&view.member.ping, view.ping_status) {
        (_, PingStatus::Online) => {}
        (None, _) => notices.push(Notice::new("bad", "This node has not been heard of since it was registered.")),
        (Some(ping), _) => notices.push(Notice::new(
            "bad",
            format!(
                "This node does not answer: last heard of {} ({}). What is shown here is from before.",
                age(ping.last_ping_at, now),
                ping.last_ping_at.to_human()
            ),
        )),
    }
    match (view.knowledge, &view.member.patches) {
        (Knowledge::Stale, Some(summary)) => notices.push(Notice::new(
            "warn",
            format!(
                "The last patch report is from {}: updates that came out since are not in it. Run a scan.",
                age(summary.ended_at, now)
            ),
        )),
        (Knowledge::Never, _) | (_, None) => notices
            .push(Notice::new("warn", "This node has never reported its patches: whether any are missing is unknown.")),
        (Knowledge::Fresh, Some(_)) => {}
    }
    let notes = view.member.patches.iter().flat_map(|summary| &summary.notes);
    for warning in notes.filter(|note| matches!(note, PlanNote::HostWarning { .. })) {
        notices.push(Notice::new("warn", sentence(&clean(&warning.to_string(), WARNING_CHARS))));
    }
    let Some(effective) = &view.baseline else {
        let id = clean(&node.facts.distribution_id, NAME_CHARS);
        let text =
            format!("Patch baselines do not know the distribution '{id}': this node's patches cannot be judged.");
        notices.push(Notice::new("bad", text));
        return notices;
    };
    let other = view.member.patches.as_ref().filter(|summary| summary.baseline_id != effective.baseline.id);
    if let Some(summary) = other {
        let text = format!(
            "The last report was made with another patch baseline ({}) than the one that governs now. Run a scan.",
            summary.baseline_id
        );
        notices.push(Notice::new("warn", text));
    }
    notices
}

/// A host's warning is cut after so many characters.
const WARNING_CHARS: usize = 500;

/// The note that a plan with this baseline would carry.
fn dates_note(effective: &patching::EffectiveBaseline) -> Option<PlanNote> {
    let dated = |rule: &patching::ApprovalRule| {
        rule.approve_after_days.is_some_and(|days| days > 0) || rule.approve_until_date.is_some()
    };
    let rules = (0u32..).zip(&effective.baseline.approval_rules);
    let rules: Vec<u32> = rules.filter(|(_, rule)| dated(rule)).map(|(number, _)| number).collect();
    let ignored = effective.baseline.operating_system.uses_apt() && !rules.is_empty();
    ignored.then_some(PlanNote::ApprovalDatesIgnored { rules })
}

fn counts(view: &NodeView, now: Timestamp) -> Option<Counts> {
    let summary = view.member.patches.as_ref()?;
    // Where the report is old, its zeroes are no good news.
    let none = if view.knowledge == Knowledge::Fresh { "good" } else { "" };
    let card = |count: u32, what: &'static str, tone: &'static str, none: &'static str| {
        (count, what, if count > 0 { tone } else { none })
    };
    let mut cards = vec![
        card(summary.missing_count, "missing", "bad", none),
        card(summary.failed_count, "failed", "bad", ""),
        card(summary.installed_pending_reboot_count, "wait for a reboot", "warn", ""),
        card(summary.installed_count, "installed, approved", "", ""),
        card(summary.installed_other_count, "installed, not approved", "", ""),
    ];
    if summary.installed_rejected_count > 0 {
        cards.insert(3, card(summary.installed_rejected_count, "installed, rejected", "bad", ""));
    }
    let command_id = view.reported_by.as_ref().map_or_else(String::new, ToString::to_string);
    let reported_at = When::new(summary.ended_at, now);
    Some(Counts { cards, operation: summary.operation.as_str(), reported_at, command_id })
}

/// What a filter is called in an address.
fn filter_name(filter: &PatchFilter) -> &'static str {
    match filter {
        PatchFilter::Attention => "attention",
        PatchFilter::All => "all",
        PatchFilter::In(state) => state.wire_name(),
    }
}

/// The filter of an address; anything unknown shows what needs attention.
pub(crate) fn filter_of(name: &str) -> PatchFilter {
    match name {
        "all" => PatchFilter::All,
        other => PatchState::parse(other).map_or(PatchFilter::Attention, PatchFilter::In),
    }
}

fn choices(view: &NodeView) -> Vec<Choice> {
    let Some(summary) = &view.member.patches else { return Vec::new() };
    let choice = |filter: PatchFilter, label: &'static str, tone: &'static str, count: u32| Choice {
        label,
        link: format!("/console/nodes/{}?state={}#patches", view.member.node.node_id, filter_name(&filter)),
        tone: if count == 0 { "" } else { tone },
        count: u64::from(count),
        current: view.filter == filter,
    };
    let attention = summary.non_compliant_count();
    let all = attention + summary.installed_count + summary.installed_other_count;
    let mut choices = vec![choice(PatchFilter::Attention, "Need attention", "warn", attention)];
    for (state, count) in [
        (PatchState::Missing, summary.missing_count),
        (PatchState::Failed, summary.failed_count),
        (PatchState::InstalledPendingReboot, summary.installed_pending_reboot_count),
        (PatchState::InstalledRejected, summary.installed_rejected_count),
        (PatchState::Installed, summary.installed_count),
        (PatchState::InstalledOther, summary.installed_other_count),
    ] {
        choices.push(choice(PatchFilter::In(state), state_label(state), patch_tone(state), count));
    }
    choices.push(choice(PatchFilter::All, "All", "", all));
    choices
}

fn no_patches(view: &NodeView) -> &'static str {
    match (view.knowledge, &view.filter) {
        (Knowledge::Never, _) => "Nothing has been reported yet.",
        (Knowledge::Fresh, PatchFilter::Attention) => "Nothing needs attention: every approved patch is in force.",
        (Knowledge::Stale, PatchFilter::Attention) => "Nothing needed attention at the time of the last report.",
        (_, PatchFilter::All) => "The last report lists no packages.",
        (_, PatchFilter::In(_)) => "None in this state.",
    }
}

fn state_label(state: PatchState) -> &'static str {
    match state {
        PatchState::Missing => "Missing",
        PatchState::Failed => "Failed",
        PatchState::InstalledPendingReboot => "Pending reboot",
        PatchState::InstalledRejected => "Installed, rejected",
        PatchState::Installed => "Installed",
        PatchState::InstalledOther => "Installed, other",
        PatchState::NotApplicable => "Not applicable",
        PatchState::AvailableSecurityUpdate => "Available security update",
    }
}

fn patch_tone(state: PatchState) -> &'static str {
    match state {
        PatchState::Missing | PatchState::Failed | PatchState::InstalledRejected => "bad",
        PatchState::InstalledPendingReboot => "warn",
        PatchState::Installed => "good",
        PatchState::InstalledOther | PatchState::NotApplicable | PatchState::AvailableSecurityUpdate => "",
    }
}

fn patch_line(row: &PatchRow) -> PatchLine {
    let level = match row.compliance_level {
        patching::ComplianceLevel::Unspecified => "",
        level => level.as_str(),
    };
    let class: Vec<&str> =
        [row.classification.as_str(), row.severity.as_str(), level].into_iter().filter(|t| !t.is_empty()).collect();
    PatchLine {
        package: clean(&row.kb_id(), NAME_CHARS),
        // A patch that is missing although no run will install it must not look like one that the next run closes.
        state: match (row.state, &row.reason) {
            (PatchState::Missing, Reason::Held) => "Missing, held",
            (PatchState::Missing, Reason::Phased { .. }) => "Missing, phased",
            (state, _) => state_label(state),
        },
        tone: patch_tone(row.state),
        installed: clean(&row.installed_version, NAME_CHARS),
        offered: row.available_version.as_deref().map_or_else(String::new, |version| clean(version, NAME_CHARS)),
        class: clean(&class.join(", "), NAME_CHARS),
        reason: sentence(&row.reason.to_string()),
    }
}

pub(super) fn change_line(changed: &PackageHistory, now: Timestamp) -> ChangeLine {
    let change = &changed.change;
    let version = |version: &Option<String>| version.as_deref().map_or_else(String::new, |v| clean(v, NAME_CHARS));
    ChangeLine {
        at: When::new(changed.at, now),
        package: clean(&format!("{}.{}", change.name, change.architecture), NAME_CHARS),
        what: match (&change.from, &change.to) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        },
        from: version(&change.from),
        to: version(&change.to),
        command_id: changed.command_id.as_ref().map_or_else(String::new, ToString::to_string),
    }
}

fn command_line(sent: &NodeCommand, now: Timestamp) -> CommandLine {
    let status = sent.invocation.state.status_details();
    CommandLine {
        id: sent.command.command_id.to_string(),
        document: sent.command.document_name.to_string(),
        detail: super::commands::detail(&sent.command),
        status,
        tone: status_tone(status),
        requested_at: When::new(sent.command.requested_at, now),
        by: clean(&sent.command.requested_by, NAME_CHARS),
    }
}

fn facts_of(view: &NodeView, now: Timestamp) -> Facts {
    let node = &view.member.node;
    let when = |at: Timestamp| When::new(at, now);
    let ping = view.member.ping.as_ref();
    Facts {
        ip_address: clean(&node.facts.ip_address, NAME_CHARS),
        architecture: clean(&node.facts.architecture, NAME_CHARS),
        agent_version: clean(&node.facts.agent_version, NAME_CHARS),
        policy: clean(&node.facts.policy, SENTENCE_CHARS),
        last_ping_at: ping.map(|ping| when(ping.last_ping_at)),
        last_boot_at: ping.and_then(|ping| ping.last_boot_at).map(when),
        registered_at: when(node.registered_at),
        inventory_at: node.inventory_at.map(when),
        iam_role: clean(&node.iam_role, NAME_CHARS),
    }
}

/// The changes of a node's packages.
#[derive(Template)]
#[template(path = "history.html")]
pub(crate) struct History {
    frame: Frame,
    id: String,
    host: String,
    changes: Vec<ChangeLine>,
    next: Option<String>,
}

impl History {
    pub(crate) fn new(person: &Person, view: &HistoryView, now: Timestamp) -> Self {
        let id = view.node.node_id.to_string();
        Self {
            frame: Frame::of(person, "fleet", None),
            host: host_name(&view.node),
            changes: view.changes.iter().map(|change| change_line(change, now)).collect(),
            next: view.next.as_ref().map(|token| format!("/console/nodes/{id}/history?after={token}")),
            id,
        }
    }
}
