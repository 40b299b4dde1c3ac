use super::Form;
use crate::shape::{Kind, Member, Shape};
use crate::validate::check;
use crate::{AwsError, Input};
use identifiers::Timestamp;
use serde_json::{Map, Value};

/// Reads the input of an operation from a form, checking it against the constraints of the model. Members are named by
/// their path: `Tags.member.1.Key`. Names that the model does not know are ignored.
///
/// # Errors
/// `MalformedInput` for a value of another type, `ValidationError` with AWS's text for values outside their constraints.
pub fn decode<I: Input>(form: &Form) -> Result<I, AwsError> {
    let shape = I::OPERATION.shape().input;
    let value = read(form, shape, "")?.unwrap_or_else(|| Value::Object(Map::new()));
    check(shape, &value)?;
    serde_json::from_value(value).map_err(|_| malformed("The request"))
}

fn malformed(what: &str) -> AwsError {
    AwsError::new("MalformedInput", format!("{what} does not fit the operation"), 400)
}

/// The value at a path; `None` where the form has nothing there. The walk follows the model, so its depth is the model's;
/// lists are no longer than the form.
fn read(form: &Form, shape: &'static Shape, path: &str) -> Result<Option<Value>, AwsError> {
    match &shape.kind {
        Kind::Structure(members) => structure(form, members, path),
        Kind::List(element) => list(form, element, path),
        // No served operation has a map in its input; code generation would have to learn `entry.N.key` first.
        Kind::Map { .. } => Ok(None),
        scalar => form.get(path).map(|text| scalar_of(scalar, path, text)).transpose(),
    }
}

fn structure(form: &Form, members: &'static [Member], path: &str) -> Result<Option<Value>, AwsError> {
    let mut object = Map::new();
    for member in members {
        let below = if path.is_empty() { member.name.to_owned() } else { format!("{path}.{}", member.name) };
        if let Some(value) = read(form, member.shape, &below)? {
            object.insert(member.name.to_owned(), value);
        }
    }
    Ok(Some(object).filter(|object| !object.is_empty()).map(Value::Object))
}

fn list(form: &Form, element: &'static Shape, path: &str) -> Result<Option<Value>, AwsError> {
    let mut items = Vec::new();
    while let Some(item) = read(form, element, &format!("{path}.member.{}", items.len() + 1))? {
        items.push(item);
    }
    // An empty list is written as its bare name.
    let given = !items.is_empty() || form.get(path).is_some();
    Ok(given.then_some(Value::Array(items)))
}

fn scalar_of(kind: &Kind, path: &str, text: &str) -> Result<Value, AwsError> {
    let value = match kind {
        Kind::Integer => text.parse::<i32>().ok().map(Value::from),
        Kind::Long => text.parse::<i64>().ok().map(Value::from),
        Kind::Boolean => text.parse::<bool>().ok().map(Value::from),
        Kind::Timestamp => Timestamp::parse(text).ok().map(|at| Value::from(at.as_wire_seconds())),
        _ => Some(Value::from(text)),
    };
    value.ok_or_else(|| malformed(&format!("The value of {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{CreateUserRequest, ListUsersRequest};

    fn read_as<I: Input>(text: &str) -> Result<I, AwsError> {
        decode(&Form::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn members_are_read_by_their_paths() {
        let request: CreateUserRequest = read_as(
            "Action=CreateUser&UserName=ana&Path=/&Unknown=1&Tags.member.1.Key=careen:Role&Tags.member.1.Value=reader\
             &Tags.member.2.Key=b&Tags.member.2.Value=&Tags.member.4.Key=beyond+a+gap",
        )
        .unwrap();
        assert_eq!((request.user_name.as_deref(), request.path.as_deref()), (Some("ana"), Some("/")));
        let tags = request.tags.unwrap();
        assert_eq!(tags.len(), 2);
        assert_eq!((tags[0].key.as_deref(), tags[0].value.as_deref()), (Some("careen:Role"), Some("reader")));
        let empty: CreateUserRequest = read_as("UserName=ana&Tags=").unwrap();
        assert_eq!(empty.tags, Some(Vec::new()));
        let none: ListUsersRequest = read_as("Action=ListUsers").unwrap();
        assert_eq!(none, ListUsersRequest::default());
    }

    #[test]
    fn what_does_not_fit_is_told_in_awss_words() {
        let error = read_as::<ListUsersRequest>("MaxItems=many").unwrap_err();
        assert_eq!((error.code.as_str(), error.http_status), ("MalformedInput", 400));
        let error = read_as::<CreateUserRequest>("UserName=a/b").unwrap_err();
        let message = error.message.unwrap();
        assert!(message.starts_with("1 validation error detected: Value 'a/b' at 'userName' failed"), "{message}");
        assert!(read_as::<CreateUserRequest>("").unwrap_err().message.unwrap().contains("Member must not be null"));
    }
}
