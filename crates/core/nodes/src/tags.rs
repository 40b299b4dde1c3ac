use crate::write::tags_aggregate;
use crate::{Refused, Write};
use changes::{Changes, Event, Versioned};
use identifiers::{BaselineId, DocumentName, NodeId, PatchGroupName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The tags of one resource, by key.
pub type Tags = BTreeMap<String, String>;

/// How many tags a resource may carry.
pub const TAGS_MAX: usize = 50;

const KEY_CHARS_MAX: usize = 128;
const VALUE_CHARS_MAX: usize = 256;

/// The kinds of resources that can carry tags today. The SSM model knows more; each comes with its feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ResourceType {
    Document,
    ManagedInstance,
    PatchBaseline,
}

impl ResourceType {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Document => "Document",
            Self::ManagedInstance => "ManagedInstance",
            Self::PatchBaseline => "PatchBaseline",
        }
    }

    /// From the name in the API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Document, Self::ManagedInstance, Self::PatchBaseline].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something that carries tags. Written `ManagedInstance/mi-…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TagResource {
    /// Its kind.
    pub resource_type: ResourceType,
    /// Its bare id or name, never an ARN.
    pub resource_id: String,
}

impl TagResource {
    /// A node.
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self { resource_type: ResourceType::ManagedInstance, resource_id: node.as_str().to_owned() }
    }

    /// A patch baseline.
    #[must_use]
    pub fn baseline(baseline: &BaselineId) -> Self {
        Self { resource_type: ResourceType::PatchBaseline, resource_id: baseline.as_str().to_owned() }
    }

    /// From the `ResourceType` and `ResourceId` of a request. Whether it exists is for the caller to find out
    /// (and then [`Refused::InvalidResourceId`]).
    ///
    /// # Errors
    /// [`Refused::InvalidResourceType`] for a kind that carries no tags here, [`Refused::InvalidResourceId`] for an id
    /// of another form. Predefined baselines go by their ARN and carry no tags, so an ARN is not an id here.
    pub fn parse(resource_type: &str, resource_id: &str) -> Result<Self, Refused> {
        let kind = ResourceType::parse(resource_type)
            .ok_or_else(|| Refused::InvalidResourceType(resource_type.chars().take(64).collect()))?;
        let known = match kind {
            ResourceType::ManagedInstance => NodeId::parse(resource_id).is_ok(),
            ResourceType::PatchBaseline => BaselineId::parse(resource_id).is_ok(),
            ResourceType::Document => DocumentName::parse(resource_id).is_ok(),
        };
        if known {
            Ok(Self { resource_type: kind, resource_id: resource_id.to_owned() })
        } else {
            Err(Refused::InvalidResourceId)
        }
    }
}

impl std::fmt::Display for TagResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.resource_type.as_str(), self.resource_id)
    }
}

/// `^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$` of the model. `is_alphabetic` also takes the vowel signs of some scripts, without which
/// their words cannot be written; AWS refuses those.
fn is_tag_char(c: char) -> bool {
    let separator = matches!(
        c,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    );
    separator || c.is_alphabetic() || c.is_numeric() || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

fn check_text(member: &str, text: &str, chars_min: usize, chars_max: usize) -> Result<(), Refused> {
    let shown: String = text.chars().take(chars_max).collect();
    let refuse = |constraint: String| {
        Err(Refused::Validation(format!(
            "1 validation error detected: Value '{shown}' at '{member}' failed to satisfy constraint: {constraint}"
        )))
    };
    let count = text.chars().count();
    if count < chars_min {
        return refuse(format!("Member must have length greater than or equal to {chars_min}"));
    }
    if count > chars_max {
        return refuse(format!("Member must have length less than or equal to {chars_max}"));
    }
    if text.chars().all(is_tag_char) {
        Ok(())
    } else {
        refuse(r"Member must satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$".to_owned())
    }
}

/// Reads the tags of a request for a kind of resource: keys of 1 to 128 and values of 0 to 256 characters, none with AWS's own
/// prefix, those with ours as [`crate::EXTENSION_TAGS`] says.
///
/// # Errors
/// [`Refused::Validation`] for a key or value of another form or a key given twice, [`Refused::TooManyTags`] for more than
/// [`TAGS_MAX`].
pub fn read_tags(resource_type: ResourceType, given: &[(String, String)]) -> Result<Tags, Refused> {
    let mut tags = Tags::new();
    for (key, value) in given {
        check_text("tags.key", key, 1, KEY_CHARS_MAX)?;
        check_text("tags.value", value, 0, VALUE_CHARS_MAX)?;
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(Refused::Validation(format!("Tag keys that start with 'aws:' are reserved: '{key}'.")));
        }
        crate::extension_tags::check(resource_type, key, value)?;
        if tags.insert(key.clone(), value.clone()).is_some() {
            return Err(Refused::Validation(format!("Tag key '{key}' is given more than once.")));
        }
    }
    if tags.len() > TAGS_MAX { Err(Refused::TooManyTags) } else { Ok(tags) }
}

