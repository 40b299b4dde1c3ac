//! This host as `host` sees it, for the agent and its supervisors.

use crate::{ServerAddress, policy};
use agent_wire::{HostFacts, PatchStep};
use execution::{PatchEnd, PatchOutcome, PatchRun, PatchRunner};
use host::{HostRoot, RunContext};
use patching::RebootPolicy;
use std::path::Path;

/// The live host, with our own state in the data folder: it belongs to the host and outlives registrations.
pub(crate) fn live(data_directory: &Path) -> HostRoot {
    HostRoot::live(data_directory.join("host"))
}

/// What is told to the server of the host.
pub(crate) fn facts(data_directory: &Path, server: &ServerAddress) -> HostFacts {
    // Only an address can be asked for a route without a look-up; a name is left to the default route.
    let (host, _) = server.host_and_port();
    // A server on this very host says nothing of how others reach it.
    let elsewhere = host.parse::<std::net::IpAddr>().is_ok_and(|address| !address.is_loopback());
    let toward = elsewhere.then(|| server.authority());
    let policy = policy::in_force(data_directory).summary();
    HostFacts { policy, ..host::facts(&live(data_directory), env!("CARGO_PKG_VERSION"), toward.as_deref()) }
}

/// Runs patch steps on the live host.
pub(crate) struct LiveHost {
    pub(crate) host: HostRoot,
    pub(crate) reboot_policy: RebootPolicy,
}

impl PatchRunner for LiveHost {
    fn run_patch(&mut self, step: &PatchStep, run: &mut PatchRun<'_>) -> PatchOutcome {
        let stop = run.stop;
        let context = RunContext {
            job_id: run.job_id,
            command_id: run.command_id,
            report_id: run.report_id.clone(),
            job_dir: run.step_path,
            boot_id: run.boot_id,
            now: &execution::now,
            resumed: run.rebooted || run.resumed,
            reboot_policy: step.reboot_policy.unwrap_or(self.reboot_policy),
            log: &mut *run.stdout,
            cancelled: &|| stop().is_some(),
        };
        let outcome = host::run_patch(&self.host, step, context);
        let end = match outcome.end {
            host::PatchEnd::Finished { exit_code } => PatchEnd::Finished { exit_code },
            host::PatchEnd::RebootWanted { reason } => PatchEnd::RebootWanted { reason },
            host::PatchEnd::Failed { message } => PatchEnd::Failed { reason: message },
            host::PatchEnd::Cancelled => PatchEnd::Stopped,
        };
        PatchOutcome { report: outcome.report, inventory: outcome.inventory, end }
    }
}
