use super::escape;
use crate::shape::{Kind, Shape};
use crate::{AwsError, Input, WireTime};
use identifiers::Timestamp;
use serde_json::Value;
use std::fmt::Write;

/// Writes the answer of an operation: `NAMEResponse` around `NAMEResult` around the members, with the request's id.
///
/// # Errors
/// `InternalServerError` when the value cannot be written, which no generated shape can cause.
pub fn encode<I: Input>(output: &I::Output, request_id: &str) -> Result<Vec<u8>, AwsError> {
    let (name, namespace) = (I::OPERATION.name(), I::OPERATION.xml_namespace());
    let mut out = format!("<{name}Response xmlns=\"{namespace}\">\n");
    if let Some(shape) = I::OPERATION.shape().output {
        let value = serde_json::to_value(output).map_err(|_| AwsError::internal())?;
        element(&mut out, &format!("{name}Result"), shape, &value);
    }
    // Writing to a String cannot fail.
    let id = escape(request_id);
    let _ = write!(out, "<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\n</{name}Response>\n");
    Ok(out.into_bytes())
}

fn element(out: &mut String, name: &str, shape: &'static Shape, value: &Value) {
    let _ = write!(out, "<{name}>");
    match (&shape.kind, value) {
        (Kind::Structure(members), Value::Object(object)) => {
            for member in *members {
                if let Some(value) = object.get(member.name) {
                    element(out, member.name, member.shape, value);
                }
            }
        }
        (Kind::List(item), Value::Array(items)) => {
            items.iter().for_each(|value| element(out, "member", item, value));
        }
        (Kind::Timestamp, Value::Number(seconds)) => {
            let at = serde_json::from_value::<WireTime>(Value::Number(seconds.clone())).unwrap_or_default();
            out.push_str(&Timestamp::from(at).to_rfc3339_seconds());
        }
        (_, Value::String(text)) => out.push_str(&escape(text)),
        // Numbers and truth values are written as in JSON.
        (_, other) => out.push_str(&escape(&other.to_string())),
    }
    let _ = writeln!(out, "</{name}>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::{DeleteUserRequest, ListUsersRequest, ListUsersResponse, User};
    use crate::sts::{GetCallerIdentityRequest, GetCallerIdentityResponse};

    #[test]
    fn the_answer_is_escaped_xml() {
        let output = GetCallerIdentityResponse {
            account: Some("000000000000".to_owned()),
            arn: Some("arn:aws:iam::000000000000:user/<a&b>".to_owned()),
            user_id: None,
        };
        let body = String::from_utf8(encode::<GetCallerIdentityRequest>(&output, "r-1").unwrap()).unwrap();
        assert_eq!(
            body,
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n<GetCallerIdentityResult>\
             <Account>000000000000</Account>\n<Arn>arn:aws:iam::000000000000:user/&lt;a&amp;b&gt;</Arn>\n\
             </GetCallerIdentityResult>\n<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>\n\
             </GetCallerIdentityResponse>\n"
        );
    }

    #[test]
    fn lists_times_and_truth_values_are_written() {
        let user = User {
            user_name: Some("ana".to_owned()),
            create_date: Some(WireTime::from(Timestamp::from_seconds(1_550_173_814))),
            ..User::default()
        };
        let output = ListUsersResponse { users: Some(vec![user]), is_truncated: Some(false), marker: None };
        let body = String::from_utf8(encode::<ListUsersRequest>(&output, "r-1").unwrap()).unwrap();
        for part in [
            "<Users><member>",
            "<UserName>ana</UserName>",
            "<CreateDate>2019-02-14T19:50:14Z</CreateDate>",
            "<IsTruncated>false</IsTruncated>",
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
        let body = String::from_utf8(encode::<DeleteUserRequest>(&(), "r-1").unwrap()).unwrap();
        assert!(!body.contains("Result"), "{body}");
    }
}
