//! In and out: the one-time link, name and password, and the session's end.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Query, State, rejection::FormRejection, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use control::{Server, SignIn};
use identity::Secret;
use serde::Deserialize;

use crate::{
    answer, guard,
    view::{Notice, SignInPage, text},
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
    answer::page(StatusCode::OK, &SignInPage::new(query.token, notice))
}

/// The form of the sign-in page: a link's token, or name and password. Nothing of it is ever printed.
#[derive(Default, Deserialize)]
pub(crate) struct SignInForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

/// `POST /sign-in`: uses a link up, or looks at name and password.
pub(crate) async fn sign_in(
    State(server): State<Arc<Server>>,
    sender: Sender,
    form: Result<Form<SignInForm>, FormRejection>,
) -> Response {
    let form = form.map(|Form(form)| form).unwrap_or_default();
    let by_link = form.name.is_empty() && form.password.is_empty();
    let came = match by_link {
        true => server.sign_in(&form.token, &sender.visit()).await.map(|found| found.map_or(SignIn::Wrong, SignIn::In)),
        false => {
            let password = Secret::new(form.password);
            server.sign_in_with_password(form.name.trim(), &password, &sender.visit()).await
        }
    };
    let (status, words) = match came {
        Ok(SignIn::In(session)) => return with_cookie(answer::see_other("/console"), &keep(&sender.cookie, &session)),
        Err(error) => return failed(&server, sender, &error),
        Ok(SignIn::Wrong) if by_link => {
            (StatusCode::FORBIDDEN, "This link was used already, or has expired. Ask for another one.".to_owned())
        }
        Ok(SignIn::Wrong) => (StatusCode::FORBIDDEN, "Name and password do not belong together.".to_owned()),
        Ok(SignIn::Wait(seconds)) => {
            let words = format!("There were too many failed attempts. Try again in {}.", text::span(seconds));
            (StatusCode::TOO_MANY_REQUESTS, words)
        }
        Ok(SignIn::Busy) => {
            (StatusCode::SERVICE_UNAVAILABLE, "Many sign in at this moment. Try again in a few seconds.".to_owned())
        }
    };
    answer::page(status, &SignInPage::new(None, Some(Notice::new("bad", words))))
}

/// A form without anything but its token.
#[derive(Debug, Deserialize)]
pub(crate) struct BareForm {
    #[serde(default)]
    pub(crate) csrf: String,
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

/// An answer that makes the browser keep or forget a session.
pub(crate) fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}
