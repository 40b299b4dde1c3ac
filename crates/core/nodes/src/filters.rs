use crate::managed_node::{ManagedNode, PlatformType, RESOURCE_TYPE};
use crate::{PingStatus, Refused, Tags};

/// `SourceType` of every node here: a host outside EC2 and IoT.
const SOURCE_TYPE: &str = "AWS::SSM::ManagedInstance";

/// A filter as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterText {
    /// Which property.
    pub key: String,
    /// One of them is enough.
    pub values: Vec<String>,
}

/// What the filters look at.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    /// The node.
    pub node: &'a ManagedNode,
    /// Whether it answers.
    pub ping_status: PingStatus,
    /// Its tags.
    pub tags: &'a Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Property {
    ActivationId,
    AgentVersion,
    IamRole,
    InstanceId,
    PingStatus,
    PlatformType,
    ResourceType,
    SourceId,
    SourceType,
    TagKey,
    Tag(String),
}

/// The filters of `DescribeInstanceInformation`: every one must hold, one of its values is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceFilters(Vec<(Property, Vec<String>)>);

impl InstanceFilters {
    /// Reads `Filters` and the older `InstanceInformationFilterList`.
    ///
    /// # Errors
    /// [`Refused::Validation`] when both lists are given, or for AssociationStatus (there are no associations yet);
    /// [`Refused::InvalidFilterKey`] for an unknown key, or tags beside other keys;
    /// [`Refused::InvalidInstanceInformationFilterValue`] for no values or ones the key does not know;
    /// [`Refused::InvalidInstanceId`] for a malformed instance id.
    pub fn parse(filters: &[FilterText], older: &[FilterText]) -> Result<Self, Refused> {
        if !filters.is_empty() && !older.is_empty() {
            return Err(Refused::Validation(
                "Filters and InstanceInformationFilterList cannot be used together. Use Filters.".to_owned(),
            ));
        }
        let mut read = Vec::new();
        for filter in filters {
            read.push((property(filter, true)?, filter.values.clone()));
        }
        for filter in older {
            read.push((property(filter, false)?, filter.values.clone()));
        }
        let by_tag = read.iter().filter(|(p, _)| matches!(p, Property::Tag(_) | Property::TagKey)).count();
        if by_tag != 0 && by_tag != read.len() {
            return Err(Refused::InvalidFilterKey(
                "Tag-based filters can't be combined with other filter types.".to_owned(),
            ));
        }
        for (property, values) in &read {
            check_values(property, values)?;
        }
        Ok(Self(read))
    }

    /// Whether the node is meant.
    #[must_use]
    pub fn matches(&self, view: &NodeView<'_>) -> bool {
        self.0.iter().all(|(property, values)| holds(property, values, view))
    }

    /// The ids that the nodes must be among, where an InstanceIds filter says so; for a quick way to the rows.
    #[must_use]
    pub fn instance_ids(&self) -> Option<&[String]> {
        self.0.iter().find(|(property, _)| *property == Property::InstanceId).map(|(_, values)| values.as_slice())
    }
}

/// `newer`: a key of `Filters`, which knows more than the older list.
fn property(filter: &FilterText, newer: bool) -> Result<Property, Refused> {
    Ok(match filter.key.as_str() {
        "ActivationIds" => Property::ActivationId,
        "AgentVersion" => Property::AgentVersion,
        "IamRole" => Property::IamRole,
        "InstanceIds" => Property::InstanceId,
        "PingStatus" => Property::PingStatus,
        "PlatformTypes" => Property::PlatformType,
        "ResourceType" => Property::ResourceType,
        "AssociationStatus" => {
            return Err(Refused::Validation(
                "The filter AssociationStatus is not supported yet: there are no associations.".to_owned(),
            ));
        }
        "SourceIds" if newer => Property::SourceId,
        "SourceTypes" if newer => Property::SourceType,
        "tag-key" if newer => Property::TagKey,
        other => match other.strip_prefix("tag:").filter(|key| newer && !key.is_empty()) {
            Some(key) => Property::Tag(key.to_owned()),
            None => {
                let shown: String = other.chars().take(64).collect();
                return Err(Refused::InvalidFilterKey(format!("The filter key '{shown}' isn't valid.")));
            }
        },
    })
}

