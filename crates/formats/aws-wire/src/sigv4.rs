//! Verifies Signature Version 4: who signed this request, for which region and service, and when.
//!
//! Signed again with our own code rather than with the `aws-sigv4` crate: that crate chooses which headers to sign
//! and in what form, whereas a verifier must follow the client's `SignedHeaders`, including what a signer would never
//! produce; and it would bring the whole smithy runtime for what is one hash and five HMACs, which ring already does.
//! Requests recorded from botocore stand in for it as oracle (`tests/sigv4.rs`), with AWS's published example (below).
//! The rules: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//!
//! Accepted is the `Authorization` header with `AWS4-HMAC-SHA256`. Refused by name are presigned queries, session
//! tokens and unsigned payloads. The hash of the body is always that of the bytes received. The signature is compared
//! in constant time, and an unknown key costs as much as a wrong signature: nobody learns which part was wrong, except
//! that AWS itself tells an unknown key from a known one.
//!
//! It deliberately does not know which services or regions exist, where secrets lie, or what time it is.

mod authorization;
mod canonical;
mod error;

use crate::Sensitive;
use authorization::Authorization;
use identifiers::{AccessKeyId, Region, Timestamp};
use ring::{digest, hmac};

pub use error::{Protocol, SignatureError};

/// A signature holds so long before and after it was made. The real services allow five minutes.
const SKEW_SECONDS_MAX: i64 = 300;

/// Stands in for the secret of a key that does not exist, so that the same work is done.
const NO_SECRET: &str = "0000000000000000000000000000000000000000";

/// Headers that decide something before or beside the operation: each may come only once.
const SINGLE_HEADERS: &[&str] =
    &["authorization", "host", "date", "x-amz-date", "x-amz-target", "x-amz-content-sha256", "x-amz-security-token"];

/// Of those, the ones that must be signed where they are present: whoever could change them would change what the
/// signer asked for. The date is part of the signature anyway.
const HEADERS_TO_SIGN: &[&str] = &["x-amz-target", "x-amz-content-sha256", "x-amz-security-token"];

/// A request as it came in, before anything is believed of it.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The HTTP method, in capitals.
    pub method: &'a str,
    /// The path as received, still percent-encoded.
    pub path: &'a str,
    /// The query as received, without the question mark; empty if there is none.
    pub query: &'a str,
    /// All headers in order, names in any case. Under HTTP/2 the authority comes as `host`.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The whole body as received.
    pub body: &'a [u8],
}

impl<'a> SignedRequest<'a> {
    /// The values of a header, in order.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// A header that may come only once, as text; white space around it is not part of it.
    fn single(&self, name: &str) -> Option<&'a str> {
        self.values(name).next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }
}

/// A request whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose key signed it.
    pub access_key_id: AccessKeyId,
    /// The region it was signed for.
    pub region: Region,
    /// The service it was signed for, e.g. `ssm`: see [`Verified::signed_for`].
    pub service: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

impl Verified {
    /// Checks that the request was signed for the service whose operation it names.
    ///
    /// # Errors
    /// [`SignatureError::Refused`] when it was signed for another one.
    pub fn signed_for(&self, service: &str) -> Result<(), SignatureError> {
        if self.service == service {
            return Ok(());
        }
        Err(SignatureError::Refused(format!("Credential should be scoped to correct service: '{service}'.")))
    }
}

/// What a request claims: read, but not yet verified. In two steps, because a secret may have to be fetched.
#[derive(Debug, Clone)]
pub struct Claim {
    access_key_id: Option<AccessKeyId>,
    region: Region,
    service: String,
    signed_at: Timestamp,
    /// `YYYYMMDD`, as in the credential scope.
    date: String,
    string_to_sign: String,
    signature: String,
    /// False where something else than the signature already tells that the request is not what was signed.
    consistent: bool,
}

impl Claim {
    /// The key whose secret is needed. None if what the request says cannot be a key id: such a claim is verified
    /// without a secret.
    #[must_use]
    pub fn access_key_id(&self) -> Option<&AccessKeyId> {
        self.access_key_id.as_ref()
    }

    /// Verifies the claim with the key's secret, or without one if there is no such key.
    ///
    /// # Errors
    /// [`SignatureError::UnknownKey`], [`SignatureError::Expired`], [`SignatureError::NotYetCurrent`] or
    /// [`SignatureError::Mismatch`], looked at in this order after all the work is done.
    pub fn verify(self, secret: Option<&Sensitive<String>>, now: Timestamp) -> Result<Verified, SignatureError> {
        let key = self.signing_key(secret.map_or(NO_SECRET, |secret| secret.expose().as_str()));
        let given = decode_hex(&self.signature).unwrap_or_default();
        let matches = hmac::verify(&key, self.string_to_sign.as_bytes(), &given).is_ok();
        let (Some(access_key_id), Some(_)) = (self.access_key_id, secret) else {
            return Err(SignatureError::UnknownKey);
        };
        if self.signed_at.plus_seconds(SKEW_SECONDS_MAX) < now {
            return Err(SignatureError::Expired { signed_at: self.signed_at, now });
        }
        if now.plus_seconds(SKEW_SECONDS_MAX) < self.signed_at {
            return Err(SignatureError::NotYetCurrent { signed_at: self.signed_at, now });
        }
        if !(matches && self.consistent) {
            return Err(SignatureError::Mismatch);
        }
        Ok(Verified { access_key_id, region: self.region, service: self.service, signed_at: self.signed_at })
    }

