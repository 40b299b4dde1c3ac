//! The text of `/metrics`: as Prometheus reads it, bounded, and what dashboard and alerts ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use access::Principal;
use aws_wire::ssm::Operation;
use control::{Context, Process, operations};
use testkit::fleet::{Sending, SimulatedFleet};

use crate::support::{on_both, root, run, scope, with_fleet};

on_both! {
    a_fleet_at_work_is_counted: 3;
}

/// Samples as Prometheus' text format has them (<https://prometheus.io/docs/instrumenting/exposition_formats/>), read
/// strictly: what is not allowed there, or what `promtool check metrics` complains of, fails the test.
struct Read {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Read {
    fn new(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let (mut family, mut helped) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(words.ends_with('.') && !words.contains('\\'), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(helped, name, "HELP stands before TYPE");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
                name.clone_into(&mut family);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let base = match kinds[&family].as_str() {
                    "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)),
                    _ => Some(name),
                };
                assert_eq!(base, Some(family.as_str()), "{line}");
                if !labels.is_empty() {
                    for label in labels.strip_suffix('}').unwrap().split(',') {
                        let (name, value) = label.split_once('=').unwrap();
                        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap();
                        assert!(!value.is_empty() && !value.contains(['"', '\\', '{']), "{line}");
                    }
                }
                let value: f64 = value.parse().unwrap();
                assert!(value.is_finite() && samples.insert(series.to_owned(), value).is_none(), "{line}");
            }
        }
        let read = Self { kinds, samples };
        read.check_histograms();
        read
    }

    fn check_histograms(&self) {
        let mut before: (String, f64) = (String::new(), 0.0);
        let buckets = self.samples.keys().filter(|series| series.contains("le=\"+Inf\""));
        assert!(buckets.count() >= 2);
        // Grouped by all but `le`, in the order of the bounds.
        let mut sorted: Vec<(String, f64, f64)> = Vec::new();
        for (series, value) in self.samples.iter().filter(|(series, _)| series.contains("_bucket{")) {
            let (head, bound) = series.split_once("le=\"").unwrap();
            sorted.push((head.to_owned(), bound.trim_end_matches("\"}").parse().unwrap(), *value));
        }
        sorted.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for (head, bound, value) in sorted {
            assert!(head != before.0 || value >= before.1, "buckets are cumulative: {head} {bound}");
            if bound.is_infinite() {
                let count = head.replace("_bucket{", "_count{").trim_end_matches(',').to_owned();
                let count = if count.ends_with('{') { count.trim_end_matches('{').to_owned() } else { count + "}" };
                assert_eq!(self.samples.get(&count), Some(&value), "{count}");
            }
            before = (head, value);
        }
    }

    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples.keys()))
    }
}

async fn a_fleet_at_work_is_counted(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    fleet.send(&Sending::shell("true")).await.unwrap();
    fleet.activate().await.unwrap();
    for _ in 0..3 {
        fleet.go_well().await.unwrap();
        fleet.activate().await.unwrap();
    }
    let read = Read::new(&server.metrics_text(Process::default()).await);
    assert_eq!(read.value("careen_requests_total{operation=\"SendCommand\",code=\"OK\"}"), 1.0);
    assert_eq!(read.value("careen_request_duration_seconds_count{operation=\"SendCommand\"}"), 1.0);
    assert_eq!(read.value("careen_agents_connected"), 3.0);
    let orders = read.value("careen_orders_sent_total{kind=\"run\"}");
    assert!(orders >= 3.0, "an order is said again until it is answered");
    assert_eq!(read.value("careen_invocations_ended_total{state=\"Success\"}"), 3.0);
    assert_eq!(read.value("careen_commands_ended_total{state=\"Success\"}"), 1.0);
    assert_eq!(read.value("careen_reconciler_done_total{reconciler=\"dispatch\",what=\"orders\"}"), orders);
    assert!(read.value("careen_agent_messages_total{kind=\"job_finished\"}") >= 3.0);
    assert!(read.value("careen_store_writes_total{outcome=\"applied\"}") > 5.0);
    // The embedded database's own file grows when its write-ahead log is taken in.
    let ahead = read.samples.get("careen_store_write_ahead_bytes").copied().unwrap_or_default();
    assert!(read.value("careen_store_size_bytes") + ahead > 10_000.0);
    assert_eq!(read.value("careen_store_read_only"), 0.0);
    assert_eq!(read.value("careen_ready{check=\"database\"}"), 1.0);
}

#[test]
fn a_flood_of_strangers_and_nonsense_makes_no_more_series() {
    with_fleet(1, testkit::fleet::FleetDatabase::Sqlite, async |fleet| {
        let server = fleet.server().clone();
        let call = async |context: &Context, body: &str| {
            for operation in Operation::ALL {
                let _ = operations::answer_json(context, aws_wire::Operation::Ssm(*operation), body.as_bytes()).await;
            }
        };
        let context = |round: u32| {
            let account = format!("{:012}", round);
            let principal: Principal = root(&account);
            let region = format!("region-{round}");
            server.context(scope(&account, &region), principal, format!("192.0.2.{round}"))
        };
        for round in 0..3 {
            call(&context(round), "{}").await;
            call(&context(round), &format!("{{\"Name\":\"name-{round}\",\"DocumentName\":\"no-{round}\"}}")).await;
            call(&context(round), "nonsense").await;
        }
        let before = Read::new(&server.metrics_text(Process::default()).await).samples.len();
        for round in 3..30 {
            call(&context(round), "{}").await;
            call(&context(round), &format!("{{\"Name\":\"name-{round}\",\"DocumentName\":\"no-{round}\"}}")).await;
            call(&context(round), "nonsense").await;
        }
        let text = server.metrics_text(Process::default()).await;
        assert_eq!(Read::new(&text).samples.len(), before);
        assert!(!text.contains("region-") && !text.contains("192.0.2."));
    });
}

/// The names of metrics in expressions, without the ends that histograms add.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| ["careen_", "process_"].iter().any(|begin| word.starts_with(begin)));
    ours.map(str::to_owned).collect()
}

fn file(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../docs").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    run(async {
        let mut fleet = SimulatedFleet::new(testkit::fleet::FleetOptions::default()).await.unwrap();
        fleet.activate().await.unwrap();
        let kinds = Read::new(&fleet.server().metrics_text(Process::default()).await).kinds;
        let dashboard: serde_json::Value = serde_json::from_str(&file("grafana/careen.json")).unwrap();
        let mut expressions = Vec::new();
        let panels = dashboard["panels"].as_array().unwrap();
        for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
        assert!(expressions.len() > 25, "{}", expressions.len());
        let alerts = file("prometheus/careen-alerts.yml");
        expressions.extend(alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned));
        let mut used = BTreeSet::new();
        for name in expressions.iter().flat_map(|expression| names(expression)) {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let base = histogram.filter(|base| kinds.get(*base).is_some_and(|kind| kind == "histogram"));
            let base = base.unwrap_or(&name).to_owned();
            assert!(kinds.contains_key(&base), "{name} is asked for, but not exported");
            used.insert(base);
        }
        let rows: Vec<&str> =
            panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str().unwrap()).collect();
        assert_eq!(rows, ["At a glance", "Traffic", "Agents", "Commands", "Store", "Reconcilers", "Process"]);
        let unseen: Vec<&String> = kinds.keys().filter(|name| !used.contains(*name)).collect();
        assert!(unseen.len() <= 3, "what is counted should be seen: {unseen:?}");
        fleet.close().await;
    });
}