fn check_values(property: &Property, values: &[String]) -> Result<(), Refused> {
    if values.is_empty() {
        return Err(Refused::InvalidInstanceInformationFilterValue(
            "A filter must have at least one value.".to_owned(),
        ));
    }
    let known: &[&str] = match property {
        Property::PingStatus => &["Online", "ConnectionLost", "Inactive"],
        Property::PlatformType => &["Windows", "Linux", "MacOS"],
        Property::ResourceType => &["ManagedInstance", "EC2Instance"],
        Property::SourceType => &["AWS::EC2::Instance", "AWS::IoT::Thing", SOURCE_TYPE],
        Property::InstanceId => {
            return match values.iter().find(|id| !is_instance_id(id)) {
                Some(_) => Err(Refused::InvalidInstanceId("An instance ID in the filter isn't valid.".to_owned())),
                None => Ok(()),
            };
        }
        _ => return Ok(()),
    };
    match values.iter().find(|value| !known.contains(&value.as_str())) {
        Some(value) => Err(Refused::InvalidInstanceInformationFilterValue(format!(
            "The filter value '{}' isn't valid. Valid values: {}.",
            value.chars().take(64).collect::<String>(),
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

/// `i-` with 8 or 17, `mi-` with 17 word characters, as AWS's clients write them. Such an id may be unknown; then nothing matches.
fn is_instance_id(id: &str) -> bool {
    let (rest, lengths): (&str, &[usize]) = match (id.strip_prefix("mi-"), id.strip_prefix("i-")) {
        (Some(rest), _) => (rest, &[17]),
        (_, Some(rest)) => (rest, &[8, 17]),
        _ => return false,
    };
    lengths.contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn holds(property: &Property, values: &[String], view: &NodeView<'_>) -> bool {
    let among = |found: &str| values.iter().any(|value| value == found);
    let node = view.node;
    match property {
        Property::ActivationId => among(node.activation_id.as_str()),
        Property::AgentVersion => among(&node.facts.agent_version),
        Property::IamRole => among(&node.iam_role),
        Property::InstanceId | Property::SourceId => among(node.node_id.as_str()),
        Property::PingStatus => among(view.ping_status.as_str()),
        Property::PlatformType => among(PlatformType::as_str(node.facts.platform_type)),
        Property::ResourceType => among(RESOURCE_TYPE),
        Property::SourceType => among(SOURCE_TYPE),
        Property::TagKey => values.iter().any(|key| view.tags.contains_key(key)),
        Property::Tag(key) => view.tags.get(key).is_some_and(|value| among(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_node::tests::node;

    fn filter(key: &str, values: &[&str]) -> FilterText {
        FilterText { key: key.into(), values: values.iter().map(|v| (*v).to_owned()).collect() }
    }

    fn found(filters: &[FilterText], older: &[FilterText]) -> Result<bool, &'static str> {
        let tags = Tags::from([("PatchGroup".to_owned(), "web".to_owned()), ("env".to_owned(), String::new())]);
        let node = node();
        let view = NodeView { node: &node, ping_status: PingStatus::Online, tags: &tags };
        InstanceFilters::parse(filters, older).map(|f| f.matches(&view)).map_err(|e| e.code())
    }

    #[test]
    fn each_key_looks_at_its_property() {
        for (key, values, expected) in [
            ("ActivationIds", &["6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab"][..], Ok(true)),
            ("AgentVersion", &["0.1.0"], Ok(true)),
            ("AgentVersion", &["0.1"], Ok(false)),
            ("IamRole", &["Fleet"], Ok(true)),
            ("InstanceIds", &["mi-0123456789abcdef0"], Ok(true)),
            ("InstanceIds", &["mi-0123456789abcdef1", "mi-0123456789abcdef0"], Ok(true)),
            ("InstanceIds", &["mi-0123456789abcdef1"], Ok(false)),
            ("InstanceIds", &["i-01234567"], Ok(false)),
            ("InstanceIds", &["web-1"], Err("InvalidInstanceId")),
            ("PingStatus", &["Online"], Ok(true)),
            ("PingStatus", &["ConnectionLost"], Ok(false)),
            ("PingStatus", &["Inactive"], Ok(false)),
            ("PingStatus", &["online"], Err("InvalidInstanceInformationFilterValue")),
            ("PlatformTypes", &["Linux"], Ok(true)),
            ("PlatformTypes", &["Solaris"], Err("InvalidInstanceInformationFilterValue")),
            ("ResourceType", &["ManagedInstance"], Ok(true)),
            ("ResourceType", &["EC2Instance"], Ok(false)),
            ("SourceTypes", &["AWS::SSM::ManagedInstance"], Ok(true)),
            ("SourceIds", &["mi-0123456789abcdef0"], Ok(true)),
            ("tag-key", &["env"], Ok(true)),
            ("tag-key", &["Env"], Ok(false)),
            ("tag:PatchGroup", &["db", "web"], Ok(true)),
            ("tag:PatchGroup", &["db"], Ok(false)),
            ("tag:env", &[""], Ok(true)),
            ("tag:", &["x"], Err("InvalidFilterKey")),
            ("AssociationStatus", &["Success"], Err("ValidationException")),
            ("Name", &["web"], Err("InvalidFilterKey")),
            ("PingStatus", &[], Err("InvalidInstanceInformationFilterValue")),
        ] {
            assert_eq!(found(&[filter(key, values)], &[]), expected, "{key}={values:?}");
        }
    }

    #[test]
    fn filters_stand_together_or_are_refused() {
        let online = filter("PingStatus", &["Online"]);
        let lost = filter("PingStatus", &["ConnectionLost"]);
        let tag = filter("tag:PatchGroup", &["web"]);
        let linux = filter("PlatformTypes", &["Linux"]);
        assert_eq!(found(&[], &[]), Ok(true));
        assert_eq!(found(&[online.clone(), linux.clone()], &[]), Ok(true));
        assert_eq!(found(&[lost, linux.clone()], &[]), Ok(false));
        assert_eq!(found(&[tag.clone(), filter("tag-key", &["env"])], &[]), Ok(true));
        assert_eq!(found(&[tag.clone(), linux.clone()], &[]), Err("InvalidFilterKey"));
        assert_eq!(found(std::slice::from_ref(&online), std::slice::from_ref(&linux)), Err("ValidationException"));
        assert_eq!(found(&[], &[linux]), Ok(true));
        assert_eq!(found(&[], &[tag]), Err("InvalidFilterKey"), "the older list knows no tags");
    }
}
