use crate::Refused;
use identifiers::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many targets a command may have (the SSM model).
const TARGETS_MAX: usize = 5;

/// How many values a target may have (the SSM model).
const VALUES_MAX: usize = 50;

/// A target as the caller gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// `InstanceIds`, `tag:<key>` or `tag-key`.
    pub key: String,
    /// One of them is enough.
    pub values: Vec<String>,
}

/// A target that was understood: which nodes it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// `InstanceIds` with `*`: every node.
    AllNodes,
    /// `InstanceIds`: nodes by id; unknown ones are passed over.
    InstanceIds(Vec<String>),
    /// `tag:<key>`: nodes whose tag has one of the values.
    Tag {
        /// The tag's key.
        key: String,
        /// One of them is enough.
        values: Vec<String>,
    },
    /// `tag-key`: nodes that have one of the tags, with any value.
    TagKey(Vec<String>),
}

/// Reads the targets of a command: up to 5; a node must fit all of them, and one value of each.
///
/// # Errors
/// [`Refused::Validation`] for too many, for a key that is not known, for one without values, and for resource groups, which
/// do not exist yet.
pub fn parse_targets(targets: &[Target]) -> Result<Vec<Selector>, Refused> {
    if targets.len() > TARGETS_MAX {
        return Err(Refused::Validation(format!("A command has at most {TARGETS_MAX} targets.")));
    }
    targets.iter().map(selector).collect()
}

fn selector(target: &Target) -> Result<Selector, Refused> {
    let shown: String = target.key.chars().take(128).collect();
    if !(1..=VALUES_MAX).contains(&target.values.len()) {
        return Err(Refused::Validation(format!("The target '{shown}' must have 1 to {VALUES_MAX} values.")));
    }
    let values = target.values.clone();
    match target.key.as_str() {
        // AWS's own documentation writes the key in both ways.
        "InstanceIds" | "instanceids" if values.iter().any(|value| value == "*") => Ok(Selector::AllNodes),
        "InstanceIds" | "instanceids" => Ok(Selector::InstanceIds(values)),
        "tag-key" => Ok(Selector::TagKey(values)),
        key if key.starts_with("resource-groups:") => Err(Refused::Validation(format!(
            "The target '{shown}' is not supported yet: there are no resource groups."
        ))),
        key => match key.strip_prefix("tag:").filter(|key| !key.is_empty()) {
            Some(key) => Ok(Selector::Tag { key: key.to_owned(), values }),
            None => Err(Refused::Validation(format!(
                "The target key '{shown}' isn't valid. Use InstanceIds, tag:<key> or tag-key."
            ))),
        },
    }
}

/// Whether a node is meant: it fits every selector. Without selectors, none is.
#[must_use]
pub fn selects(selectors: &[Selector], node: &NodeId, tags: &BTreeMap<String, String>) -> bool {
    !selectors.is_empty()
        && selectors.iter().all(|selector| match selector {
            Selector::AllNodes => true,
            Selector::InstanceIds(ids) => ids.iter().any(|id| id == node.as_str()),
            Selector::Tag { key, values } => tags.get(key).is_some_and(|value| values.contains(value)),
            Selector::TagKey(keys) => keys.iter().any(|key| tags.contains_key(key)),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(key: &str, values: &[&str]) -> Target {
        Target { key: key.into(), values: values.iter().map(|v| (*v).to_owned()).collect() }
    }

    #[test]
    fn targets_mean_nodes() {
        let node = NodeId::parse("mi-0123456789abcdef0").unwrap();
        let tags = BTreeMap::from([("env".to_owned(), "prod".to_owned()), ("web".to_owned(), String::new())]);
        for (targets, expected) in [
            (vec![], Ok(false)),
            (vec![target("InstanceIds", &["*"])], Ok(true)),
            (vec![target("instanceids", &["mi-0123456789abcdef0"])], Ok(true)),
            (vec![target("InstanceIds", &["unknown", "mi-0123456789abcdef0"])], Ok(true)),
            (vec![target("InstanceIds", &["mi-0123456789abcdef1"])], Ok(false)),
            (vec![target("tag:env", &["test", "prod"])], Ok(true)),
            (vec![target("tag:env", &["test"])], Ok(false)),
            (vec![target("tag:web", &[""])], Ok(true)),
            (vec![target("tag-key", &["db", "web"])], Ok(true)),
            (vec![target("tag-key", &["db"])], Ok(false)),
            (vec![target("tag:env", &["prod"]), target("tag-key", &["web"])], Ok(true)),
            (vec![target("tag:env", &["prod"]), target("tag-key", &["db"])], Ok(false)),
            (vec![target("tag:env", &[])], Err("ValidationException")),
            (vec![target("tag:", &["x"])], Err("ValidationException")),
            (vec![target("Name", &["x"])], Err("ValidationException")),
            (vec![target("resource-groups:Name", &["x"])], Err("ValidationException")),
            (vec![target("tag-key", &["web"]); 6], Err("ValidationException")),
            (vec![target("tag-key", &["web"; 51])], Err("ValidationException")),
        ] {
            let found = parse_targets(&targets).map(|selectors| selects(&selectors, &node, &tags));
            assert_eq!(found.map_err(|e| e.code()), expected, "{targets:?}");
        }
    }
}
