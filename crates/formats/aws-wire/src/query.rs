//! The Query protocol, as far as STS and IAM need it: a form in, XML out.
//! See <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>.

mod answer;
mod input;

pub use answer::encode;
pub use input::decode;

use crate::{AwsError, Operation, iam, sts};
use std::collections::BTreeMap;

/// The media type of Query answers.
pub const XML_CONTENT_TYPE: &str = "text/xml";

/// More parameters than this are refused.
const PARAMETERS_MAX: usize = 1000;

/// The parameters of a Query request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` text: a body, or a query string.
    ///
    /// # Errors
    /// `MalformedQueryString` for a broken escape, text that is not UTF-8, a parameter that is given twice, or more
    /// than a thousand of them.
    pub fn parse(text: &[u8]) -> Result<Self, AwsError> {
        let malformed = |what: &str| AwsError::new("MalformedQueryString", what, 400);
        let mut parameters = BTreeMap::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || decoded(halves.next().unwrap_or_default());
            let (Some(name), Some(value)) = (half(), half()) else {
                return Err(malformed("The query string contains a syntax error"));
            };
            if parameters.insert(name, value).is_some() {
                return Err(malformed("Duplicate parameter"));
            }
            if parameters.len() > PARAMETERS_MAX {
                return Err(malformed("Too many parameters"));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The operation that `Action` and `Version` name. Without a version it is STS's, as curl users of it are used to.
    ///
    /// # Errors
    /// `MissingAction` or `InvalidAction`.
    pub fn operation(&self) -> Result<Operation, AwsError> {
        let action = self.get("Action").ok_or_else(|| AwsError::new("MissingAction", "Missing Action", 400))?;
        let version = self.get("Version").unwrap_or(sts::API_VERSION);
        let found = match version {
            sts::API_VERSION => sts::route(action).map(Operation::Sts),
            iam::API_VERSION => iam::route(action).map(Operation::Iam),
            _ => None,
        };
        found.ok_or_else(|| {
            let (action, version): (String, String) = (beginning(action), beginning(version));
            let message = format!("Could not find operation {action} for version {version}");
            AwsError::new("InvalidAction", message, 400)
        })
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(128).collect()
}

fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => hex(*bytes.next()?)? << 4 | hex(*bytes.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Text as XML content or attribute value. Characters that XML 1.0 cannot hold become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let form = Form::parse(b"Action=GetCallerIdentity&Version=2011-06-15&Note=a%20b+c%C3%A9&Empty=&&Bare").unwrap();
        assert_eq!(form.operation(), Ok(Operation::Sts(sts::Operation::GetCallerIdentity)));
        assert_eq!(form.get("Note"), Some("a b cé"));
        assert_eq!((form.get("Empty"), form.get("Bare"), form.get("None")), (Some(""), Some(""), None));
    }

    #[test]
    fn broken_forms_are_refused() {
        for text in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%FF", "%C3=1", "a=1&a=2"] {
            assert_eq!(Form::parse(text.as_bytes()).unwrap_err().code, "MalformedQueryString", "{text}");
        }
        let many = "a".repeat(10).chars().enumerate().map(|(i, _)| format!("p{i}=1&")).collect::<String>();
        assert!(Form::parse(many.as_bytes()).is_ok());
        let many: String = (0..=PARAMETERS_MAX).map(|i| format!("p{i}=1&")).collect();
        assert!(Form::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn actions_that_do_not_exist_are_told() {
        let code = |text: &[u8]| Form::parse(text).unwrap().operation().unwrap_err();
        assert_eq!(code(b"").code, "MissingAction");
        let error = code(b"Action=AssumeRole&Version=2011-06-15");
        assert_eq!(error.message.as_deref(), Some("Could not find operation AssumeRole for version 2011-06-15"));
        assert_eq!((error.code.as_str(), error.http_status), ("InvalidAction", 400));
        assert_eq!(code(b"Action=GetCallerIdentity&Version=2012-01-01").code, "InvalidAction");
        assert_eq!(code(b"Action=ListUsers&Version=2011-06-15").code, "InvalidAction");
        assert_eq!(code(b"Action=GetCallerIdentity&Version=2010-05-08").code, "InvalidAction");
        let form = Form::parse(b"Action=ListUsers&Version=2010-05-08").unwrap();
        assert_eq!(form.operation(), Ok(Operation::Iam(iam::Operation::ListUsers)));
    }
}
