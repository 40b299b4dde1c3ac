//! AWS requests: bounds, signature, route, answer. awsJson1.1 by its target header, Query by its form.

use std::{net::SocketAddr, time::Duration};

use access::Principal;
use aws_wire::{
    AwsError, JSON_1_1_CONTENT_TYPE, query,
    sigv4::{self, Protocol, SignedRequest, Verified},
    sts,
};
use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use control::{Context, operations};
use identifiers::{RequestId, Scope};

use crate::{Shared, access_log::REQUEST_ID};

/// The largest request body that is read. SSM's own largest input is a document of 64 KiB; parameters add to it.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;

/// How long a caller may take to send the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// `POST /`.
pub(crate) async fn answer(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = request_id(&shared, &parts.extensions);
    let protocol = protocol_of(&parts.headers);
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX));
    let result = match read.await.unwrap_or_else(|late| Err(axum::Error::new(late))) {
        Ok(body) => dispatch(&shared, peer, &request_id, protocol, &parts, &body).await,
        Err(_) => Err(AwsError::new("RequestEntityTooLargeException", "The request body is too large.", 413)),
    };
    written(protocol, &request_id, result)
}

/// `GET /`: a browser wants the console; a program gets what AWS says to it.
pub(crate) async fn front_door(shared: State<Shared>, request: Request) -> Response {
    let page = |value: &HeaderValue| value.to_str().is_ok_and(|types| types.contains("text/html"));
    match request.headers().get(header::ACCEPT).is_some_and(page) {
        true => Redirect::to("/console").into_response(),
        false => not_found(shared, request).await,
    }
}

/// Anything else that is not a page: AWS's answer for an operation that is not there.
pub(crate) async fn not_found(State(shared): State<Shared>, request: Request) -> Response {
    let request_id = request_id(&shared, request.extensions());
    let mut response = written(protocol_of(request.headers()), &request_id, Err(AwsError::unknown_operation()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The id that the request got when it came.
fn request_id(shared: &Shared, extensions: &Extensions) -> RequestId {
    extensions.get::<RequestId>().cloned().unwrap_or_else(|| shared.server.request_id())
}

fn protocol_of(headers: &HeaderMap) -> Protocol {
    let form = |value: &HeaderValue| value.as_bytes().starts_with(b"application/x-www-form-urlencoded");
    match headers.get(header::CONTENT_TYPE).is_some_and(form) {
        true => Protocol::Query,
        false => Protocol::AwsJson,
    }
}

async fn dispatch(
    shared: &Shared,
    peer: SocketAddr,
    request_id: &RequestId,
    protocol: Protocol,
    parts: &Parts,
    body: &[u8],
) -> Result<Vec<u8>, AwsError> {
    let address = peer.ip().to_string();
    if !shared.server.admit_stranger(&address) {
        return Err(AwsError::throttling());
    }
    let authenticated = authenticate(shared, protocol, parts, body).await;
    if authenticated.as_ref().is_err_and(|error| error.http_status < 500) {
        shared.server.stranger_failed(&address);
    }
    let (verified, principal, account) = authenticated?;
    let scope = Scope { account, region: verified.region.clone() };
    let span = tracing::Span::current();
    span.record("principal", principal.to_string());
    span.record("account", scope.account.as_str());
    span.record("region", scope.region.as_str());
    let mut context: Context = shared.server.context(scope, principal, address);
    context.request_id = request_id.clone();
    match protocol {
        Protocol::AwsJson => {
            let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let operation = aws_wire::route(target).ok_or_else(AwsError::unknown_operation)?;
            signed_for(&verified, operation.service(), protocol)?;
            admitted(&context, operation.name())?;
            operations::answer_json(&context, operation, body).await
        }
        Protocol::Query => {
            let form = query::Form::parse(body)?;
            let operation = form.operation()?;
            signed_for(&verified, operation.service(), protocol)?;
            admitted(&context, operation.name())?;
            operations::answer_query(&context, operation, &form).await
        }
    }
}

fn admitted(context: &Context, operation: &'static str) -> Result<(), AwsError> {
    match context.server.admit(&context.principal, operation) {
        true => Ok(()),
        false => Err(AwsError::throttling()),
    }
}

fn signed_for(verified: &Verified, service: &str, protocol: Protocol) -> Result<(), AwsError> {
    verified.signed_for(service).map_err(|error| error.to_aws_error(protocol))
}

/// Whose signature it is. An unknown key costs as much as a wrong signature and neither is told apart by its cause.
async fn authenticate(
    shared: &Shared,
    protocol: Protocol,
    parts: &Parts,
    body: &[u8],
) -> Result<(Verified, Principal, identifiers::AccountId), AwsError> {
    let headers: Vec<(&str, &[u8])> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let request = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &headers,
        body,
    };
    let refuse = |error: sigv4::SignatureError| error.to_aws_error(protocol);
    let claim = sigv4::read(&request).map_err(refuse)?;
    let key = match claim.access_key_id() {
        Some(id) => shared.server.access_key(id).await.map_err(|error| control::wire_error(&error))?,
        None => None,
    };
    let verified = claim.verify(key.as_ref().map(|key| &key.secret), shared.server.now()).map_err(refuse)?;
    // Signed while this server was not there: whoever had the port then may have kept it. Of several servers another may have
    // been there: a balancer brings here what was signed before this one began.
    let is_alone = shared.server.store.is_exclusive();
    if is_alone && verified.signed_at.as_seconds() < shared.server.started_at().as_seconds() {
        return Err(refuse(sigv4::SignatureError::Expired { signed_at: verified.signed_at, now: shared.server.now() }));
    }
    let Some(key) = key else { return Err(refuse(sigv4::SignatureError::UnknownKey)) };
    shared.server.access_key_used(&key, &verified.service, verified.region.as_str());
    Ok((verified, key.principal, key.account))
}

fn written(protocol: Protocol, request_id: &RequestId, result: Result<Vec<u8>, AwsError>) -> Response {
    let content_type = match protocol {
        Protocol::AwsJson => JSON_1_1_CONTENT_TYPE,
        Protocol::Query => query::XML_CONTENT_TYPE,
    };
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            let error = if protocol == Protocol::Query { error.in_query() } else { error };
            let span = tracing::Span::current();
            span.record("code", error.code.as_str());
            span.record("reason", error.message.as_deref().unwrap_or_default());
            let status = StatusCode::from_u16(error.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = match protocol {
                Protocol::AwsJson => error.json_body(),
                Protocol::Query => error.query_body(sts::XML_NAMESPACE, request_id.as_str()),
            };
            (status, body)
        }
    };
    let id = HeaderValue::from_str(request_id.as_str()).unwrap_or_else(|_| HeaderValue::from_static(""));
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (REQUEST_ID, id)];
    (status, headers, Body::from(body)).into_response()
}
