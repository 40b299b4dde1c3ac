//! What is counted of a server's work, and the text of `/metrics`.
//!
//! Every label's value is a name of this program (see [`exposition`]): operations of the model, error codes, states. An
//! error code that is none of this program's own counts as `other`.

mod exposition;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use store::Histogram;

use crate::{Server, readiness::Finding};
use exposition::{Exposition, Kind, to_float};

/// Upper bounds of the buckets for durations of requests, in seconds.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A family of counters.
struct Family {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
}

const REQUESTS: Family = Family {
    name: "careen_requests_total",
    help: "Operations that were called, by how they ended.",
    labels: ["operation", "code"],
};
const HTTP: Family = Family {
    name: "careen_http_requests_total",
    help: "HTTP requests, by what was asked and the class of the answer; those that no operation answered, too.",
    labels: ["surface", "status"],
};
const HANDSHAKES: Family = Family {
    name: "careen_agent_handshakes_total",
    help: "Conversations that agents began, by how the handshake ended.",
    labels: ["outcome", ""],
};
const MESSAGES: Family =
    Family { name: "careen_agent_messages_total", help: "Messages of agents, by kind.", labels: ["kind", ""] };
const ORDERS: Family =
    Family { name: "careen_orders_sent_total", help: "Orders handed to agents' connections.", labels: ["kind", ""] };
const INVOCATIONS: Family = Family {
    name: "careen_invocations_ended_total",
    help: "Command invocations that ended, by their state.",
    labels: ["state", ""],
};
const COMMANDS: Family =
    Family { name: "careen_commands_ended_total", help: "Commands that ended, by their state.", labels: ["state", ""] };

const SIGN_INS: Family = Family {
    name: "careen_sign_ins_total",
    help: "Attempts to sign in at the console, by what came of them.",
    labels: ["outcome", ""],
};
const STRANGERS: Family = Family {
    name: "careen_throttled_strangers_total",
    help: "Requests that were not looked at, because too many from their address had no right signature.",
    labels: ["surface", ""],
};

const FAMILIES: [&Family; 9] =
    [&REQUESTS, &HTTP, &HANDSHAKES, &MESSAGES, &ORDERS, &INVOCATIONS, &COMMANDS, &SIGN_INS, &STRANGERS];

#[derive(Debug, Default)]
struct Counts {
    counters: BTreeMap<(&'static str, [&'static str; 2]), u64>,
    seconds: BTreeMap<&'static str, Histogram>,
}

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

/// What `/proc` says of this process; read by whoever answers `/metrics`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Process {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// How many may be open.
    pub open_files_max: u64,
    /// Time spent on the processor, in seconds.
    pub cpu_seconds: f64,
}

impl Metrics {
    /// One more request of `operation` that ended with `code` (`OK` or an error's name) after `took`.
    pub fn request(&self, operation: &'static str, code: &'static str, took: Duration) {
        self.add(&REQUESTS, [operation, code]);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = counts.seconds.entry(operation).or_insert_with(|| Histogram::new(SECONDS));
        histogram.observe(took.as_secs_f64());
    }

    /// One more HTTP request to a part of the server, answered with `status`.
    pub fn http(&self, surface: &'static str, status: u16) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.add(&HTTP, [surface, class]);
    }

    /// One more handshake of an agent that ended so.
    pub fn handshake(&self, outcome: &'static str) {
        self.add(&HANDSHAKES, [outcome, ""]);
    }

    /// One more message of an agent of this kind.
    pub fn agent_message(&self, kind: &'static str) {
        self.add(&MESSAGES, [kind, ""]);
    }

    /// One more request that was not looked at, because too many from its address had no right signature.
    pub fn throttled_stranger(&self) {
        self.add(&STRANGERS, ["api", ""]);
    }

    /// One more attempt to sign in at the console, and what came of it.
    pub fn sign_in(&self, outcome: &'static str) {
        self.add(&SIGN_INS, [outcome, ""]);
    }

    /// One more order was put on its way: `run` or `cancel`.
    pub fn order_sent(&self, kind: &'static str) {
        self.add(&ORDERS, [kind, ""]);
    }

    /// One more invocation ended in this state.
    pub fn invocation_ended(&self, state: &'static str) {
        self.add(&INVOCATIONS, [state, ""]);
    }

    /// One more command ended in this state.
    pub fn command_ended(&self, state: &'static str) {
        self.add(&COMMANDS, [state, ""]);
    }

    fn add(&self, family: &Family, labels: [&'static str; 2]) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.counters.entry((family.name, labels)).or_default() += 1;
    }

    fn write(&self, text: &mut Exposition) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for family in FAMILIES {
            text.family(family.name, Kind::Counter, family.help);
            let samples = counts.counters.range((family.name, ["", ""])..);
            for ((_, values), count) in samples.take_while(|((name, _), _)| *name == family.name) {
                let labels: Vec<_> =
                    family.labels.into_iter().zip(*values).filter(|(label, _)| !label.is_empty()).collect();
                text.sample(family.name, &labels, to_float(*count));
            }
        }
        let name = "careen_request_duration_seconds";
        text.family(name, Kind::Histogram, "How long operations took, from authorisation to the answer.");
        for (operation, histogram) in &counts.seconds {
            text.histogram(name, &[("operation", operation)], histogram);
        }
    }
}

