//! One line in the log for every request, and the id that all its lines carry.
//!
//! Those who answer say more of a request as they learn it: `tracing::Span::current().record("operation", …)`. The query
//! of an address is not written: the console's sign-in link has its token there.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use control::Server;
use tracing::{Instrument, field::Empty};

use crate::listener::Peer;

/// AWS's header for the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Requests that machines make all day; they are told at debug, unless they fail.
const OF_EVERY_MINUTE: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/console/assets/console.css"];

/// The part of the server that a path belongs to.
fn surface(path: &str) -> &'static str {
    match path {
        "/" => "api",
        "/healthz" | "/readyz" | "/metrics" => "health",
        agent_wire::AGENT_PATH => "agents",
        "/console" => "console",
        path if path.starts_with("/console/") => "console",
        _ => "other",
    }
}

/// Gives the request its id, passes it on, and writes its line.
pub(crate) async fn record(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let request_id = server.request_id();
    let from = request.extensions().get::<ConnectInfo<Peer>>().map(|from| from.0.address.ip().to_string());
    let span = tracing::error_span!(
        "request",
        %request_id,
        source_address = from.unwrap_or_default(),
        principal = Empty,
        account = Empty,
        region = Empty,
        operation = Empty,
        code = Empty,
        reason = Empty,
    );
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let header = HeaderValue::from_str(request_id.as_str());
    request.extensions_mut().insert(request_id);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Ok(header) = header {
        response.headers_mut().entry(REQUEST_ID).or_insert(header);
    }
    let status = response.status();
    server.metrics.http(surface(&path), status.as_u16());
    let duration_ms = began.elapsed().as_secs_f64() * 1000.0;
    let duration_ms = (duration_ms * 1000.0).round() / 1000.0;
    let _entered = span.enter();
    match OF_EVERY_MINUTE.contains(&path.as_str()) && !status.is_server_error() {
        true => tracing::debug!(%method, path, status = status.as_u16(), duration_ms, "request"),
        false => tracing::info!(%method, path, status = status.as_u16(), duration_ms, "request"),
    }
    response
}
