use serde::{Deserialize, Serialize};

/// A value that the model marks as sensitive, or that is a secret by its nature: it travels on the wire, but never
/// appears in debug output, logs or error messages.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// The value itself. The name marks each place where a secret is looked at.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, by value.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> std::fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[sensitive]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_value_and_the_wire_carries_it() {
        let code = Sensitive::from("very-secret".to_owned());
        assert_eq!(format!("{code:?}"), "[sensitive]");
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"very-secret\"");
        assert_eq!(serde_json::from_str::<Sensitive<String>>("\"very-secret\"").unwrap(), code);
    }
}
