use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use control::readiness::Finding;

use crate::{Shared, process};

/// `/healthz`: the process answers.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`: `ready`, or 503 with what is wrong; `?verbose` lists every check. The findings are for anybody.
pub(crate) async fn ready(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let verbose =
        query.is_some_and(|query| query.split('&').any(|word| word == "verbose" || word.starts_with("verbose=")));
    let findings = shared.server.readiness().await;
    let ready = !findings.iter().any(|(_, finding)| matches!(finding, Finding::Bad(_)));
    let lines = findings.iter().filter_map(|(name, finding)| match finding {
        Finding::Good(text) => verbose.then(|| format!("ok       {name}: {text}\n")),
        Finding::Warning(text) => verbose.then(|| format!("warning  {name}: {text}\n")),
        Finding::Bad(text) => Some(format!("failed   {name}: {text}\n")),
    });
    let lines: String = lines.collect();
    match ready {
        true => format!("{lines}ready\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, format!("{lines}not ready\n")).into_response(),
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
    let body = shared.server.metrics_text(process::read()).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}
