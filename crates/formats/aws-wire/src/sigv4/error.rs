use crate::AwsError;
use identifiers::Timestamp;
use thiserror::Error;

/// Which protocol an answer is written in: the same failure has another name in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// awsJson1.1.
    AwsJson,
    /// Query, as STS speaks it.
    Query,
}

/// Why a request is not taken for what it claims to be. The texts are those of the real services.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("Request is missing Authentication Token")]
    MissingToken,
    /// The signature lacks a part, or its form is not one that can be verified.
    #[error("{0}")]
    Incomplete(String),
    /// There is no such key, or a session token came with it.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// What was signed is not something that is accepted here.
    #[error("{0}")]
    Refused(String),
    /// The signature is too old.
    #[error(
        "Signature expired: {} is now earlier than {} ({} - 5 min.)",
        basic(*signed_at), basic(now.plus_seconds(-super::SKEW_SECONDS_MAX)), basic(*now)
    )]
    Expired {
        /// When the request says it was signed.
        signed_at: Timestamp,
        /// The server's time.
        now: Timestamp,
    },
    /// The signature is from the future.
    #[error(
        "Signature not yet current: {} is still later than {} ({} + 5 min.)",
        basic(*signed_at), basic(now.plus_seconds(super::SKEW_SECONDS_MAX)), basic(*now)
    )]
    NotYetCurrent {
        /// When the request says it was signed.
        signed_at: Timestamp,
        /// The server's time.
        now: Timestamp,
    },
    /// The signature is not the one that this request and the key's secret give.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

impl SignatureError {
    /// The error as a client of that protocol expects it. JSON services answer 400 to all of them; Query services 403,
    /// except where a signature lacks a part, and they call an expired signature one that does not match.
    #[must_use]
    pub fn to_aws_error(&self, protocol: Protocol) -> AwsError {
        let (code, http_status) = match (protocol, self) {
            (Protocol::AwsJson, Self::MissingToken) => ("MissingAuthenticationTokenException", 400),
            (Protocol::AwsJson, Self::Incomplete(_)) => ("IncompleteSignatureException", 400),
            (Protocol::AwsJson, Self::UnknownKey) => ("UnrecognizedClientException", 400),
            (Protocol::AwsJson, _) => ("InvalidSignatureException", 400),
            (Protocol::Query, Self::MissingToken) => ("MissingAuthenticationToken", 403),
            (Protocol::Query, Self::Incomplete(_)) => ("IncompleteSignature", 400),
            (Protocol::Query, Self::UnknownKey) => ("InvalidClientTokenId", 403),
            (Protocol::Query, _) => ("SignatureDoesNotMatch", 403),
        };
        AwsError::new(code, self.to_string(), http_status)
    }
}

/// `20150830T123600Z`.
fn basic(at: Timestamp) -> String {
    at.to_rfc3339_seconds().replace(['-', ':'], "")
}
