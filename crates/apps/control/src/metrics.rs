//! Counters for `/metrics` in the Prometheus text format, with bounded labels: operations and error codes are names
//! of this program, never texts of a caller.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, PoisonError},
};

/// What is counted.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<BTreeMap<(&'static str, &'static str, &'static str), u64>>,
}

impl Metrics {
    /// One more request of `operation` that ended with `code` (`OK` or an error's name).
    pub fn request(&self, operation: &'static str, code: &'static str) {
        self.add("careen_requests_total", operation, code);
    }

    /// One more message of an agent of this kind.
    pub fn agent_message(&self, kind: &'static str) {
        self.add("careen_agent_messages_total", kind, "");
    }

    /// One more order was put on its way: `run` or `cancel`.
    pub fn order_sent(&self, kind: &'static str) {
        self.add("careen_orders_sent_total", kind, "");
    }

    /// One more invocation ended in this state.
    pub fn invocation_ended(&self, state: &'static str) {
        self.add("careen_invocations_ended_total", state, "");
    }

    /// One more command ended in this state.
    pub fn command_ended(&self, state: &'static str) {
        self.add("careen_commands_ended_total", state, "");
    }

    fn add(&self, name: &'static str, first: &'static str, second: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((name, first, second)).or_default() += 1;
    }

    /// The text of `/metrics`; `gauges` are read at the moment of the question.
    pub fn render(&self, gauges: &[(&str, u64)]) -> String {
        let mut text = String::new();
        for (name, value) in gauges {
            let _ = writeln!(text, "# TYPE {name} gauge\n{name} {value}");
        }
        let mut before = "";
        for ((name, first, second), count) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if *name != before {
                let _ = writeln!(text, "# TYPE {name} counter");
                before = name;
            }
            let _ = match second.is_empty() {
                true => writeln!(text, "{name}{{kind=\"{first}\"}} {count}"),
                false => writeln!(text, "{name}{{operation=\"{first}\",code=\"{second}\"}} {count}"),
            };
        }
        text
    }
}
