//! The rooms of the audit log: the list with its search, a record, the files, the verification.

use askama::Template;
use aws_wire::careen::{GetAuditRecordRequest, ListAuditRecordsRequest, VerifyAuditLogRequest};
use axum::{
    Form,
    body::Body,
    extract::{Path, Query, rejection::FormRejection, rejection::PathRejection, rejection::QueryRejection},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{AuditLines, AuditSearch, Error, ExportForm};
use futures_util::stream::try_unfold;
use identifiers::Timestamp;
use serde::Deserialize;

use crate::{answer, guard, view, visitor::Visitor};

/// Records on one page.
const PAGE: i32 = 50;
/// The longest text that is looked for; the model of the API says the same.
const TEXT_CHARS_MAX: usize = 2_048;

/// What the address of a search may carry; empty fields of the form are as good as absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuditAddress {
    pub(crate) since: String,
    pub(crate) until: String,
    pub(crate) principal: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) outcome: String,
    pub(crate) source_address: String,
    pub(crate) request_id: String,
    after: String,
    format: String,
}

type Asked = Result<Query<AuditAddress>, QueryRejection>;

impl AuditAddress {
    fn search(&self) -> Result<AuditSearch, Error> {
        let text = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            text if text.chars().count() > TEXT_CHARS_MAX => Err(Error::validation(format!("{name} is too long."))),
            text => Ok(Some(text.to_owned())),
        };
        let refused = match self.outcome.as_str() {
            "" => None,
            "done" => Some(false),
            "refused" => Some(true),
            _ => return Err(Error::validation("The outcome is 'done' or 'refused'.")),
        };
        Ok(AuditSearch {
            from: instant("From", &self.since)?,
            until: instant("Until", &self.until)?,
            principal: text("The principal", &self.principal)?,
            action: text("The action", &self.action)?,
            resource: text("The resource", &self.resource)?,
            refused,
            source_address: text("The address", &self.source_address)?,
            request_id: text("The request", &self.request_id)?,
        })
    }
}

/// What a field for a date and a time gives, which names no zone and is taken as UTC, or RFC 3339.
fn instant(name: &str, text: &str) -> Result<Option<Timestamp>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let forms = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    let read = forms.iter().find_map(|form| Timestamp::parse(form).ok());
    let wrong = || Error::validation(format!("{name} is no date and time; write it as 2026-11-22T15:00, in UTC."));
    read.map(Some).ok_or_else(wrong)
}

fn shown(visitor: &Visitor, page: Result<impl Template, Error>) -> Response {
    match page {
        Ok(page) => answer::page(StatusCode::OK, &page),
        Err(error) => visitor.trouble(&error),
    }
}

/// `GET /audit`
pub(crate) async fn list(visitor: Visitor, query: Asked) -> Response {
    let address = query.map(|Query(address)| address).unwrap_or_default();
    let page = async {
        let search = address.search()?;
        let outcome = search.refused.map(|refused| if refused { "Refused" } else { "Done" }.to_owned());
        let request = ListAuditRecordsRequest {
            from: search.from.map(Into::into),
            until: search.until.map(Into::into),
            principal: search.principal,
            action: search.action,
            resource: search.resource,
            outcome,
            source_address: search.source_address,
            request_id: search.request_id,
            max_results: Some(PAGE),
            next_token: Some(address.after.clone()).filter(|token| !token.is_empty()),
        };
        let found = control::perform(&visitor.context, request).await?;
        Ok(view::Audit::new(&visitor.person, &address, found, visitor.context.now))
    };
    shown(&visitor, page.await)
}

/// `GET /audit/{seq}`
pub(crate) async fn record(visitor: Visitor, seq: Result<Path<i64>, PathRejection>) -> Response {
    // A number that is none is the number of no record.
    let request = GetAuditRecordRequest { sequence_number: Some(seq.map_or(0, |Path(seq)| seq)) };
    let found = control::perform(&visitor.context, request).await;
    let record = found.map(|found| found.record.unwrap_or_default());
    shown(&visitor, record.map(|record| view::AuditRecord::new(&visitor.person, record, visitor.context.now)))
}

/// `GET /audit/export`: the file in pieces, as fast as it is taken.
pub(crate) async fn export(visitor: Visitor, query: Asked) -> Response {
    let address = query.map(|Query(address)| address).unwrap_or_default();
    let (form, media_type, ending) = match address.format.as_str() {
        "csv" => (ExportForm::Csv, "text/csv; charset=utf-8", "csv"),
        "sealed" => (ExportForm::Sealed, "application/jsonl; charset=utf-8", "sealed.jsonl"),
        _ => (ExportForm::JsonLines, "application/jsonl; charset=utf-8", "jsonl"),
    };
    let search = match address.search() {
        Ok(search) => search,
        Err(error) => return visitor.trouble(&error),
    };
    let lines = match AuditLines::export(&visitor.context, search, form).await {
        Ok(lines) => lines,
        Err(error) => return visitor.trouble(&error),
    };
    let pieces = try_unfold(lines, |mut lines| async {
        match lines.next().await {
            Ok(piece) => Ok(piece.map(|piece| (piece, lines))),
            Err(error) => {
                tracing::error!("an export of the audit log was cut off: {}", error.detail.as_deref().unwrap_or("-"));
                Err(std::io::Error::other("cut off"))
            }
        }
    });
    let scope = &visitor.context.scope;
    let name = format!("attachment; filename=\"careen-audit-{}-{}.{ending}\"", scope.account, scope.region);
    let headers: [(HeaderName, String); 2] =
        [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, Body::from_stream(pieces)).into_response()
}

/// The form that asks for a verification.
#[derive(Debug, Deserialize)]
pub(crate) struct VerifyForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    head: String,
}

/// `POST /audit/verify`: it reads the whole log, so no link leads to it.
pub(crate) async fn verify(visitor: Visitor, form: Result<Form<VerifyForm>, FormRejection>) -> Response {
    let form = match form {
        Ok(Form(form)) if visitor.owns(&form.csrf) => form,
        _ => return answer::page(StatusCode::FORBIDDEN, &guard::foreign_form(Some(&visitor.person))),
    };
    let head = Some(form.head.trim().to_ascii_lowercase()).filter(|head| !head.is_empty());
    let found = control::perform(&visitor.context, VerifyAuditLogRequest { head }).await;
    shown(&visitor, found.map(|found| view::AuditVerification::new(&visitor.person, &found, visitor.context.now)))
}
