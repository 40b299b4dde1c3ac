use audit::StoredRecord;
use aws_wire::careen::{AuditRecord, ListAuditRecordsRequest, ListAuditRecordsResult};
use identifiers::Timestamp;
use store::Order;

use crate::{AuditSearch, Context, Error, Operate, pages::Page};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for ListAuditRecordsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.careen_arn("audit")]
    }

    async fn run(self, context: &Context) -> Result<ListAuditRecordsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let search = AuditSearch {
            from: self.from.map(Timestamp::from),
            until: self.until.map(Timestamp::from),
            principal: self.principal,
            action: self.action,
            resource: self.resource,
            refused: self.outcome.map(|outcome| outcome == "Refused"),
            source_address: self.source_address,
            request_id: self.request_id,
        };
        let token = self.next_token.as_deref();
        let page = Page::open(context, "ListAuditRecords", &search, token, limit, "InvalidNextToken")?;
        let after = match page.after.as_deref() {
            Some([at, seq]) => at.parse().ok().map(Timestamp::from_micros).zip(seq.parse().ok()),
            _ => None,
        };
        let (store, scope) = (&context.server.store, &context.scope);
        let query = search.query(Order::NewestFirst, after, u32::try_from(limit + 1).unwrap_or(u32::MAX));
        let mut rows = store.audit_stored_list(scope, &query).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_token = match rows.last() {
            Some(last) if more => Some(page.next(context, vec![last.at_micros.to_string(), last.seq.to_string()])?),
            _ => None,
        };
        let sealed_to = store.audit_seal_last(scope).await?.map_or(0, |seal| seal.last_seq);
        let records = rows.into_iter().map(|row| shown(row, sealed_to)).collect();
        Ok(ListAuditRecordsResult { records: Some(records), next_token })
    }
}

/// A record as the answers show it. `sealed_to` is the last record that a seal covers.
pub(super) fn shown(row: StoredRecord, sealed_to: i64) -> AuditRecord {
    AuditRecord {
        sequence_number: Some(row.seq),
        at: Some(Timestamp::from_micros(row.at_micros).into()),
        principal: Some(row.principal),
        action: Some(row.action),
        resource: Some(row.resource),
        outcome: Some(row.outcome),
        source_address: Some(row.source_address),
        request_id: Some(row.request_id),
        before: Some(row.before),
        after: Some(row.after),
        sealed: Some(row.seq <= sealed_to),
        seal_number: None,
        sealed_at: None,
    }
}
