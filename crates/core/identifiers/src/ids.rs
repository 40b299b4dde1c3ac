use crate::IdSource;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} must be {form}, not '{found}'")]
pub struct IdError {
    kind: &'static str,
    form: &'static str,
    found: String,
}

impl IdError {
    pub(crate) fn new(kind: &'static str, form: &'static str, found: &str) -> Self {
        Self { kind, form, found: found.chars().take(64).collect() }
    }
}

fn lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    let fits = [8, 4, 4, 4, 12].iter().all(|len| parts.next().is_some_and(|p| p.len() == *len && lower_hex(p)));
    fits && parts.next().is_none()
}

fn prefixed_17(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 17 && lower_hex(rest))
}

fn name(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $form:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads the id.
            ///
            /// # Errors
            /// When the text does not have the form given above.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(IdError::new($kind, $form, text)) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(/** A managed node: `mi-` and 17 lower-case hex digits. */ NodeId, "instance id", "mi- and 17 hex digits", |t| {
    prefixed_17(t, "mi-")
});
id!(/** A patch baseline: `pb-` and 17 lower-case hex digits (the bare id; ARNs are taken apart at the edge). */
    BaselineId, "patch baseline id", "pb- and 17 hex digits", |t| prefixed_17(t, "pb-"));
id!(/** A command: a lower-case UUID. */ CommandId, "command id", "a lower-case UUID", uuid);
id!(/** An activation: a lower-case UUID. */ ActivationId, "activation id", "a lower-case UUID", uuid);
id!(/** One job given to one node: a lower-case UUID. */ JobId, "job id", "a lower-case UUID", uuid);
id!(/** One request, through log, audit and agent: a lower-case UUID. */ RequestId, "request id", "a lower-case UUID", uuid);
id!(/** An access key id: 16 to 128 characters of `[A-Za-z0-9_]`. */ AccessKeyId, "access key id", "16 to 128 of [A-Za-z0-9_]", |t| {
    (16..=128).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
});
id!(/** A user of an account: 1 to 64 characters of `[A-Za-z0-9_+=,.@-]`, as IAM has it. Two names that differ in case alone are
    the same user. */
    UserName, "user name", "1 to 64 of [A-Za-z0-9_+=,.@-]", |t| {
    (1..=64).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-'))
});
id!(/** An SSM document's name: 3 to 128 characters of `[a-zA-Z0-9_.-]`. */ DocumentName, "document name", "3 to 128 of [a-zA-Z0-9_.-]", |t| {
    name(t, 3, 128)
});
id!(/** A patch group: the value of a node's tag `PatchGroup` or `Patch Group`, 1 to 256 characters. */
    PatchGroupName, "patch group", "1 to 256 characters", |t| {
    let count = t.chars().count();
    (1..=256).contains(&count) && !t.chars().any(char::is_control)
});

impl UserName {
    /// The administrator that every account has, and that can be neither removed nor disabled.
    #[must_use]
    pub fn root() -> Self {
        Self("root".to_owned())
    }

    /// Whether it is [`UserName::root`].
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.eq_ignore_ascii_case("root")
    }

    /// The form under which two names that are the same user are equal.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// The user's ARN.
    #[must_use]
    pub fn arn(&self, account: &crate::AccountId) -> String {
        match self.is_root() {
            true => format!("arn:aws:iam::{account}:root"),
            false => format!("arn:aws:iam::{account}:user/{}", self.0),
        }
    }
}

macro_rules! generated {
    ($($name:ident => $make:expr),* $(,)?) => {$(
        impl $name {
            /// A new id from the given randomness.
            pub fn generate(ids: &mut dyn IdSource) -> Self {
                let make: fn(&mut dyn IdSource) -> String = $make;
                Self(make(ids))
            }
        }
    )*};
}
generated! {
    NodeId => |ids| format!("mi-{}", ids.hex17()),
    BaselineId => |ids| format!("pb-{}", ids.hex17()),
    CommandId => |ids| ids.uuid(),
    ActivationId => |ids| ids.uuid(),
    JobId => |ids| ids.uuid(),
    RequestId => |ids| ids.uuid(),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededIds;

    #[test]
    fn generated_ids_are_well_formed_and_differ() {
        let mut ids = SeededIds::new(1);
        let a = NodeId::generate(&mut ids);
        let b = NodeId::generate(&mut ids);
        assert_ne!(a, b);
        assert_eq!(NodeId::parse(a.as_str()), Ok(a));
        let command = CommandId::generate(&mut ids);
        assert_eq!(CommandId::parse(command.as_str()), Ok(command));
    }

    #[test]
    fn other_texts_are_refused() {
        assert!(NodeId::parse("mi-0123").is_err());
        assert!(NodeId::parse("MI-0123456789abcdef0").is_err());
        assert!(BaselineId::parse("pb-0123456789ABCDEF0").is_err());
        assert!(CommandId::parse("not-a-uuid").is_err());
        assert!(CommandId::parse("6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab-").is_err());
        assert!(DocumentName::parse("AWS-RunPatchBaseline").is_ok());
        assert!(DocumentName::parse("a/b").is_err());
        for name in ["", "a b", "a/b", "ä", "a:b", &"a".repeat(65)] {
            assert!(UserName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn users_are_told_apart_without_regard_to_case() {
        let (one, other) =
            (UserName::parse("Ana+1@example.net").unwrap(), UserName::parse("ana+1@EXAMPLE.net").unwrap());
        assert_eq!(one.folded(), other.folded());
        assert!(UserName::parse("Root").unwrap().is_root() && !one.is_root());
        let account = crate::AccountId::parse("000000000000").unwrap();
        assert_eq!(UserName::root().arn(&account), "arn:aws:iam::000000000000:root");
        assert_eq!(one.arn(&account), "arn:aws:iam::000000000000:user/Ana+1@example.net");
    }
}
