use std::sync::Arc;

use access::Principal;
use changes::AuditRecord;
use identifiers::{RequestId, Scope, Timestamp};

use crate::Server;

/// Everything an operation may know of its caller and its moment.
#[derive(Clone)]
pub struct Context {
    /// The server.
    pub server: Arc<Server>,
    /// Whose data, and where.
    pub scope: Scope,
    /// Who asks.
    pub principal: Principal,
    /// From which address; empty for the system itself.
    pub source_address: String,
    /// The request's id, through log, audit, agent job and answer.
    pub request_id: RequestId,
    /// When the request came.
    pub now: Timestamp,
}

impl Context {
    /// An audit record of a mutation by this request that is done in the same transaction.
    #[must_use]
    pub fn audit(
        &self,
        action: &str,
        resource: impl Into<String>,
        before: &impl serde::Serialize,
        after: &impl serde::Serialize,
    ) -> AuditRecord {
        AuditRecord {
            at: self.now,
            request_id: self.request_id.to_string(),
            principal: self.principal.to_string(),
            source_address: self.source_address.clone(),
            action: action.to_owned(),
            resource: resource.into(),
            outcome: "done".to_owned(),
            // These are plain rows; one that cannot be written as JSON is a fault that the tests of each row find.
            before: serde_json::to_value(before).unwrap_or_default(),
            after: serde_json::to_value(after).unwrap_or_default(),
        }
    }

    /// An audit record of a request that was refused.
    #[must_use]
    pub fn audit_refused(&self, action: &str, resource: impl Into<String>, reason: &str) -> AuditRecord {
        let nothing = serde_json::Value::Null;
        let mut record = self.audit(action, resource, &nothing, &nothing);
        record.outcome = format!("refused: {reason}");
        record
    }
}
