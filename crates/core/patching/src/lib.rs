//! Patch baselines and approval rules: (baseline, packages, now) -> [`PatchPlan`] and patch states, each with its reason.
//!
//! It decides what a well-formed patch baseline is, which baseline governs a node, whether a patch is missing
//! (`plan.rs`), what a run's report says, and whether a reboot follows. It plans for the distributions that use apt;
//! baselines of other operating systems are validated and kept, and planning for them is refused by name. It
//! deliberately does not know how packages are found or installed (see `host`), how baselines are stored (see `store`),
//! nor how the API spells its answers (see `aws-wire`).

mod baseline;
mod baseline_decisions;
mod history;
mod names;
mod plan;
mod predefined;
mod reason;
mod reboot;
mod reference;
mod refused;
mod registrations;
mod report;
#[cfg(test)]
mod testing;
mod validation;
mod write;

pub use baseline::{
    ApprovalDate, ApprovalRule, BaselineOwner, PatchBaseline, PatchFilter, PatchSource, SourceConfiguration,
};
pub use baseline_decisions::{
    BaselineMembers, CreateBaseline, OWN_BASELINES_MAX, RuleInput, UpdateBaseline, create_baseline, delete_baseline,
    update_baseline,
};
pub use history::{
    PackageChange, PatchStateChange, PreviousReport, RowDelta, package_changes, record_report, row_changes, row_delta,
};
pub use names::{
    AvailableSecurityUpdates, ComplianceLevel, PatchFilterKey, PatchOperation, PatchState, RebootOption, RebootPolicy,
    RejectedPatchesAction,
};
pub use plan::{PatchDecision, PatchPlan, PlanNote, PlanRefused, PlannedInstall, plan_patches};
pub use predefined::{PREDEFINED_OWNER_ACCOUNT, predefined, predefined_default};
pub use reason::{Coverage, Reason};
pub use reboot::{REBOOT_PACKAGES, RebootDecision, RebootFacts, RebootReason, pending_installs, reboot_decision};
pub use reference::{BaselineReference, MalformedReference, find_baseline};
pub use refused::Refused;
pub use registrations::{
    DefaultBaseline, EffectiveBaseline, PatchGroupRegistration, Why, deregister_patch_group, named_baseline,
    register_default, register_patch_group, resolve_baseline,
};
pub use report::{InstallResult, PatchReport, PatchRow, PatchSummary, PendingInstall, RunOutcome, assess};
pub use write::{RecordedReport, Write, aggregate};

pub(crate) use changes::Versioned;
