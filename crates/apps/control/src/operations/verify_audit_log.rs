use audit::Digest;
use aws_wire::careen::{VerifyAuditLogRequest, VerifyAuditLogResult};

use crate::{Context, Error, Operate, audit_log, shown_verification};

impl Operate for VerifyAuditLogRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.careen_arn("audit")]
    }

    async fn run(self, context: &Context) -> Result<VerifyAuditLogResult, Error> {
        let head = self.head.as_deref().map(Digest::parse).transpose();
        let head = head.map_err(|error| Error::validation(format!("Head: {error}.")))?;
        let found = audit_log::verify(context, head).await?;
        if !found.is_unbroken() {
            let first = found.faults.first().map(ToString::to_string).unwrap_or_default();
            tracing::error!(account = %context.scope.account, region = %context.scope.region, "the audit log is broken: {first}");
        }
        Ok(shown_verification(&found, &context.server.keys.audit.public_key()))
    }
}
