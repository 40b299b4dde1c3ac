//! The rooms: each reads its view and gives its page.

use std::collections::BTreeMap;

use askama::Template;
use aws_wire::ssm::SendCommandRequest;
use axum::{
    Form, Json,
    extract::{Path, Query, rejection::FormRejection, rejection::PathRejection, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use commands::OutputPosition;
use control::{Error, views};
use patching::{PatchOperation, RebootOption};
use serde::Deserialize;

use crate::{
    answer, guard, view,
    visitor::{Sender, Visitor},
};

/// What the addresses of listings may carry. What is unknown is left aside, as everywhere on the web.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ListQuery {
    show: Option<String>,
    state: Option<String>,
    node: Option<String>,
    after: Option<String>,
    sent: Option<String>,
}

type Asked = Result<Query<ListQuery>, QueryRejection>;
type Named<T> = Result<Path<T>, PathRejection>;

fn asked(query: Asked) -> ListQuery {
    query.map(|Query(query)| query).unwrap_or_default()
}

/// An id of an address; one that cannot be read is the id of nothing.
fn named<T: Default>(path: Named<T>) -> T {
    path.map(|Path(id)| id).unwrap_or_default()
}

fn shown(visitor: &Visitor, page: Result<impl Template, Error>) -> Response {
    match page {
        Ok(page) => answer::page(StatusCode::OK, &page),
        Err(error) => visitor.trouble(&error),
    }
}

/// `GET /`
pub(crate) async fn fleet(visitor: Visitor, query: Asked) -> Response {
    let (context, query) = (&visitor.context, asked(query));
    let filter = view::fleet_filter(query.show.as_deref().unwrap_or_default());
    let found = views::fleet(context, filter, query.after.as_deref()).await;
    shown(&visitor, found.map(|found| view::Fleet::new(&visitor.person, found, context.now)))
}

/// `GET /nodes/{node}`
pub(crate) async fn node(visitor: Visitor, id: Named<String>, query: Asked) -> Response {
    let (context, query) = (&visitor.context, asked(query));
    let filter = view::patch_filter(query.state.as_deref().unwrap_or_default());
    let found = views::node(context, &named(id), filter, query.after.as_deref()).await;
    let sent = query.sent.unwrap_or_default();
    let page = |found| view::Node::new(&visitor.person, found, &context.scope, context.now, &sent);
    shown(&visitor, found.map(page))
}

/// `GET /nodes/{node}/history`
pub(crate) async fn history(visitor: Visitor, id: Named<String>, query: Asked) -> Response {
    let (context, query) = (&visitor.context, asked(query));
    let found = views::package_history(context, &named(id), query.after.as_deref()).await;
    shown(&visitor, found.map(|found| view::History::new(&visitor.person, &found, context.now)))
}

/// `GET /commands`
pub(crate) async fn commands(visitor: Visitor, query: Asked) -> Response {
    let (context, query) = (&visitor.context, asked(query));
    let found = views::commands(context, query.node.as_deref(), query.after.as_deref()).await;
    shown(&visitor, found.map(|found| view::Commands::new(&visitor.person, &found, context.now)))
}

/// `GET /commands/{command}`
pub(crate) async fn command(visitor: Visitor, id: Named<String>, query: Asked) -> Response {
    let (context, query) = (&visitor.context, asked(query));
    let found = views::command(context, &named(id), query.after.as_deref()).await;
    shown(&visitor, found.map(|found| view::Command::new(&visitor.person, &found, context.now)))
}

/// `GET /commands/{command}/{node}`
pub(crate) async fn invocation(visitor: Visitor, ids: Named<(String, String)>) -> Response {
    let context = &visitor.context;
    let (command, node) = named(ids);
    let found = views::invocation(context, &command, &node).await;
    shown(&visitor, found.map(|found| view::Invocation::new(&visitor.person, &found, context.now)))
}

/// `GET /commands/{command}/{node}/output`: what is new of it, for the page's script.
pub(crate) async fn new_output(visitor: Visitor, ids: Named<(String, String)>, query: Asked) -> Response {
    let (command, node) = named(ids);
    let position = OutputPosition::parse(query_after(&asked(query)));
    match control::live_output::new_output(&visitor.context, &command, &node, &position).await {
        Ok(found) => Json(view::NewOutput::new(&found)).into_response(),
        Err(error) => visitor.trouble(&error),
    }
}

fn query_after(query: &ListQuery) -> &str {
    query.after.as_deref().unwrap_or_default()
}

/// The form that scans or installs.
#[derive(Debug, Deserialize)]
pub(crate) struct PatchForm {
    #[serde(default)]
    csrf: String,
    operation: Option<String>,
    reboot_option: Option<String>,
}

/// `POST /nodes/{node}/patch`: sends AWS-RunPatchBaseline, as a caller of the API would.
pub(crate) async fn patch(
    visitor: Visitor,
    id: Named<String>,
    form: Result<Form<PatchForm>, FormRejection>,
) -> Response {
    let form = match form {
        Ok(Form(form)) if visitor.owns(&form.csrf) => form,
        _ => return answer::page(StatusCode::FORBIDDEN, &guard::foreign_form(Some(&visitor.person))),
    };
    let id = named(id);
    let sent = match patch_request(&id, &form) {
        Ok(request) => control::perform(&visitor.context, request).await,
        Err(error) => Err(error),
    };
    match sent {
        Ok(result) => {
            let command = result.command.and_then(|command| command.command_id).unwrap_or_default();
            answer::see_other(&format!("/console/nodes/{id}?sent={command}"))
        }
        Err(error) => visitor.trouble(&error),
    }
}

fn patch_request(id: &str, form: &PatchForm) -> Result<SendCommandRequest, Error> {
    let unknown = |member: &str, given: &str| {
        let given: String = given.chars().take(64).collect();
        Error::validation(format!("{member} cannot be '{given}'. Nothing was sent."))
    };
    let operation = match form.operation.as_deref() {
        None => PatchOperation::Scan,
        Some(given) => PatchOperation::parse(given).ok_or_else(|| unknown("Operation", given))?,
    };
    let reboot = match form.reboot_option.as_deref() {
        None => RebootOption::NoReboot,
        Some(given) => RebootOption::parse(given).ok_or_else(|| unknown("RebootOption", given))?,
    };
    let parameters = BTreeMap::from([
        ("Operation".to_owned(), vec![operation.as_str().to_owned()]),
        ("RebootOption".to_owned(), vec![reboot.as_str().to_owned()]),
    ]);
    Ok(SendCommandRequest {
        document_name: Some("AWS-RunPatchBaseline".to_owned()),
        instance_ids: Some(vec![id.to_owned()]),
        parameters: Some(parameters.into()),
        comment: Some("from the console".to_owned()),
        ..SendCommandRequest::default()
    })
}

/// Any other address.
pub(crate) async fn nowhere(visitor: Visitor) -> Response {
    let problem = view::Problem::new(Some(&visitor.person), "Not found", "The console has no such page.");
    answer::page(StatusCode::NOT_FOUND, &problem)
}

/// A page that is only read was sent a form, or the other way round.
pub(crate) async fn wrong_method(_: Sender) -> Response {
    let mut problem = view::Problem::new(None, "Not this way", "This address does not take that kind of request.");
    problem.hint = "A form was perhaps reloaded after its page had gone; begin again from the fleet.".to_owned();
    answer::page(StatusCode::METHOD_NOT_ALLOWED, &problem)
}
