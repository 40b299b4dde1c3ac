//! Tags between wire and core.

use aws_wire::ssm::Tag;
use nodes::{TagResource, Tags};

use crate::Context;

/// What a caller gave as tags; an absent list is an empty one.
pub(crate) fn given_tags(tags: Option<Vec<Tag>>) -> Vec<(String, String)> {
    let pair = |tag: Tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
    tags.unwrap_or_default().into_iter().map(pair).collect()
}

/// Tags as the answers show them.
pub(crate) fn shown_tags(tags: &Tags) -> Vec<Tag> {
    let shown = |(key, value): (&String, &String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    tags.iter().map(shown).collect()
}

/// The ARN of a tagged resource.
pub(crate) fn resource_arn(context: &Context, resource: &TagResource) -> String {
    let kind = match resource.resource_type {
        nodes::ResourceType::ManagedInstance => "managed-instance",
        nodes::ResourceType::PatchBaseline => "patchbaseline",
        nodes::ResourceType::Document => "document",
    };
    context.scope.ssm_arn(&format!("{kind}/{}", resource.resource_id))
}

/// The ARN of what a caller names, whether or not it is well formed: for `authorise`, before anything is read.
pub(crate) fn named_arn(context: &Context, resource_type: Option<&str>, resource_id: Option<&str>) -> String {
    let (kind, id) = (resource_type.unwrap_or_default(), resource_id.unwrap_or_default());
    match nodes::TagResource::parse(kind, id) {
        Ok(resource) => resource_arn(context, &resource),
        Err(_) => context.scope.ssm_arn(&format!("{}/{id}", kind.to_ascii_lowercase())),
    }
}
