use crate::query::escape;
use crate::{careen, iam, ssm};
use serde_json::{Map, Value};
use thiserror::Error;

/// One error of a service's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorShape {
    /// The error's name, which is also its code.
    pub name: &'static str,
    /// How the model spells the member that carries the message; some errors have none.
    pub message_member: Option<&'static str>,
    /// The HTTP status it is sent with.
    pub http_status: u16,
}

/// An error as a client sees it. The protocol decides how it is written: [`AwsError::json_body`] or
/// [`AwsError::query_body`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {}", message.as_deref().unwrap_or(""))]
pub struct AwsError {
    /// The error's name, e.g. `DoesNotExistException`.
    pub code: String,
    /// What is said to the user.
    pub message: Option<String>,
    /// The HTTP status of the answer.
    pub http_status: u16,
}

impl AwsError {
    /// An error with its code, message and HTTP status.
    pub fn new(code: impl Into<String>, message: impl Into<String>, http_status: u16) -> Self {
        Self { code: code.into(), message: Some(message.into()), http_status }
    }

    /// An error of a service's model, with the model's status; 400 where no model has it.
    pub fn modelled(code: &str, message: Option<String>) -> Self {
        let http_status = shape_of(code).map_or(400, |shape| shape.http_status);
        Self { code: code.to_owned(), message, http_status }
    }

    /// A value outside its constraints: `ValidationException`.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message, 400)
    }

    /// A body that cannot be read: `SerializationException`.
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message, 400)
    }

    /// A target that names no operation: `UnknownOperationException`, which has no message.
    #[must_use]
    pub fn unknown_operation() -> Self {
        Self { code: "UnknownOperationException".to_owned(), message: None, http_status: 400 }
    }

    /// A principal that may not do this: `AccessDeniedException`.
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new("AccessDeniedException", message, 400)
    }

    /// Too many requests: `ThrottlingException`, "Rate exceeded".
    #[must_use]
    pub fn throttling() -> Self {
        Self::new("ThrottlingException", "Rate exceeded", 400)
    }

    /// Our own fault, without any detail: `InternalServerError`.
    #[must_use]
    pub fn internal() -> Self {
        Self::new("InternalServerError", "An error occurred on the server side.", 500)
    }

    /// The same as a service of the Query protocol says it: these have names of their own for what is common to all.
    #[must_use]
    pub fn in_query(mut self) -> Self {
        let (code, http_status) = match self.code.as_str() {
            "ValidationException" => ("ValidationError", 400),
            "AccessDeniedException" => ("AccessDenied", 403),
            "ThrottlingException" => ("Throttling", 400),
            "InternalServerError" => ("ServiceFailure", 500),
            _ => return self,
        };
        code.clone_into(&mut self.code);
        self.http_status = http_status;
        self
    }

    /// The body of an awsJson1.1 answer: `{"__type":"Code","Message":"..."}`.
    ///
    /// A modelled error spells its message as its model does; where the model gives the error no members, a message
    /// that is set is sent all the same, as `Message`: clients read it, and a code alone explains nothing. Errors of
    /// the protocol use `message`, except those which the real services spell `Message`: `AccessDeniedException` and
    /// `SerializationException`. All SDKs accept both.
    #[must_use]
    pub fn json_body(&self) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("__type".to_owned(), Value::String(self.code.clone()));
        if let Some(message) = &self.message {
            body.insert(self.message_member().to_owned(), Value::String(message.clone()));
        }
        Value::Object(body).to_string().into_bytes()
    }

    fn message_member(&self) -> &'static str {
        match (shape_of(&self.code), self.code.as_str()) {
            (Some(shape), _) => shape.message_member.unwrap_or("Message"),
            (None, "AccessDeniedException" | "SerializationException") => "Message",
            (None, _) => "message",
        }
    }

    /// The body of a Query answer (`text/xml`), with the namespace of the service
    /// ([`sts::XML_NAMESPACE`](crate::sts::XML_NAMESPACE)).
    #[must_use]
    pub fn query_body(&self, namespace: &str, request_id: &str) -> Vec<u8> {
        let fault = if self.http_status >= 500 { "Receiver" } else { "Sender" };
        format!(
            "<ErrorResponse xmlns=\"{}\">\n  <Error>\n    <Type>{fault}</Type>\n    <Code>{}</Code>\n    \
             <Message>{}</Message>\n  </Error>\n  <RequestId>{}</RequestId>\n</ErrorResponse>\n",
            escape(namespace),
            escape(&self.code),
            escape(self.message.as_deref().unwrap_or("")),
            escape(request_id),
        )
        .into_bytes()
    }
}

