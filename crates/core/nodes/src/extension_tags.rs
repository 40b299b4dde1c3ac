//! Tags `careen:*`: how what AWS's API cannot say is said of one of its resources.
//!
//! botocore and Terraform refuse members that AWS's shapes do not have; a tag they let through. So that a mistyped key is
//! not a setting that silently does nothing, keys with this prefix must be known, and have a value that means something.

use crate::{Refused, ResourceType, Tags};

/// What the keys begin with; in capitals too they are reserved.
const PREFIX: &str = "careen:";

/// Whether a reboot follows every installation (`aws`) or only where one is needed (`needed`); on a node before its baseline,
/// and before what the agent was started with.
pub const REBOOT_POLICY: &str = "careen:reboot-policy";

/// One of the known tags.
#[derive(Debug)]
pub struct ExtensionTag {
    /// The key.
    pub key: &'static str,
    /// What may carry it.
    pub resource_types: &'static [ResourceType],
    /// The values that it may have.
    pub values: &'static [&'static str],
}

/// All of them. A feature that reads another one adds it here.
pub const EXTENSION_TAGS: &[ExtensionTag] = &[ExtensionTag {
    key: REBOOT_POLICY,
    resource_types: &[ResourceType::ManagedInstance, ResourceType::PatchBaseline],
    values: &["needed", "aws"],
}];

impl ExtensionTag {
    fn described(&self) -> String {
        let types: Vec<&str> = self.resource_types.iter().map(|kind| kind.as_str()).collect();
        format!("{}={} on {}", self.key, self.values.join("|"), types.join(" and "))
    }
}

/// Whether a tag that begins with `careen:` is a known one for that kind of resource.
///
/// # Errors
/// [`Refused::Validation`], with all that are known.
pub(crate) fn check(resource_type: ResourceType, key: &str, value: &str) -> Result<(), Refused> {
    if !key.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX)) {
        return Ok(());
    }
    let known = EXTENSION_TAGS
        .iter()
        .any(|tag| tag.key == key && tag.resource_types.contains(&resource_type) && tag.values.contains(&value));
    if known {
        return Ok(());
    }
    let all: Vec<String> = EXTENSION_TAGS.iter().map(ExtensionTag::described).collect();
    Err(Refused::Validation(format!(
        "Tag keys that start with 'careen:' are settings of Careen, and '{key}={value}' is none for a {}. Known are: {}.",
        resource_type.as_str(),
        all.join("; ")
    )))
}

/// The value of an extension tag. One that is not valid was set before this rule stood, and counts as not there.
#[must_use]
pub fn extension_value<'t>(tags: &'t Tags, key: &str) -> Option<&'t str> {
    let known = EXTENSION_TAGS.iter().find(|tag| tag.key == key)?;
    tags.get(key).map(String::as_str).filter(|value| known.values.contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_settings_are_taken() {
        use ResourceType::{Document, ManagedInstance, PatchBaseline};
        for (kind, key, value, taken) in [
            (ManagedInstance, REBOOT_POLICY, "aws", true),
            (PatchBaseline, REBOOT_POLICY, "needed", true),
            (Document, REBOOT_POLICY, "needed", false),
            (ManagedInstance, REBOOT_POLICY, "always", false),
            (ManagedInstance, REBOOT_POLICY, "", false),
            (ManagedInstance, "careen:reboot-polcy", "aws", false),
            (ManagedInstance, "Careen:Reboot-Policy", "aws", false),
            (ManagedInstance, "careen:", "", false),
            (ManagedInstance, "careen", "anything", true),
            (ManagedInstance, "careenä:x", "", true),
            (ManagedInstance, "owner", "careen:me", true),
        ] {
            let found = check(kind, key, value);
            assert_eq!(found.is_ok(), taken, "{key}={value} on {kind:?}");
            if let Err(refused) = found {
                assert_eq!(refused.code(), "ValidationException");
                let text = refused.to_string();
                assert!(
                    text.contains("careen:reboot-policy=needed|aws on ManagedInstance and PatchBaseline"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_value_from_before_the_rule_means_nothing() {
        let tags = |value: &str| Tags::from([(REBOOT_POLICY.to_owned(), value.to_owned())]);
        assert_eq!(extension_value(&tags("aws"), REBOOT_POLICY), Some("aws"));
        assert_eq!(extension_value(&tags("AWS"), REBOOT_POLICY), None);
        assert_eq!(extension_value(&tags("aws"), "careen:other"), None);
    }
}
