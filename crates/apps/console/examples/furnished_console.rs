//! The console over a small made-up fleet, to be looked at: `cargo run -p console --example furnished_console`.

#[path = "../tests/console/furnished.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod furnished;

use std::net::SocketAddr;

use control::{Clock, SystemClock};

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() -> std::io::Result<()> {
    let furnished = furnished::Furnished::new(SystemClock.now()).await;
    let port = std::env::args().nth(1).unwrap_or_else(|| "8470".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}/console/sign-in?token={}", listener.local_addr()?, furnished.link().await);
    let names = control::ServerNames::new(Vec::new(), |_| false);
    let router = axum::Router::new().nest("/console", console::router(furnished.server, names));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}
