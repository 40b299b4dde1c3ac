//! The `Authorization` header and the date that belongs to it.

use super::{SignatureError, SignedRequest};
use identifiers::Timestamp;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The last part of every credential scope.
pub(super) const TERMINATOR: &str = "aws4_request";

/// The header's text may be so long.
const HEADER_BYTES_MAX: usize = 8192;

/// The parts of a signature.
#[derive(Debug)]
pub(super) struct Authorization<'a> {
    pub(super) scope: CredentialScope<'a>,
    /// Lower-case names in the order in which they were signed.
    pub(super) signed_headers: Vec<&'a str>,
    pub(super) signature: &'a str,
    pub(super) signed_at: Timestamp,
    /// The date as it was signed: `20150830T123600Z`.
    pub(super) time: String,
}

/// Key, date, region and service.
#[derive(Debug)]
pub(super) struct CredentialScope<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

fn incomplete(message: &str) -> SignatureError {
    SignatureError::Incomplete(message.to_owned())
}

impl<'a> Authorization<'a> {
    pub(super) fn read(request: &SignedRequest<'a>) -> Result<Self, SignatureError> {
        let header = request.single("authorization").filter(|text| text.is_ascii() && text.len() <= HEADER_BYTES_MAX);
        let header = header.ok_or_else(|| incomplete("Authorization header is too long or not ASCII."))?;
        let (algorithm, parts) = header.split_once(' ').unwrap_or((header, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete("Authorization header requires the algorithm AWS4-HMAC-SHA256."));
        }
        let parts = Parts::read(parts)?;
        let date = signing_time(request)?;
        let (Some(credential), Some(signed_headers), Some(signature), Some((signed_at, time))) =
            (parts.credential, parts.signed_headers, parts.signature, date)
        else {
            return Err(parts.missing(date_header(request).is_none()));
        };
        let scope = CredentialScope::read(credential)?;
        if !time.starts_with(scope.date) {
            let day = time.get(..8).unwrap_or_default();
            return Err(SignatureError::Refused(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
                 '{day}', from '{time}'.",
                scope.date
            )));
        }
        Ok(Self { scope, signed_headers: signed_headers.split(';').collect(), signature, signed_at, time })
    }

    /// # Errors
    /// When that header is not among those signed.
    pub(super) fn must_sign(&self, name: &str) -> Result<(), SignatureError> {
        if self.signed_headers.contains(&name) {
            return Ok(());
        }
        Err(SignatureError::Refused(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization header.")))
    }
}

#[derive(Debug, Default)]
struct Parts<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, SignatureError> {
        let mut parts = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| {
                incomplete("Authorization header has a part that is not a key=value pair (missing equal-sign).")
            })?;
            let place = match name {
                "Credential" => &mut parts.credential,
                "SignedHeaders" => &mut parts.signed_headers,
                "Signature" => &mut parts.signature,
                _ => return Err(incomplete("Authorization header has an unknown parameter.")),
            };
            if place.replace(value).is_some() {
                return Err(incomplete("Authorization header has a parameter twice."));
            }
        }
        Ok(parts)
    }

    fn missing(&self, no_date: bool) -> SignatureError {
        let all = [
            (self.credential.is_none(), "Authorization header requires 'Credential' parameter."),
            (self.signature.is_none(), "Authorization header requires 'Signature' parameter."),
            (self.signed_headers.is_none(), "Authorization header requires 'SignedHeaders' parameter."),
            (no_date, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."),
        ];
        let missing: Vec<&str> = all.iter().filter(|(absent, _)| *absent).map(|(_, text)| *text).collect();
        incomplete(&missing.join(" "))
    }
}

impl<'a> CredentialScope<'a> {
    fn read(credential: &'a str) -> Result<Self, SignatureError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, date, region, service, terminator] = parts.as_slice() else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            ));
        };
        let refused = |text: &str| Err(SignatureError::Refused(text.to_owned()));
        if *terminator != TERMINATOR {
            return refused("Credential should be scoped with a valid terminator: 'aws4_request'.");
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return refused("Date in Credential scope must be in ISO-8601 'basic format' (YYYYMMDD).");
        }
        if !(1..=64).contains(&service.len()) || !service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return refused("Credential should be scoped to a valid service.");
        }
        Ok(Self { access_key_id, date, region, service })
    }
}

fn date_header<'a>(request: &SignedRequest<'a>) -> Option<&'a str> {
    request.single("x-amz-date").or_else(|| request.single("date"))
}

/// The date of the signature, and how it stands in the string to sign. `X-Amz-Date` is in ISO 8601's basic format;
/// `Date`, which counts only without it, may be an HTTP date as well.
fn signing_time(request: &SignedRequest<'_>) -> Result<Option<(Timestamp, String)>, SignatureError> {
    let Some(text) = date_header(request) else { return Ok(None) };
    let at = read_basic(text).or_else(|| if request.single("x-amz-date").is_none() { read_http(text) } else { None });
    let at = at.ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format', e.g. '20150830T123600Z'."))?;
    Ok(Some((at, at.to_rfc3339_seconds().replace(['-', ':'], ""))))
}

/// `20150830T123600Z`.
fn read_basic(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(9, 11)?, part(11, 13)?, part(13, 15)?);
    (text.get(8..9) == Some("T") && text.ends_with('Z')).then_some(())?;
    Timestamp::parse(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// `Sun, 30 Aug 2015 12:36:00 GMT` (RFC 9110, section 5.6.7).
fn read_http(text: &str) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_seconds(at.timestamp().as_second()))
}
