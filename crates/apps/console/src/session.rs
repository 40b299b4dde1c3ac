//! In and out: the one-time link and the session's end.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State, rejection::FormRejection, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use control::Server;
use serde::Deserialize;

use crate::{
    answer, guard,
    view::{Notice, SignIn},
    visitor::{Sender, Visitor, failed, forget, keep},
};

/// What brought somebody to the sign-in page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SignInQuery {
    token: Option<String>,
    expired: Option<String>,
    left: Option<String>,
}

/// `GET /sign-in`: a link's page has a button, so that whatever looks at links in advance does not use it up.
pub(crate) async fn sign_in_page(query: Result<Query<SignInQuery>, QueryRejection>) -> Response {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let notice = match (&query.token, query.expired, query.left) {
        (Some(_), ..) => None,
        (None, Some(_), _) => Some(Notice::new("warn", "Your session has ended.")),
        (None, None, Some(_)) => Some(Notice::new("good", "You are signed out.")),
        (None, None, None) => None,
    };
    answer::page(StatusCode::OK, &SignIn::new(query.token, notice))
}

/// The form of a link's page.
#[derive(Debug, Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    token: String,
}

/// `POST /sign-in`: uses the link up.
pub(crate) async fn sign_in(
    State(server): State<Arc<Server>>,
    sender: Sender,
    form: Result<Form<SignInForm>, FormRejection>,
) -> Response {
    let token = form.map(|Form(form)| form.token).unwrap_or_default();
    match server.sign_in(&token, &sender.address).await {
        Ok(Some(session)) => with_cookie(answer::see_other("/console"), &keep(&sender.cookie, &session)),
        Ok(None) => {
            let notice = Notice::new("bad", "This link was used already, or has expired. Ask for another one.");
            answer::page(StatusCode::FORBIDDEN, &SignIn::new(None, Some(notice)))
        }
        Err(error) => failed(&server, sender, &error),
    }
}

/// A form without anything but its token.
#[derive(Debug, Deserialize)]
pub(crate) struct BareForm {
    #[serde(default)]
    csrf: String,
}

/// `POST /sign-out`
pub(crate) async fn sign_out(
    visitor: Visitor,
    State(server): State<Arc<Server>>,
    sender: Sender,
    form: Result<Form<BareForm>, FormRejection>,
) -> Response {
    if !form.is_ok_and(|Form(form)| visitor.owns(&form.csrf)) {
        return answer::page(StatusCode::FORBIDDEN, &guard::foreign_form(Some(&visitor.person)));
    }
    match server.sign_out(&visitor.token, &sender.address).await {
        Ok(()) => with_cookie(answer::see_other("/console/sign-in?left"), &forget(&sender.cookie)),
        Err(error) => visitor.trouble(&error),
    }
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}