impl Server {
    /// The text of `/metrics`.
    pub async fn metrics_text(self: &Arc<Self>, process: Process) -> String {
        let mut text = Exposition::default();
        text.family("careen_build_info", Kind::Gauge, "The version of this server; always 1.");
        text.sample("careen_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let agents = to_float(self.sessions.count() as u64);
        text.gauge("careen_agents_connected", "Agents that are connected to this server.", agents);
        self.metrics.write(&mut text);
        self.write_reconcilers(&mut text);
        self.write_store(&mut text).await;
        self.write_readiness(&mut text).await;
        write_process(&mut text, process, self.started_at().as_seconds());
        text.finish()
    }

    fn write_reconcilers(&self, text: &mut Exposition) {
        type Value = fn(&crate::reconcilers::Turn) -> Option<f64>;
        let turns: Vec<_> = self.turns.list().into_iter().filter_map(|(known, turn)| Some((known, turn?))).collect();
        let families: [(&str, Kind, &str, Value); 5] = [
            ("careen_reconciler_turns_total", Kind::Counter, "Turns that ended.", |turn| Some(to_float(turn.ended))),
            ("careen_reconciler_failures_total", Kind::Counter, "Turns in which something failed.", |turn| {
                Some(to_float(turn.failed))
            }),
            ("careen_reconciler_last_duration_seconds", Kind::Gauge, "How long the last turn took.", |turn| {
                Some(turn.took.as_secs_f64())
            }),
            ("careen_reconciler_idle_seconds", Kind::Gauge, "Since a turn last began or ended.", |turn| {
                Some(turn.idle_for().as_secs_f64())
            }),
            ("careen_reconciler_last_success_timestamp_seconds", Kind::Gauge, "When a turn last ended well.", |turn| {
                Some(to_float(u64::try_from(turn.succeeded_at?.as_seconds()).ok()?))
            }),
        ];
        for (name, kind, help, value) in families {
            text.family(name, kind, help);
            for (reconciler, turn) in &turns {
                if let Some(value) = value(turn) {
                    text.sample(name, &[("reconciler", reconciler.name)], value);
                }
            }
        }
        let name = "careen_reconciler_period_seconds";
        text.family(name, Kind::Gauge, "The longest time between two turns.");
        for reconciler in crate::reconcilers::RECONCILERS {
            text.sample(name, &[("reconciler", reconciler.name)], reconciler.every.as_secs_f64());
        }
        let name = "careen_reconciler_done_total";
        text.family(
            name,
            Kind::Counter,
            "What reconcilers did: heartbeats written, commands looked at, orders sent and so on.",
        );
        for (reconciler, turn) in &turns {
            for (what, count) in &turn.done {
                text.sample(name, &[("reconciler", reconciler.name), ("what", what)], to_float(*count));
            }
        }
    }

    async fn write_store(&self, text: &mut Exposition) {
        let (figures, moment) = (self.store.figures(), self.store.moment().await);
        let name = "careen_store_writes_total";
        text.family(name, Kind::Counter, "Changes given to the database, by how that ended.");
        for (outcome, count) in figures.writes {
            text.sample(name, &[("outcome", outcome)], to_float(count));
        }
        let name = "careen_store_write_duration_seconds";
        text.family(name, Kind::Histogram, "From asking for a change to its being durable.");
        text.histogram(name, &[], &figures.write_seconds);
        let name = "careen_store_batch_members";
        text.family(name, Kind::Histogram, "Changes in each transaction of the embedded database.");
        text.histogram(name, &[], &figures.batch_members);
        let read_only = f64::from(u8::from(self.store.read_only().is_some()));
        text.gauge("careen_store_read_only", "1 while nothing can be written, as when the disk is full.", read_only);
        text.gauge(
            "careen_store_queued",
            "Changes that wait for the embedded database's writer.",
            to_float(moment.queued as u64),
        );
        let name = "careen_store_connections";
        text.family(name, Kind::Gauge, "Connections to the database.");
        let busy = moment.connections.saturating_sub(moment.idle_connections);
        text.sample(name, &[("state", "busy")], to_float(busy as u64));
        text.sample(name, &[("state", "idle")], to_float(moment.idle_connections as u64));
        for (name, help, bytes) in [
            ("careen_store_size_bytes", "The size of the database.", moment.size_bytes),
            (
                "careen_store_write_ahead_bytes",
                "The size of the embedded database's write-ahead log.",
                moment.write_ahead_bytes,
            ),
        ] {
            text.family(name, Kind::Gauge, help);
            if let Some(bytes) = bytes {
                text.sample(name, &[], to_float(bytes));
            }
        }
    }

    async fn write_readiness(self: &Arc<Self>, text: &mut Exposition) {
        let name = "careen_ready";
        text.family(name, Kind::Gauge, "What /readyz finds: 1 good, 0.5 to be looked at, 0 not ready.");
        for (check, finding) in self.readiness().await {
            let value = match finding {
                Finding::Good(_) => 1.0,
                Finding::Warning(_) => 0.5,
                Finding::Bad(_) => 0.0,
            };
            text.sample(name, &[("check", check)], value);
        }
    }
}

/// The names that Prometheus' own libraries use.
fn write_process(text: &mut Exposition, process: Process, started_at: i64) {
    let bytes = to_float(process.resident_bytes);
    text.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", bytes);
    text.gauge("process_open_fds", "Number of open file descriptors.", to_float(process.open_files));
    text.gauge("process_max_fds", "Maximum number of open file descriptors.", to_float(process.open_files_max));
    let started_at = to_float(u64::try_from(started_at).unwrap_or_default());
    text.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", started_at);
    let name = "process_cpu_seconds_total";
    text.family(name, Kind::Counter, "Total user and system CPU time spent in seconds.");
    text.sample(name, &[], process.cpu_seconds);
}
