//! The rooms for people: users, access keys, the own sessions and password.

use std::sync::Arc;

use access::Role;
use aws_wire::iam::{
    CreateAccessKeyRequest, CreateUserRequest, DeleteAccessKeyRequest, DeleteUserRequest, Tag, UpdateAccessKeyRequest,
};
use axum::{
    Form,
    extract::{FromRequest, Path, Query, Request, State, rejection::PathRejection, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use control::{Error, Server, perform};
use identifiers::UserName;
use identity::Secret;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    answer, guard,
    session::with_cookie,
    view::{self, Notice},
    visitor::{Sender, Visitor, keep},
};

/// A form that a page of the visitor's session made.
pub(crate) struct OwnForm<T>(Visitor, T);

impl<T: DeserializeOwned + HasToken> FromRequest<Arc<Server>> for OwnForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Self, Response> {
        use axum::extract::FromRequestParts as _;
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, server).await?;
        match Form::<T>::from_request(Request::from_parts(parts, body), server).await {
            Ok(Form(form)) if visitor.owns(form.token()) => Ok(Self(visitor, form)),
            _ => Err(answer::page(StatusCode::FORBIDDEN, &guard::foreign_form(Some(&visitor.person)))),
        }
    }
}

/// Forms carry the session's token.
pub(crate) trait HasToken {
    fn token(&self) -> &str;
}

macro_rules! has_token {
    ($($name:ident),*) => {$(
        impl HasToken for $name {
            fn token(&self) -> &str {
                &self.csrf
            }
        }
    )*};
}
has_token!(NewUser, UserTask, NewKey, KeyTask, SessionTask, NewPassword);

/// What was done a moment ago, as an address says it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct DoneQuery {
    done: Option<String>,
}

/// The words for what an address says was done; words of the address itself are never shown.
fn notice(query: Result<Query<DoneQuery>, QueryRejection>) -> Option<Notice> {
    let done = query.ok()?.0.done?;
    let words = match done.as_str() {
        "added" => "The user was added. Set a password, or make a sign-in link.",
        "removed" => "The user was removed.",
        "disabled" => "The user was disabled; sessions have ended, password and keys are refused.",
        "enabled" => "The user was enabled.",
        "role" => "The role was changed; it holds at once.",
        "password" => "The password was set; the user's sessions have ended.",
        "signed-out" => "The user's sessions have ended.",
        "key-disabled" => "The access key was disabled.",
        "key-enabled" => "The access key was enabled.",
        "key-deleted" => "The access key was deleted.",
        "session" => "The session was ended.",
        "sessions" => "All other sessions were ended.",
        "changed" => "Your password was changed; your other sessions have ended.",
        _ => return None,
    };
    Some(Notice::new("good", words))
}

fn user(name: &str) -> Result<UserName, Error> {
    UserName::parse(name).map_err(|_| Error::new("NoSuchEntity", "There is no such user."))
}

fn named(path: Result<Path<String>, PathRejection>) -> String {
    path.map(|Path(name)| name).unwrap_or_default()
}

fn unknown_task(task: &str) -> Error {
    let task: String = task.chars().take(32).collect();
    Error::validation(format!("The form asks for '{task}', which is nothing that can be done. Nothing was done."))
}

/// To where a deed leads, or what went wrong.
fn led(visitor: &Visitor, to: Result<String, Error>) -> Response {
    match to {
        Ok(to) => answer::see_other(&to),
        Err(error) => visitor.trouble(&error),
    }
}

/// `GET /users`
pub(crate) async fn users(
    visitor: Visitor,
    State(server): State<Arc<Server>>,
    query: Result<Query<DoneQuery>, QueryRejection>,
) -> Response {
    match server.users(&visitor.context).await {
        Ok(found) => {
            let page = view::Users::new(&visitor.person, &found, notice(query), visitor.context.now);
            answer::page(StatusCode::OK, &page)
        }
        Err(error) => visitor.trouble(&error),
    }
}

