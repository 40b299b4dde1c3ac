//! The room about the server itself.

use axum::{http::StatusCode, response::Response};
use control::server_view;

use crate::{answer, view, visitor::Visitor};

/// `GET /server`
pub(crate) async fn server(visitor: Visitor) -> Response {
    let context = &visitor.context;
    match server_view::server(context).await {
        Ok(found) => answer::page(StatusCode::OK, &view::Server::new(&visitor.person, &found, context.now)),
        Err(error) => visitor.trouble(&error),
    }
}
