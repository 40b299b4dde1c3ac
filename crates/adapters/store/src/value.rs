use identifiers::{AccountId, Region, Timestamp};

/// What a column can hold: BIGINT, TEXT, BLOB, each also NULL. PostgreSQL wants to know the type of a NULL.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

/// PostgreSQL's TEXT cannot hold the character NUL
/// (<https://www.postgresql.org/docs/current/datatype-character.html>); on both databases its picture stands for it, so
/// that no host can make its own report unstorable. JSON columns escape it and what must stay exact is a BLOB.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{2400}") } else { text }
}

macro_rules! from {
    ($($kind:ident $type:ty: $value:ident => $made:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self { Self::$kind($made) }
        }
    )*};
}

from! {
    Int i64: v => Some(v),
    Int Option<i64>: v => v,
    Int bool: v => Some(i64::from(v)),
    Int Timestamp: v => Some(v.as_micros()),
    Int Option<Timestamp>: v => v.map(Timestamp::as_micros),
    Text &str: v => Some(storable(v.to_owned())),
    Text String: v => Some(storable(v)),
    Text &String: v => Some(storable(v.clone())),
    Text Option<String>: v => v.map(storable),
    Text Option<&str>: v => v.map(|v| storable(v.to_owned())),
    Text &AccountId: v => Some(v.as_str().to_owned()),
    Text &Region: v => Some(v.as_str().to_owned()),
    Blob Vec<u8>: v => Some(v),
    Blob Option<Vec<u8>>: v => v,
    Blob &[u8]: v => Some(v.to_vec()),
}

macro_rules! from_id {
    ($($type:ident),*) => {$(
        impl From<&identifiers::$type> for Value {
            fn from(id: &identifiers::$type) -> Self { Self::Text(Some(id.as_str().to_owned())) }
        }
        impl From<Option<&identifiers::$type>> for Value {
            fn from(id: Option<&identifiers::$type>) -> Self { Self::Text(id.map(|id| id.as_str().to_owned())) }
        }
    )*};
}
from_id!(
    AccessKeyId,
    ActivationId,
    BaselineId,
    CommandId,
    DocumentName,
    JobId,
    NodeId,
    PatchGroupName,
    RequestId,
    UserName
);

/// The bound values of a statement, in the order of `$1`, `$2`, ...
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::value::Value::from($value)),*] };
}
pub(crate) use values;
