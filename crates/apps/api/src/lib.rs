//! The listener: AWS requests, agents, the console, health and metrics, on one port or several, with TLS or without.
//!
//! It decides how a request reaches its operation: TLS, bounds, signature, route, and the form of the answer. It
//! deliberately does not know what any operation does (`control`), how pages look (`console`), or who may do what.

mod access_log;
mod agents;
mod aws;
mod certificate;
mod health;
mod listener;
mod process;
mod watched;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use control::{Server, ServerNames};
use tokio::{net::TcpListener, sync::watch};

pub use certificate::{Certificate, CertificateError, ShownCertificate};
use listener::{Door, Peer};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    /// Grants `/metrics` to callers that are not on loopback; `None`: loopback only.
    pub(crate) metrics_token: Option<Arc<str>>,
}

/// How the listener is set up.
#[derive(Clone)]
pub struct ListenOptions {
    /// Grants `/metrics` to callers that are not on loopback (`Authorization: Bearer TOKEN`).
    pub metrics_token: Option<String>,
    /// The console's pages, nested at `/console`.
    pub console: Router,
    /// What is shown in TLS; `None`: plaintext.
    pub certificate: Option<ShownCertificate>,
    /// The names that the server may be called by where a browser could be made to call it.
    pub names: ServerNames,
}

/// Who is served at a port. Health and metrics are served at every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purposes {
    /// Callers of the AWS API.
    pub api: bool,
    /// Agents.
    pub agents: bool,
    /// People, at the console.
    pub console: bool,
}

impl Purposes {
    /// Everybody.
    pub const ALL: Self = Self { api: true, agents: true, console: true };
}

/// Serves these ports until `stopped` says so, then lets requests in flight end.
///
/// # Errors
/// When a listening socket fails.
pub async fn serve(
    server: Arc<Server>,
    listeners: Vec<(TcpListener, Purposes)>,
    options: ListenOptions,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut ports = Vec::new();
    for (listener, purposes) in listeners {
        ports.push(tokio::spawn(serve_port(Arc::clone(&server), listener, purposes, options.clone(), stopped.clone())));
    }
    for port in ports {
        port.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn serve_port(
    server: Arc<Server>,
    listener: TcpListener,
    purposes: Purposes,
    options: ListenOptions,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let tls =
        options.certificate.as_ref().map(ShownCertificate::configuration).transpose().map_err(io::Error::other)?;
    // A browser can be led to a port of its own machine, and asks no certificate there.
    let guarded = tls.is_none() && listener.local_addr()?.ip().to_canonical().is_loopback();
    let logged = middleware::from_fn_with_state(Arc::clone(&server), access_log::record);
    let shared = Shared { server, metrics_token: options.metrics_token.map(Into::into) };
    let mut router = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    if purposes.api {
        router = router.route("/", post(aws::answer).get(aws::front_door));
    } else if purposes.console {
        router = router.route("/", get(aws::front_door));
    }
    if purposes.agents {
        router = router.route(agent_wire::AGENT_PATH, get(agents::upgrade));
    }
    let mut router = router.fallback(aws::not_found).with_state(shared);
    if purposes.console {
        router = router
            .route("/console/", get(|| async { Redirect::permanent("/console") }))
            .nest("/console", options.console);
    }
    let names = options.names;
    let router = router
        .layer(DefaultBodyLimit::max(aws::BODY_BYTES_MAX))
        .layer(middleware::from_fn(move |request, next| enter(guarded.then(|| names.clone()), request, next)))
        .layer(logged);
    axum::serve(Door::open(listener, tls)?, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move {
            // An error means that the sender is gone, which is as good as a stop.
            let _ = stopped.wait_for(|stop| *stop).await;
        })
        .await
}

/// What every request passes first: where only certain names are answered to, it must use one of them.
async fn enter(names: Option<ServerNames>, mut request: Request, next: Next) -> Response {
    if let Some(names) = names
        && !host_of(&request).is_some_and(|host| names.has(host))
    {
        let text = "This server does not go by that name. On loopback it answers to 127.0.0.1, localhost and [::1], and to \
            the names of --tls-name.\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<Peer>>() {
        let address: SocketAddr = peer.address;
        request.extensions_mut().insert(ConnectInfo(address));
    }
    next.run(request).await
}

/// The host that is asked, with its port; two hosts are no host.
fn host_of(request: &Request) -> Option<&str> {
    let mut named = request.headers().get_all(header::HOST).iter();
    match (request.uri().authority(), named.next(), named.next()) {
        (_, Some(_), Some(_)) => None,
        (Some(authority), ..) => Some(authority.as_str()),
        (None, named, _) => named.and_then(|host| host.to_str().ok()),
    }
}