/// The form for another user.
#[derive(Deserialize)]
pub(crate) struct NewUser {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
}

/// `POST /users`
pub(crate) async fn add_user(OwnForm(visitor, form): OwnForm<NewUser>) -> Response {
    let role = Tag { key: Some("careen:Role".to_owned()), value: Some(form.role) };
    let request = CreateUserRequest {
        user_name: Some(form.name.trim().to_owned()),
        tags: Some(vec![role]),
        ..CreateUserRequest::default()
    };
    let added = perform(&visitor.context, request).await;
    led(&visitor, added.map(|_| "/console/users?done=added".to_owned()))
}

/// What is to be done with a user.
#[derive(Deserialize)]
pub(crate) struct UserTask {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    password: String,
}

/// `POST /users/{name}`
pub(crate) async fn change_user(
    State(server): State<Arc<Server>>,
    name: Result<Path<String>, PathRejection>,
    OwnForm(visitor, form): OwnForm<UserTask>,
) -> Response {
    let context = &visitor.context;
    let name = match user(&named(name)) {
        Ok(name) => name,
        Err(error) => return visitor.trouble(&error),
    };
    let done = match form.task.as_str() {
        "link" => {
            return match server.sign_in_link_for(context, &name).await {
                Ok(token) => {
                    let page = view::LinkMade::new(&visitor.person, name.to_string(), &token);
                    answer::page(StatusCode::OK, &page)
                }
                Err(error) => visitor.trouble(&error),
            };
        }
        "password" => server.set_password(context, &name, &Secret::new(form.password)).await.map(|()| "password"),
        "disable" => server.set_disabled(context, &name, true).await.map(|()| "disabled"),
        "enable" => server.set_disabled(context, &name, false).await.map(|()| "enabled"),
        "reader" => server.set_role(context, &name, Role::Reader).await.map(|()| "role"),
        "administrator" => server.set_role(context, &name, Role::Administrator).await.map(|()| "role"),
        "sign-out" => server.revoke_sessions(context, &name, Some(&visitor.token)).await.map(|()| "signed-out"),
        "remove" => {
            let request = DeleteUserRequest { user_name: Some(name.to_string()) };
            perform(context, request).await.map(|()| "removed")
        }
        other => Err(unknown_task(other)),
    };
    led(&visitor, done.map(|done| format!("/console/users?done={done}")))
}

/// `GET /access-keys`
pub(crate) async fn access_keys(
    visitor: Visitor,
    State(server): State<Arc<Server>>,
    query: Result<Query<DoneQuery>, QueryRejection>,
) -> Response {
    match server.users(&visitor.context).await {
        Ok(found) => {
            let page = view::AccessKeys::new(&visitor.person, &found, notice(query), visitor.context.now);
            answer::page(StatusCode::OK, &page)
        }
        Err(error) => visitor.trouble(&error),
    }
}

/// The form for another access key.
#[derive(Deserialize)]
pub(crate) struct NewKey {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    user: String,
}

/// `POST /access-keys`
pub(crate) async fn make_access_key(OwnForm(visitor, form): OwnForm<NewKey>) -> Response {
    made(&visitor, form.user, String::new()).await
}

/// Makes a key, and shows it with its secret this once.
async fn made(visitor: &Visitor, user: String, old: String) -> Response {
    let request = CreateAccessKeyRequest { user_name: Some(user) };
    let key = match perform(&visitor.context, request).await {
        Ok(answer) => answer.access_key.unwrap_or_default(),
        Err(error) => return visitor.trouble(&error),
    };
    let secret = key.secret_access_key.map(aws_wire::Sensitive::into_exposed).unwrap_or_default();
    let (user, id) = (key.user_name.unwrap_or_default(), key.access_key_id.unwrap_or_default());
    answer::page(StatusCode::OK, &view::KeyMade::new(&visitor.person, user, id, secret, old))
}

