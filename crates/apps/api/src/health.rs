use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::Shared;

/// `/healthz`: the process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: the process answers and its database can be used.
pub(crate) async fn ready(State(shared): State<Shared>) -> Response {
    match shared.server.store.check().await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!("not ready: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be used; the server's log says why\n")
                .into_response()
        }
    }
}

/// `/metrics`: Prometheus text, to loopback or with the token.
pub(crate) async fn metrics(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let shown =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    let allowed = match (&shared.metrics_token, shown) {
        (Some(token), Some(shown)) => control::same_secret(token, shown),
        _ => peer.ip().is_loopback(),
    };
    if !allowed {
        return (StatusCode::FORBIDDEN, "metrics are for loopback, or with the token of --metrics-token-file\n")
            .into_response();
    }
    let body = shared.server.metrics_text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}
