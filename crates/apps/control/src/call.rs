//! The one way to an operation: check the input, authorise, run, count; a refusal by `access` is written down.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use access::{Action, Decision, Resource};
use aws_wire::{
    AwsError, Input,
    query::{self, Form},
};
use changes::Changes;

use crate::{Context, Error};

/// What an operation's module declares and does. The action is the operation's own name in the model; every
/// operation says which resources it is about, so none can be called without passing `authorise`.
pub trait Operate: Input + Send + Sized {
    /// What the caller must be allowed to act on, as ARNs; never empty.
    fn resources(&self, context: &Context) -> Vec<String>;

    /// Does it.
    fn run(self, context: &Context) -> impl Future<Output = Result<Self::Output, Error>> + Send;
}

/// Calls an operation with a typed input that has been checked against the model, or comes from this program itself.
///
/// # Errors
/// `AccessDeniedException`, or whatever the operation refuses with.
pub async fn perform<I: Operate>(context: &Context, input: I) -> Result<I::Output, Error> {
    let operation = I::OPERATION;
    let began = Instant::now();
    let result = match authorise(context, &operation.action(), input.resources(context)).await {
        Ok(()) => input.run(context).await,
        Err(error) => Err(error),
    };
    let code = result.as_ref().map_or_else(|error| error.code, |_| "OK");
    context.server.metrics.request(operation.name(), code, began.elapsed());
    // The request's own line in the log says what came of it; only what went wrong here needs one more.
    let span = tracing::Span::current();
    span.record("operation", operation.name());
    span.record("code", code);
    if let Err(error) = &result {
        span.record("reason", error.message.as_str());
        if let Some(detail) = error.detail.as_ref().filter(|_| !error.is_read_only()) {
            tracing::error!(request_id = %context.request_id, operation = operation.name(), code, detail, "failed");
        }
    }
    result
}

/// Reads, performs and writes one awsJson1.1 request.
pub(crate) async fn perform_json<I: Operate>(context: &Context, body: &[u8]) -> Result<Vec<u8>, AwsError> {
    let input: I = aws_wire::decode(body).inspect_err(|_| {
        context.server.metrics.request(I::OPERATION.name(), "ValidationException", Duration::ZERO);
    })?;
    let output = perform(context, input).await.map_err(|error| wire_error(&error))?;
    aws_wire::encode(&output)
}

/// Reads, performs and writes one Query request.
pub(crate) async fn perform_query<I: Operate>(context: &Context, form: &Form) -> Result<Vec<u8>, AwsError> {
    let input: I = query::decode(form).inspect_err(|_| {
        context.server.metrics.request(I::OPERATION.name(), "ValidationException", Duration::ZERO);
    })?;
    let output = perform(context, input).await.map_err(|error| wire_error(&error))?;
    query::encode::<I>(&output, context.request_id.as_str())
}

/// The error as the caller sees it: the public half, with the hint behind the message.
#[must_use]
pub fn wire_error(error: &Error) -> AwsError {
    let message = match &error.hint {
        Some(hint) => format!("{} ({hint})", error.message),
        None => error.message.clone(),
    };
    match error.code {
        "ValidationException" => AwsError::validation(message),
        "AccessDeniedException" => AwsError::access_denied(message),
        code => AwsError::modelled(code, Some(message).filter(|text| !text.is_empty())),
    }
}

/// Whether the caller may do `action` on `resources`; a refusal is written down.
pub(crate) async fn authorise(context: &Context, action: &str, resources: Vec<String>) -> Result<(), Error> {
    let named: Vec<Resource> = resources.iter().map(|arn| Resource::new(arn)).collect();
    let reason = match access::authorise(&context.principal, &Action::new(action), &named, &context.scope) {
        Decision::Allow(_) => return Ok(()),
        Decision::Deny(reason) => reason.to_string(),
    };
    let resource = resources.join(" ");
    let mut changes = Changes::new();
    changes.audit.push(context.audit_refused(action, resource.clone(), &reason));
    context.server.store.apply(&context.scope, changes).await?;
    Err(Error::new(
        "AccessDeniedException",
        format!("User: {} is not authorized to perform: {action} on resource: {resource}", context.principal),
    ))
}