/// What is to be done with an access key.
#[derive(Deserialize)]
pub(crate) struct KeyTask {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    task: String,
}

/// `POST /access-keys/{id}`
pub(crate) async fn change_access_key(
    id: Result<Path<String>, PathRejection>,
    OwnForm(visitor, form): OwnForm<KeyTask>,
) -> Response {
    let id = named(id);
    let update = |status: &str| UpdateAccessKeyRequest {
        user_name: Some(form.user.clone()),
        access_key_id: Some(id.clone()),
        status: Some(status.to_owned()),
    };
    let context = &visitor.context;
    let done = match form.task.as_str() {
        "rotate" => return made(&visitor, form.user.clone(), id.clone()).await,
        "disable" => perform(context, update("Inactive")).await.map(|()| "key-disabled"),
        "enable" => perform(context, update("Active")).await.map(|()| "key-enabled"),
        "delete" => {
            let (user_name, access_key_id) = (Some(form.user.clone()), Some(id.clone()));
            perform(context, DeleteAccessKeyRequest { user_name, access_key_id }).await.map(|()| "key-deleted")
        }
        other => Err(unknown_task(other)),
    };
    led(&visitor, done.map(|done| format!("/console/access-keys?done={done}")))
}

/// `GET /sessions`
pub(crate) async fn sessions(
    visitor: Visitor,
    State(server): State<Arc<Server>>,
    query: Result<Query<DoneQuery>, QueryRejection>,
) -> Response {
    let found = match user(&visitor.person.user) {
        Ok(name) => server.user_sessions(&visitor.context, &name, &visitor.token).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => {
            let page = view::Sessions::new(&visitor.person, &found, notice(query), visitor.context.now);
            answer::page(StatusCode::OK, &page)
        }
        Err(error) => visitor.trouble(&error),
    }
}

/// Which session is to end: its id, or `others`.
#[derive(Deserialize)]
pub(crate) struct SessionTask {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    end: String,
}

/// `POST /sessions`
pub(crate) async fn end_session(
    State(server): State<Arc<Server>>,
    OwnForm(visitor, form): OwnForm<SessionTask>,
) -> Response {
    let context = &visitor.context;
    let done = match (user(&visitor.person.user), form.end.as_str()) {
        (Err(error), _) => Err(error),
        (Ok(name), "others") => server.revoke_sessions(context, &name, Some(&visitor.token)).await.map(|()| "sessions"),
        (Ok(name), id) => server.revoke_session(context, &name, id).await.map(|()| "session"),
    };
    led(&visitor, done.map(|done| format!("/console/sessions?done={done}")))
}

/// `GET /account`
pub(crate) async fn account(visitor: Visitor, query: Result<Query<DoneQuery>, QueryRejection>) -> Response {
    answer::page(StatusCode::OK, &view::Account::new(&visitor.person, notice(query)))
}

/// The form for another password of the own.
#[derive(Deserialize)]
pub(crate) struct NewPassword {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    present: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

/// `POST /account`
pub(crate) async fn change_password(
    State(server): State<Arc<Server>>,
    sender: Sender,
    OwnForm(visitor, form): OwnForm<NewPassword>,
) -> Response {
    let refused = |words: &str| {
        let page = view::Account::new(&visitor.person, Some(Notice::new("bad", words)));
        answer::page(StatusCode::BAD_REQUEST, &page)
    };
    if form.password != form.again {
        return refused("The two new passwords differ. Nothing was changed.");
    }
    let (present, password) = (Secret::new(form.present), Secret::new(form.password));
    match server.change_password(&visitor.context, &present, &password, &sender.visit()).await {
        Ok(session) => with_cookie(answer::see_other("/console/account?done=changed"), &keep(&sender.cookie, &session)),
        Err(error) if matches!(error.code, "PasswordPolicyViolation" | "InvalidInput") => refused(&error.message),
        Err(error) => visitor.trouble(&error),
    }
}
