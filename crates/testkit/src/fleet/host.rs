//! The host that an agent stands on: a few packages, of which some have updates.

use agent_wire::{HostFacts, InventoryReport, OfferedVersion, PatchRunReport, PatchStep};
use identifiers::{CommandId, JobId, Timestamp};
use packages::{Distribution, InstallState, InstalledPackage, Inventory, InventoryDelta};
use patching::{ComplianceLevel, Coverage, PatchOperation, PatchReport, PatchRow, PatchState, PatchSummary, Reason};

const NAMES: [&str; 4] = ["adduser", "libssl3", "openssh-server", "zlib1g"];

/// The packages of a simulated host: installed and offered revisions of each.
#[derive(Debug, Clone)]
pub(super) struct Host {
    name: String,
    boot: u32,
    installed: [u32; NAMES.len()],
    offered: [u32; NAMES.len()],
}

fn version(revision: u32) -> String {
    format!("1.{revision}-1")
}

impl Host {
    pub(super) fn new(name: String) -> Self {
        Self { name, boot: 1, installed: [0; NAMES.len()], offered: [0, 1, 1, 0] }
    }

    /// Its boot id changes with each boot.
    pub(super) fn boot_id(&self) -> String {
        format!("{} boot {}", self.name, self.boot)
    }

    pub(super) fn reboot(&mut self) {
        self.boot += 1;
    }

    /// An archive offers something new.
    pub(super) fn offer(&mut self, which: usize) {
        if let Some(offered) = self.offered.get_mut(which % NAMES.len()) {
            *offered += 1;
        }
    }

    fn distribution() -> Distribution {
        Distribution {
            id: "debian".to_owned(),
            name: "Debian GNU/Linux".to_owned(),
            version_id: "12".to_owned(),
            codename: "bookworm".to_owned(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        }
    }

    pub(super) fn facts(&self) -> HostFacts {
        HostFacts {
            computer_name: self.name.clone(),
            ip_address: String::new(),
            distribution: Self::distribution(),
            kernel: "6.1.0-1-amd64".to_owned(),
            architecture: "amd64".to_owned(),
            boot_id: self.boot_id(),
            agent_version: "0.1.0".to_owned(),
            privileged: true,
            policy: String::new(),
            agent_instance: String::new(),
        }
    }

    pub(super) fn inventory(&self) -> Inventory {
        let package = |(name, revision): (&&str, &u32)| InstalledPackage {
            name: (*name).to_owned(),
            architecture: "amd64".to_owned(),
            version: version(*revision),
            source: (*name).to_owned(),
            source_version: version(*revision),
            section: "libs".to_owned(),
            priority: "optional".to_owned(),
            state: InstallState::Installed,
            held: false,
        };
        Inventory::new(Self::distribution(), NAMES.iter().zip(&self.installed).map(package).collect())
    }

    /// Does what a patch step says, and reports.
    pub(super) fn patch(
        &mut self,
        step: &PatchStep,
        job: (&JobId, &CommandId),
        report_id: String,
        started_at: Timestamp,
        ended_at: Timestamp,
    ) -> PatchRunReport {
        if step.operation == PatchOperation::Install {
            self.installed = self.offered;
        }
        let offered = NAMES.iter().zip(&self.offered).map(|(name, revision)| OfferedVersion {
            name: (*name).to_owned(),
            architecture: "amd64".to_owned(),
            version: version(*revision),
        });
        let rows: Vec<PatchRow> = (0..NAMES.len()).filter_map(|which| self.row(which)).collect();
        let count = |state| u32::try_from(rows.iter().filter(|row| row.state == state).count()).unwrap_or(0);
        let summary = PatchSummary {
            operation: step.operation,
            baseline_id: step.baseline.id.clone(),
            patch_group: step.patch_group.clone(),
            snapshot_id: step.snapshot_id.clone(),
            reboot_option: step.reboot_option,
            started_at,
            ended_at,
            last_no_reboot_install_at: None,
            installed_count: count(PatchState::Installed),
            installed_other_count: 0,
            installed_pending_reboot_count: 0,
            installed_rejected_count: 0,
            missing_count: count(PatchState::Missing),
            failed_count: 0,
            critical_non_compliant_count: 0,
            security_non_compliant_count: count(PatchState::Missing),
            other_non_compliant_count: 0,
            notes: Vec::new(),
        };
        PatchRunReport {
            report_id,
            job_id: job.0.clone(),
            command_id: job.1.clone(),
            report: PatchReport { summary, rows, notes: Vec::new() },
            inventory_digest: self.inventory().digest(),
            offered: offered.collect(),
        }
    }

    fn row(&self, which: usize) -> Option<PatchRow> {
        let (name, installed, offered) = (NAMES.get(which)?, self.installed.get(which)?, self.offered.get(which)?);
        let missing = installed < offered;
        Some(PatchRow {
            name: (*name).to_owned(),
            architecture: "amd64".to_owned(),
            version: version(*offered),
            classification: "Security".to_owned(),
            severity: String::new(),
            state: if missing { PatchState::Missing } else { PatchState::Installed },
            installed_at: Timestamp::EPOCH,
            compliance_level: ComplianceLevel::Unspecified,
            reason: match missing {
                true => Reason::ApprovedByRule { rule: 0 },
                false => Reason::UpToDate { coverage: Coverage::ApprovedByRule { rule: 0 } },
            },
            installed_version: version(*installed),
            available_version: missing.then(|| version(*offered)),
        })
    }
}

/// What changed from one inventory to the next, as it is told; `None` before: everything.
pub(super) fn inventory_report(
    before: Option<&Inventory>,
    now: &Inventory,
    command_id: Option<CommandId>,
    at: Timestamp,
) -> InventoryReport {
    let delta = InventoryDelta::between(before.unwrap_or(&Inventory::default()), now);
    InventoryReport {
        at,
        command_id,
        distribution: now.distribution.clone(),
        from_digest: before.map(Inventory::digest),
        to_digest: now.digest(),
        present: delta.present,
        absent: delta.absent,
    }
}
