//! Pages and errors as HTTP answers.

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use control::{Context, Error};

use crate::view::{Person, Problem};

/// A page.
pub(crate) fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
        Err(error) => {
            tracing::error!("a page could not be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be written.").into_response()
        }
    }
}

/// To another page, by GET.
pub(crate) fn see_other(to: &str) -> Response {
    let mut answer = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::from_str(to) {
        Ok(to) => answer.headers_mut().insert(header::LOCATION, to),
        Err(_) => answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console")),
    };
    answer
}

/// An error as a page: its public half, and for what went wrong here the id that the log has it under.
pub(crate) fn trouble(context: &Context, person: Option<&Person>, error: &Error) -> Response {
    let (status, title) = match error.code {
        "InvalidInstanceId"
        | "InvalidCommandId"
        | "InvocationDoesNotExist"
        | "DoesNotExistException"
        | "ResourceNotFoundException"
        | "NoSuchEntity" => (StatusCode::NOT_FOUND, "Not found"),
        "AccessDeniedException" => (StatusCode::FORBIDDEN, "Not allowed"),
        "ThrottlingException" => (StatusCode::TOO_MANY_REQUESTS, "Too much at once"),
        "InternalServerError" => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
        _ => (StatusCode::BAD_REQUEST, "That does not work"),
    };
    let mut problem = Problem::new(person, title, &error.message);
    if let Some(hint) = &error.hint {
        problem.hint.clone_from(hint);
    }
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        problem.request_id = context.request_id.to_string();
        let detail = error.detail.as_deref().unwrap_or("");
        tracing::error!(request_id = %context.request_id, detail, "the console failed: {}", error.message);
    }
    page(status, &problem)
}
