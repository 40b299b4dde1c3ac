//! Reads a host and plans its patches without refreshing anything: for benchmarks and for comparing with apt.
//!
//! `patch_scan [--root R] [--state DIR] [--json]` prints one line, or with `--json` one object, for each package of which a
//! newer version is offered, and on standard error the seconds of processor time and the peak of resident memory.

use host::{HostRoot, read_host};
use identifiers::Timestamp;
use packages::OperatingSystem;
use patching::{plan_patches, predefined_default};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut root = "/".to_owned();
    let mut state = std::env::temp_dir().join("careen-patch-scan");
    let mut json = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--root" => root = arguments.next().ok_or("--root needs a folder")?,
            "--state" => state = arguments.next().ok_or("--state needs a folder")?.into(),
            "--json" => json = true,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let host = HostRoot { privileged: true, ..HostRoot::under(root, state) };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = Timestamp::from_seconds(i64::try_from(since.as_secs())?);
    let reading = read_host(&host, now)?;
    let distribution = &reading.state.inventory.distribution;
    let system = OperatingSystem::of(distribution).ok_or("unknown distribution")?;
    let baseline = predefined_default(system).ok_or("no predefined baseline")?;
    let plan = plan_patches(&baseline, distribution, &reading.state.packages, now)?;
    let mut out = std::io::stdout().lock();
    for decision in plan.decisions.iter().filter(|decision| decision.available_version.is_some()) {
        if json {
            writeln!(out, "{}", serde_json::to_string(decision)?)?;
        } else {
            let available = decision.available_version.as_deref().unwrap_or_default();
            let (name, architecture) = (&decision.key.name, &decision.key.architecture);
            let (state, reason) = (decision.state, &decision.reason);
            writeln!(out, "{state} {name}:{architecture} {} {available} ({reason})", decision.installed_version)?;
        }
    }
    let mut errors = std::io::stderr().lock();
    for warning in &reading.warnings {
        writeln!(errors, "warning: {warning}")?;
    }
    let (seconds, peak_mib) = used();
    writeln!(errors, "{} packages, {seconds:.3} CPU s, peak {peak_mib:.1} MiB", plan.decisions.len())?;
    Ok(())
}

/// Processor time of this process (user and system) in seconds, and its peak resident memory in MiB, from /proc.
fn used() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_ascii_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    (ticks / 100.0, kib / 1024.0)
}
