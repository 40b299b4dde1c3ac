//! The Prometheus text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>), as far as it is needed.
//!
//! Labels' values are `&'static str` by type: they come from closed sets of the program, so that no caller can make the
//! number of series grow.

use std::fmt::Write as _;

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels with their values.
pub(super) type Labels<'a> = &'a [(&'static str, &'static str)];

/// The text as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram.
    pub(super) fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &store::Histogram) {
        let mut all = 0;
        for (bound, count) in histogram.bounds().iter().zip(histogram.counts()) {
            all += count;
            self.bucket(name, labels, &bound.to_string(), all);
        }
        self.bucket(name, labels, "+Inf", histogram.count());
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, to_float(histogram.count()));
    }

    fn bucket(&mut self, name: &str, labels: Labels<'_>, bound: &str, count: u64) {
        let _ = write!(self.0, "{name}_bucket{{");
        for (label, text) in labels {
            let _ = write!(self.0, "{label}=\"{text}\",");
        }
        let _ = writeln!(self.0, "le=\"{bound}\"}} {count}");
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Prometheus counts in floating point.
#[allow(clippy::cast_precision_loss)]
pub(super) fn to_float(count: u64) -> f64 {
    count as f64
}