/// Adds tags to a resource; a key that is already there gets the new value.
///
/// # Errors
/// As [`read_tags`], and [`Refused::TooManyTags`] when the resource would carry more than [`TAGS_MAX`].
pub fn add_tags(
    resource: &TagResource,
    current: &Versioned<Tags>,
    given: &[(String, String)],
    now: Timestamp,
) -> Result<Changes<Write>, Refused> {
    let given = read_tags(resource.resource_type, given)?;
    let mut after = current.row.clone();
    after.extend(given.clone());
    if after.len() > TAGS_MAX {
        return Err(Refused::TooManyTags);
    }
    let writes = given
        .into_iter()
        .filter(|(key, value)| current.row.get(key) != Some(value))
        .map(|(key, value)| Write::TagPut { resource: resource.clone(), key, value })
        .collect();
    Ok(tags_changed(resource, current, writes, now))
}

/// Takes tags away from a resource; keys that are not there are passed over.
#[must_use]
pub fn remove_tags(
    resource: &TagResource,
    current: &Versioned<Tags>,
    keys: &[String],
    now: Timestamp,
) -> Changes<Write> {
    let mut keys: Vec<&String> = keys.iter().filter(|key| current.row.contains_key(*key)).collect();
    keys.sort_unstable();
    keys.dedup();
    let writes =
        keys.into_iter().map(|key| Write::TagDelete { resource: resource.clone(), key: key.clone() }).collect();
    tags_changed(resource, current, writes, now)
}

fn tags_changed(
    resource: &TagResource,
    current: &Versioned<Tags>,
    writes: Vec<Write>,
    now: Timestamp,
) -> Changes<Write> {
    let mut changes = Changes::new();
    if writes.is_empty() {
        return changes;
    }
    changes.update(tags_aggregate(resource), current.revision);
    changes.events.push(Event {
        at: now,
        kind: "tags.changed".to_owned(),
        subject: resource.to_string(),
        body: serde_json::Value::Null,
    });
    changes.writes = writes;
    changes
}

