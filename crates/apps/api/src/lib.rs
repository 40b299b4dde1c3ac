//! The listener: one port for AWS requests, agents, the console, health and metrics.
//!
//! It decides how a request reaches its operation: bounds, signature, route, and the form of the answer. It
//! deliberately does not know what any operation does (`control`), how pages look (`console`), or who may do what.

mod agents;
mod aws;
mod health;

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    response::Redirect,
    routing::{get, post},
};
use control::Server;
use tokio::net::TcpListener;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    /// Grants `/metrics` to callers that are not on loopback; `None`: loopback only.
    pub(crate) metrics_token: Option<Arc<str>>,
}

/// How the listener is set up.
pub struct ListenOptions {
    /// Grants `/metrics` to callers that are not on loopback (`Authorization: Bearer TOKEN`).
    pub metrics_token: Option<String>,
    /// The console's pages, nested at `/console`.
    pub console: Router,
}

/// Serves until `shutdown` completes, then lets requests in flight end.
///
/// # Errors
/// When the listening socket fails.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    options: ListenOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let shared = Shared { server, metrics_token: options.metrics_token.map(Into::into) };
    let router = Router::new()
        .route("/", post(aws::answer).get(aws::front_door))
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route(agent_wire::AGENT_PATH, get(agents::upgrade))
        .fallback(aws::not_found)
        .with_state(shared)
        .nest("/console", options.console)
        .layer(DefaultBodyLimit::max(aws::BODY_BYTES_MAX));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown)
        .await
}
