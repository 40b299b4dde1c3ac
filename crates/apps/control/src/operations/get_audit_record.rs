use aws_wire::careen::{GetAuditRecordRequest, GetAuditRecordResult};
use identifiers::Timestamp;

use super::list_audit_records::shown;
use crate::{Context, Error, Operate};

impl Operate for GetAuditRecordRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.careen_arn("audit")]
    }

    async fn run(self, context: &Context) -> Result<GetAuditRecordResult, Error> {
        let seq = self.sequence_number.unwrap_or_default();
        let (store, scope) = (&context.server.store, &context.scope);
        let found = store.audit_list_after(scope, seq.saturating_sub(1), seq, 1).await?.pop();
        let row = found.ok_or_else(|| {
            Error::new(
                "ResourceNotFoundException",
                format!("There is no audit record {seq} in this account and region."),
            )
        })?;
        let seal = store.audit_seal_of(scope, seq).await?;
        let mut record = shown(row, seal.as_ref().map_or(0, |seal| seal.last_seq));
        record.sealed = Some(seal.is_some());
        record.seal_number = seal.as_ref().map(|seal| seal.number);
        record.sealed_at = seal.map(|seal| Timestamp::from_micros(seal.sealed_at_micros).into());
        Ok(GetAuditRecordResult { record: Some(record) })
    }
}
