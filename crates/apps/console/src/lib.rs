//! The web console: rooms for people, rendered on the server; nothing on any page needs a script. One page has one, which
//! shows output as it comes; without it the page reloads itself.
//!
//! It decides how pages look, and which requests may come from a browser's page at all: the host they name, the origin of
//! forms, the session's cookie and form token. It deliberately does not know what may be done by whom, nor how anything
//! is stored: it reads through [`control::views`] and acts through [`control::perform`], as the API does.

mod answer;
mod assets;
mod audit_room;
mod guard;
mod people;
mod rooms;
mod server_room;
mod session;
mod view;
mod visitor;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use control::{Server, ServerNames};

/// The largest form, in bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// The console's pages, to be nested at `/console`; every link on them begins with that. They answer to `names` alone.
pub fn router(server: Arc<Server>, names: ServerNames) -> Router {
    Router::new()
        .route("/", get(rooms::fleet))
        .route("/nodes/{node}", get(rooms::node))
        .route("/nodes/{node}/history", get(rooms::history))
        .route("/nodes/{node}/patch", post(rooms::patch))
        .route("/commands", get(rooms::commands))
        .route("/commands/{command}", get(rooms::command))
        .route("/commands/{command}/{node}", get(rooms::invocation))
        .route("/commands/{command}/{node}/output", get(rooms::new_output))
        .route("/audit", get(audit_room::list))
        .route("/audit/export", get(audit_room::export))
        .route("/audit/verify", post(audit_room::verify))
        .route("/audit/{seq}", get(audit_room::record))
        .route("/server", get(server_room::server))
        .route("/users", get(people::users).post(people::add_user))
        .route("/users/{name}", post(people::change_user))
        .route("/access-keys", get(people::access_keys).post(people::make_access_key))
        .route("/access-keys/{id}", post(people::change_access_key))
        .route("/sessions", get(people::sessions).post(people::end_session))
        .route("/account", get(people::account).post(people::change_password))
        .route("/sign-in", get(session::sign_in_page).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/assets/console.css", get(assets::css))
        .route("/assets/live.js", get(assets::live))
        .fallback(rooms::nowhere)
        .method_not_allowed_fallback(rooms::wrong_method)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(names, guard::guard))
        .with_state(server)
}