    fn signing_key(&self, secret: &str) -> hmac::Key {
        let start = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        [self.date.as_str(), self.region.as_str(), self.service.as_str(), authorization::TERMINATOR]
            .iter()
            .fold(start, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
    }
}

/// Reads what a request claims, without believing it.
///
/// # Errors
/// [`SignatureError::MissingToken`], [`SignatureError::Incomplete`] or [`SignatureError::Refused`] for a request that
/// is not signed in a form that can be verified; [`SignatureError::UnknownKey`] for one with a session token, since no
/// temporary credentials are ever issued.
pub fn read(request: &SignedRequest<'_>) -> Result<Claim, SignatureError> {
    if canonical::is_presigned(request.query) {
        return Err(SignatureError::Incomplete("Presigned requests are not supported.".to_owned()));
    }
    if request.values("authorization").next().is_none() {
        return Err(SignatureError::MissingToken);
    }
    if let Some(name) = SINGLE_HEADERS.iter().find(|name| request.values(name).nth(1).is_some()) {
        return Err(SignatureError::Incomplete(format!("Header '{name}' must not be given more than once.")));
    }
    let authorization = Authorization::read(request)?;
    for name in HEADERS_TO_SIGN.iter().filter(|name| request.values(name).next().is_some()) {
        authorization.must_sign(name)?;
    }
    authorization.must_sign("host")?;
    if request.values("x-amz-security-token").next().is_some() {
        return Err(SignatureError::UnknownKey);
    }
    let body_sha256 = hex(digest::digest(&digest::SHA256, request.body).as_ref());
    let body_as_declared = declared_body(request, &body_sha256)?;
    let scope = &authorization.scope;
    let region = Region::parse(scope.region)
        .map_err(|_| SignatureError::Refused("Credential should be scoped to a valid region.".to_owned()))?;
    let signed = canonical::request(request, &authorization.signed_headers, &body_sha256);
    let string_to_sign = format!(
        "{}\n{}\n{}/{}/{}/{}\n{}",
        authorization::ALGORITHM,
        authorization.time,
        scope.date,
        scope.region,
        scope.service,
        authorization::TERMINATOR,
        hex(digest::digest(&digest::SHA256, &signed.bytes).as_ref()),
    );
    Ok(Claim {
        access_key_id: AccessKeyId::parse(scope.access_key_id).ok(),
        region,
        service: scope.service.to_owned(),
        signed_at: authorization.signed_at,
        date: scope.date.to_owned(),
        string_to_sign,
        signature: authorization.signature.to_owned(),
        consistent: body_as_declared && signed.complete,
    })
}

/// Reads and verifies a request, where the secret is at hand.
///
/// # Errors
/// As [`read`] and [`Claim::verify`].
pub fn verify(
    request: &SignedRequest<'_>,
    lookup: impl FnOnce(&AccessKeyId) -> Option<Sensitive<String>>,
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let claim = read(request)?;
    let secret = claim.access_key_id().and_then(lookup);
    claim.verify(secret.as_ref(), now)
}

/// Whether the body is the one that `x-amz-content-sha256` declares, if it is there.
fn declared_body(request: &SignedRequest<'_>, body_sha256: &str) -> Result<bool, SignatureError> {
    if request.values("x-amz-content-sha256").next().is_none() {
        return Ok(true);
    }
    match request.single("x-amz-content-sha256").unwrap_or_default() {
        declared if declared.starts_with("UNSIGNED-PAYLOAD") || declared.starts_with("STREAMING-") => {
            Err(SignatureError::Refused("Unsigned and streaming payloads are not supported.".to_owned()))
        }
        declared => Ok(declared == body_sha256),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower-case hex, as signatures are written.
fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_signed_as_published() {
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, the ListUsers
        // request of 30 August 2015. Its key id is shorter than any real one, so it cannot go through `verify`.
        let published = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature={published}"
        );
        let headers: [(&str, &[u8]); 4] = [
            ("Authorization", authorization.as_bytes()),
            ("Content-Type", b"application/x-www-form-urlencoded; charset=utf-8"),
            ("Host", b"iam.amazonaws.com"),
            ("X-Amz-Date", b"20150830T123600Z"),
        ];
        let query = "Action=ListUsers&Version=2010-05-08";
        let request = SignedRequest { method: "GET", path: "/", query, headers: &headers, body: b"" };
        let claim = read(&request).unwrap();
        let key = claim.signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        assert_eq!(hex(hmac::sign(&key, claim.string_to_sign.as_bytes()).as_ref()), published);
    }

    #[test]
    fn hex_is_lower_case_and_whole() {
        assert_eq!(decode_hex("00ff"), Some(vec![0, 255]));
        assert_eq!(decode_hex("0"), None);
        assert_eq!(decode_hex("0F"), None);
    }
}
