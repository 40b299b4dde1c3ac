use crate::validate::check;
use crate::{AwsError, Input};
use serde::Serialize;
use serde_json::Value;

/// The media type of awsJson1.1 requests and answers.
pub const JSON_1_1_CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// Reads the body of an awsJson1.1 request, checking it against the constraints of the model first. An empty body is
/// an empty structure. Nesting deeper than 128 is refused (`serde_json`'s own limit); the caller bounds the size.
///
/// # Errors
/// `SerializationException` for a body that is not JSON of the right types, `ValidationException` with AWS's text for
/// values outside their constraints.
pub fn decode<I: Input>(body: &[u8]) -> Result<I, AwsError> {
    let value: Value = if body.is_empty() {
        Value::Object(serde_json::Map::new())
    } else {
        serde_json::from_slice(body).map_err(|_| AwsError::serialization("The request body is not valid JSON"))?
    };
    check(I::OPERATION.shape().input, &value)?;
    serde_json::from_value(value).map_err(|_| AwsError::serialization("The request body does not fit the operation"))
}

/// Writes the body of an awsJson1.1 answer.
///
/// # Errors
/// `InternalServerError` when the value cannot be written as JSON, which no generated shape can cause.
pub fn encode<O: Serialize>(output: &O) -> Result<Vec<u8>, AwsError> {
    serde_json::to_vec(output).map_err(|_| AwsError::internal())
}
