use askama::Template;
use control::views::{FleetFilter, FleetNode, FleetView, Knowledge};
use identifiers::Timestamp;
use nodes::PingStatus;

use super::{
    Choice, Frame, Person,
    text::{NAME_CHARS, When, clean, counted},
};

/// The fleet.
#[derive(Template)]
#[template(path = "fleet.html")]
pub(crate) struct Fleet {
    frame: Frame,
    heading: String,
    now: String,
    cards: Vec<Card>,
    choices: Vec<Choice>,
    nodes: Vec<NodeLine>,
    /// Whether there is any node at all.
    empty: bool,
    next: Option<String>,
}

/// A number over the fleet.
struct Card {
    figure: String,
    what: String,
    tone: &'static str,
}

/// A node in the list.
struct NodeLine {
    id: String,
    host: String,
    name: String,
    ping: &'static str,
    ping_tone: &'static str,
    /// Beside the state of a node that does not answer: since when.
    silent: String,
    platform: String,
    patch_group: String,
    /// `None`: it has never reported.
    patches: Option<PatchCounts>,
}

/// The counts of the last report.
struct PatchCounts {
    missing: u32,
    security: u32,
    failed: u32,
    pending_reboot: u32,
    rejected: u32,
    reported_at: When,
    stale: bool,
}

impl Fleet {
    pub(crate) fn new(person: &Person, view: FleetView, now: Timestamp) -> Self {
        let totals = &view.totals;
        let word = match view.filter {
            FleetFilter::All => "Fleet",
            FleetFilter::Attention => "Nodes that need attention",
            FleetFilter::NonCompliant => "Nodes that do not comply",
            FleetFilter::Lost => "Nodes that do not answer",
            FleetFilter::NeverReported => "Nodes that never reported",
            FleetFilter::Stale => "Nodes with an old report",
        };
        Self {
            frame: Frame::of(person, "fleet", None),
            heading: word.to_owned(),
            now: now.to_human(),
            cards: cards(&view),
            choices: choices(&view),
            empty: totals.nodes == 0,
            nodes: view.nodes.into_iter().map(|node| line(node, now)).collect(),
            next: view.next.map(|token| format!("/console?show={}&after={token}", filter_name(view.filter))),
        }
    }
}

/// What a filter is called in an address.
fn filter_name(filter: FleetFilter) -> &'static str {
    match filter {
        FleetFilter::All => "all",
        FleetFilter::Attention => "attention",
        FleetFilter::NonCompliant => "non-compliant",
        FleetFilter::Lost => "lost",
        FleetFilter::NeverReported => "never-reported",
        FleetFilter::Stale => "stale",
    }
}

/// The filter of an address; anything unknown shows all.
pub(crate) fn filter_of(name: &str) -> FleetFilter {
    let filters = [
        FleetFilter::Attention,
        FleetFilter::NonCompliant,
        FleetFilter::Lost,
        FleetFilter::NeverReported,
        FleetFilter::Stale,
    ];
    filters.into_iter().find(|filter| filter_name(*filter) == name).unwrap_or_default()
}

fn cards(view: &FleetView) -> Vec<Card> {
    let totals = &view.totals;
    // A number over nodes of which nothing is known would read as "none": it says so instead.
    let reported = totals.nodes - totals.never_reported;
    let unknown = match totals.never_reported {
        0 => String::new(),
        some => format!("; unknown on {}", counted(some, "node", "nodes")),
    };
    let over_reports = |number: u64, what: &str, tone: &'static str| {
        let (figure, tone) = match (number, reported, totals.never_reported) {
            (_, 0, _) => ("unknown".to_owned(), "warn"),
            (0, _, 0) => ("0".to_owned(), "good"),
            (0, ..) => ("0".to_owned(), "warn"),
            _ => (number.to_string(), tone),
        };
        Card { figure, what: format!("{what}{unknown}"), tone }
    };
    let over_nodes = |number: u64, what: &str, tone: &'static str| Card {
        figure: number.to_string(),
        what: what.to_owned(),
        tone: if number == 0 { "" } else { tone },
    };
    if totals.nodes == 0 {
        return Vec::new();
    }
    vec![
        over_reports(totals.security, "security patches not in force", "bad"),
        over_reports(totals.missing, "patches missing", "bad"),
        over_reports(totals.failed, "installations failed", "bad"),
        over_reports(totals.pending_reboot, "patches wait for a reboot", "warn"),
        over_nodes(totals.lost, "nodes do not answer", "bad"),
        over_nodes(totals.never_reported + totals.stale, "nodes without a recent report", "warn"),
    ]
}

fn choices(view: &FleetView) -> Vec<Choice> {
    let totals = &view.totals;
    let choice = |filter: FleetFilter, label: &'static str, tone: &'static str, count: u64| Choice {
        label,
        link: format!("/console?show={}", filter_name(filter)),
        tone: if count == 0 { "" } else { tone },
        count,
        current: view.filter == filter,
    };
    vec![
        choice(FleetFilter::All, "All", "", totals.nodes),
        choice(FleetFilter::Attention, "Need attention", "warn", totals.attention),
        choice(FleetFilter::NonCompliant, "Not compliant", "bad", totals.non_compliant),
        choice(FleetFilter::Lost, "Connection lost", "bad", totals.lost),
        choice(FleetFilter::NeverReported, "Never reported", "warn", totals.never_reported),
        choice(FleetFilter::Stale, "Report older than a week", "warn", totals.stale),
    ]
}

fn line(node: FleetNode, now: Timestamp) -> NodeLine {
    let FleetNode { member, ping_status, patch_group, knowledge } = node;
    let facts = &member.node.facts;
    let (ping, ping_tone) = super::node::ping(ping_status);
    let silent = match (&member.ping, ping_status) {
        _ if member.node.held.is_some() => "held: two hosts connect with its key".to_owned(),
        (_, PingStatus::Online) => String::new(),
        (None, _) => "never heard of".to_owned(),
        (Some(ping), _) => format!("last heard of {}", super::text::age(ping.last_ping_at, now)),
    };
    NodeLine {
        id: member.node.node_id.to_string(),
        host: super::node::host_name(&member.node),
        name: clean(&member.node.name, NAME_CHARS),
        ping,
        ping_tone,
        silent,
        platform: clean(&format!("{} {}", facts.platform_name, facts.platform_version), NAME_CHARS),
        patch_group: patch_group.map_or_else(String::new, |group| clean(group.as_str(), NAME_CHARS)),
        patches: member.patches.map(|summary| PatchCounts {
            missing: summary.missing_count,
            security: summary.security_non_compliant_count,
            failed: summary.failed_count,
            pending_reboot: summary.installed_pending_reboot_count,
            rejected: summary.installed_rejected_count,
            reported_at: When::new(summary.ended_at, now),
            stale: knowledge == Knowledge::Stale,
        }),
    }
}
