//! The audit log beyond its rows: sealed by a reconciler, verified and exported on request.

mod export;
mod sealing;
mod verification;

use identifiers::Timestamp;
use serde::{Deserialize, Serialize};
use store::{AuditOutcome, AuditQuery, Order};

pub use export::{AuditLines, ExportForm};
pub(crate) use sealing::{Heads, seal_audit_records};
pub use verification::shown_verification;
pub(crate) use verification::verify;

/// Which records are looked for; as it travels and as page tokens are bound to it. Absent: any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditSearch {
    /// From this instant on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Which action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// About which resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// `true`: only what was refused; `false`: only what was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<bool>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// Of which request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl AuditSearch {
    /// The rows that are meant.
    #[must_use]
    pub fn query(&self, order: Order, after: Option<(Timestamp, i64)>, limit: u32) -> AuditQuery {
        let outcome = |refused| if refused { AuditOutcome::Refused } else { AuditOutcome::Done };
        AuditQuery {
            from: self.from,
            until: self.until,
            principal: self.principal.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            request_id: self.request_id.clone(),
            source_address: self.source_address.clone(),
            outcome: self.refused.map(outcome),
            order,
            after,
            limit,
        }
    }
}