/// The patch group that a node's tags put it in: the value of `PatchGroup`, else of `Patch Group` (both as written).
///
/// AWS is silent on a node with both; `PatchGroup` is the one that works everywhere in AWS. A value that is no group's name
/// (empty) counts as not there.
#[must_use]
pub fn patch_group_of(tags: &Tags) -> Option<PatchGroupName> {
    ["PatchGroup", "Patch Group"]
        .iter()
        .filter_map(|key| tags.get(*key))
        .find_map(|value| PatchGroupName::parse(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use changes::Revision;

    const NODE: &str = "mi-0123456789abcdef0";

    fn resource() -> TagResource {
        TagResource::parse("ManagedInstance", NODE).unwrap()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    fn with(tags: &[(&str, &str)]) -> Versioned<Tags> {
        Versioned::new(Revision(7), tags.iter().map(|(k, v)| pair(k, v)).collect())
    }

    #[test]
    fn only_kinds_that_exist_carry_tags() {
        for (kind, id, expected) in [
            ("ManagedInstance", NODE, Ok("ManagedInstance/mi-0123456789abcdef0")),
            ("PatchBaseline", "pb-0123456789abcdef0", Ok("PatchBaseline/pb-0123456789abcdef0")),
            ("Document", "AWS-RunShellScript", Ok("Document/AWS-RunShellScript")),
            ("ManagedInstance", "i-0123456789abcdef0", Err("InvalidResourceId")),
            ("ManagedInstance", "pb-0123456789abcdef0", Err("InvalidResourceId")),
            ("PatchBaseline", "arn:aws:ssm:us-east-1:1:patchbaseline/pb-0123456789abcdef0", Err("InvalidResourceId")),
            ("MaintenanceWindow", "mw-0123456789abcdef0", Err("InvalidResourceType")),
            ("Parameter", "p", Err("InvalidResourceType")),
            ("managedinstance", NODE, Err("InvalidResourceType")),
        ] {
            let found = TagResource::parse(kind, id);
            match expected {
                Ok(text) => assert_eq!(found.unwrap().to_string(), text),
                Err(code) => assert_eq!(found.unwrap_err().code(), code, "{kind} {id}"),
            }
        }
    }

    #[test]
    fn a_tag_has_a_form() {
        for (key, value, code) in [
            ("Patch Group", "web servers", None),
            ("Größe/_.:=+-@1", "", None),
            ("k", &*"v".repeat(256), None),
            (&*"k".repeat(128), "v", None),
            ("", "v", Some("ValidationException")),
            (&*"k".repeat(129), "v", Some("ValidationException")),
            ("k", &*"v".repeat(257), Some("ValidationException")),
            ("k\n", "v", Some("ValidationException")),
            ("k", "a;b", Some("ValidationException")),
            ("aws:created-by", "v", Some("ValidationException")),
            ("AWS:created-by", "v", Some("ValidationException")),
            ("äws:", "v", None),
        ] {
            assert_eq!(
                read_tags(ResourceType::ManagedInstance, &[pair(key, value)]).err().map(|e| e.code()),
                code,
                "'{key}'='{value}'"
            );
        }
        assert!(read_tags(ResourceType::ManagedInstance, &[pair("a", "1"), pair("a", "2")]).is_err());
    }

    #[test]
    fn tags_are_added_changed_and_counted() {
        let now = Timestamp::from_seconds(9);
        let given = [pair("a", "1"), pair("b", "2")];
        let changes = add_tags(&resource(), &with(&[("a", "1"), ("b", "1")]), &given, now).unwrap();
        let put = Write::TagPut { resource: resource(), key: "b".into(), value: "2".into() };
        assert_eq!(changes.writes, [put], "what is already so is not written");
        assert_eq!(changes.read, [(tags_aggregate(&resource()), Revision(7))]);
        assert!(add_tags(&resource(), &with(&[("a", "1"), ("b", "2")]), &given, now).unwrap().is_empty());

        let full: Vec<(String, String)> = (0..50).map(|n| pair(&format!("k{n}"), "v")).collect();
        let full_now = Versioned::new(Revision(1), full.iter().cloned().collect());
        assert!(add_tags(&resource(), &full_now, &[pair("k1", "other")], now).is_ok(), "still fifty");
        assert_eq!(add_tags(&resource(), &full_now, &[pair("one", "more")], now).unwrap_err(), Refused::TooManyTags);
    }

    #[test]
    fn tags_are_removed_once() {
        let now = Timestamp::from_seconds(9);
        let keys = ["a".to_owned(), "a".to_owned(), "missing".to_owned()];
        let changes = remove_tags(&resource(), &with(&[("a", "1"), ("b", "1")]), &keys, now);
        assert_eq!(changes.writes, [Write::TagDelete { resource: resource(), key: "a".into() }]);
        assert!(remove_tags(&resource(), &with(&[]), &keys, now).is_empty());
    }

    #[test]
    fn the_patch_group_is_one_of_two_tags() {
        for (tags, expected) in [
            (&[][..], None),
            (&[("Patch Group", "web")], Some("web")),
            (&[("PatchGroup", "db")], Some("db")),
            (&[("PatchGroup", "db"), ("Patch Group", "web")], Some("db")),
            (&[("PatchGroup", ""), ("Patch Group", "web")], Some("web")),
            (&[("patchgroup", "db"), ("patch group", "web")], None),
        ] {
            assert_eq!(patch_group_of(&with(tags).row).as_ref().map(PatchGroupName::as_str), expected, "{tags:?}");
        }
    }
}