fn shape_of(code: &str) -> Option<&'static ErrorShape> {
    ssm::ERRORS.iter().chain(careen::ERRORS).chain(iam::ERRORS).find(|shape| shape.name == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(error: &AwsError) -> String {
        String::from_utf8(error.json_body()).unwrap()
    }

    #[test]
    fn each_error_spells_its_message_as_the_service_does() {
        let of = |code: &str| json(&AwsError::modelled(code, Some("m".to_owned())));
        assert_eq!(of("DoesNotExistException"), r#"{"Message":"m","__type":"DoesNotExistException"}"#);
        let outlier = of("InvalidInstanceInformationFilterValue");
        assert_eq!(outlier, r#"{"__type":"InvalidInstanceInformationFilterValue","message":"m"}"#);
        assert_eq!(of("InvalidResourceId"), r#"{"Message":"m","__type":"InvalidResourceId"}"#);
        assert_eq!(json(&AwsError::validation("m")), r#"{"__type":"ValidationException","message":"m"}"#);
        assert_eq!(json(&AwsError::serialization("m")), r#"{"Message":"m","__type":"SerializationException"}"#);
        assert_eq!(json(&AwsError::access_denied("m")), r#"{"Message":"m","__type":"AccessDeniedException"}"#);
        assert_eq!(json(&AwsError::unknown_operation()), r#"{"__type":"UnknownOperationException"}"#);
        assert_eq!(json(&AwsError::modelled("InvocationDoesNotExist", None)), r#"{"__type":"InvocationDoesNotExist"}"#);
    }

    #[test]
    fn the_status_follows_the_fault() {
        assert_eq!(AwsError::modelled("InternalServerError", None).http_status, 500);
        assert_eq!(AwsError::modelled("ResourceInUseException", None).http_status, 400);
        assert_eq!(AwsError::modelled("LimitExceeded", None).http_status, 409);
        assert_eq!(AwsError::modelled("NoSuchEntity", None).http_status, 404);
        assert_eq!(AwsError::modelled("Unheard", None).http_status, 400);
    }

    #[test]
    fn query_services_have_their_own_names_for_what_is_common() {
        let of = |error: AwsError| (error.code, error.http_status);
        assert_eq!(of(AwsError::throttling().in_query()), ("Throttling".to_owned(), 400));
        assert_eq!(of(AwsError::access_denied("m").in_query()), ("AccessDenied".to_owned(), 403));
        assert_eq!(of(AwsError::internal().in_query()), ("ServiceFailure".to_owned(), 500));
        assert_eq!(of(AwsError::modelled("NoSuchEntity", None).in_query()), ("NoSuchEntity".to_owned(), 404));
    }

    #[test]
    fn a_query_error_is_escaped_xml() {
        let error = AwsError::new("InvalidAction", "Could not find operation <a>&\u{1} for version 2011-06-15", 400);
        let body = String::from_utf8(error.query_body(crate::sts::XML_NAMESPACE, "r-1")).unwrap();
        assert_eq!(
            body,
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    <Type>Sender</Type>\n    \
             <Code>InvalidAction</Code>\n    <Message>Could not find operation &lt;a&gt;&amp;\u{fffd} for version \
             2011-06-15</Message>\n  </Error>\n  <RequestId>r-1</RequestId>\n</ErrorResponse>\n"
        );
    }
}
