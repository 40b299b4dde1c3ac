use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// A text that is not base64url of the expected number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {0} bytes in base64url without padding")]
pub struct BytesError(usize);

macro_rules! fixed {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads base64url without padding.
            ///
            /// # Errors
            /// When the text is anything else, or of another length.
            pub fn parse(text: &str) -> Result<Self, BytesError> {
                let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BytesError($len))?;
                bytes.try_into().map(Self).map_err(|_| BytesError($len))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BytesError;
            fn try_from(text: String) -> Result<Self, BytesError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

fixed!(/** A nonce, an Ed25519 public key (RFC 8032), a SHA-256 digest: 32 bytes, base64url on the wire. */ Bytes32, 32);
fixed!(/** An Ed25519 signature (RFC 8032): 64 bytes, base64url on the wire. */ Bytes64, 64);
