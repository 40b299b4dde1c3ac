//! The service model as botocore writes it, typed as far as it is used; a trait that is not known here is refused, so
//! that none is lost without notice.

use super::Service;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// A service model, reduced to what code is generated from. Maps are ordered, so that its JSON is reproducible.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    pub(crate) metadata: BTreeMap<String, Value>,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

/// One operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    pub(crate) name: String,
    http: BTreeMap<String, Value>,
    pub(crate) input: Reference,
    /// Absent where the answer has nothing but its request id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<Reference>,
}

/// A member, list element or the like: the name of its shape and what is said of it at this place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Reference {
    pub(crate) shape: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result_wrapper: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    idempotency_token: bool,
}

/// One shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) required: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<BTreeMap<String, Reference>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pattern: Option<String>,
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sensitive: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exception: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fault: bool,
    /// Of an error of the Query protocol: how it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<WrittenError>,
}

/// How an error of the Query protocol is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct WrittenError {
    pub(crate) code: String,
    pub(crate) http_status_code: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sender_fault: bool,
}

/// What a shape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Structure,
    List,
    Map,
    String,
    Integer,
    Long,
    Boolean,
    Timestamp,
}

impl Model {
    /// Reads botocore's own file, `PATH` or `PATH.gz`, without its documentation and without the members that say
    /// nothing about the wire. Shapes of kinds unknown here are left out; needing one fails later.
    pub(crate) fn read_source(path: &Path) -> Result<Source> {
        let packed = path.with_extension("json.gz");
        let mut text = String::new();
        if packed.is_file() {
            let file = std::fs::File::open(&packed)?;
            flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
        } else {
            text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        }
        Ok(Source(serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?))
    }

    /// Reads a stripped model.
    pub(crate) fn read_stripped(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// The stripped model as committed.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The shape of that name.
    pub(crate) fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("the model has no shape {name}"))
    }

    /// All shapes reachable from `name`, itself included.
    ///
    /// # Errors
    /// When a shape contains itself: no served operation has such a shape, and a bound on depth relies on that.
    pub(crate) fn reach(&self, name: &str) -> Result<BTreeSet<String>> {
        let mut reached = BTreeSet::new();
        self.walk(name, &mut Vec::new(), &mut reached)?;
        Ok(reached)
    }

    fn walk(&self, name: &str, above: &mut Vec<String>, reached: &mut BTreeSet<String>) -> Result<()> {
        if above.iter().any(|shape| shape == name) {
            bail!("shape {name} contains itself: {}", above.join(" > "));
        }
        if !reached.insert(name.to_owned()) {
            return Ok(());
        }
        above.push(name.to_owned());
        for reference in self.shape(name)?.references() {
            self.walk(&reference.shape, above, reached)?;
        }
        above.pop();
        Ok(())
    }
}

impl Shape {
    fn references(&self) -> impl Iterator<Item = &Reference> {
        let members = self.members.iter().flat_map(BTreeMap::values);
        members.chain(&self.member).chain(&self.key).chain(&self.value)
    }
}

/// A model as botocore ships it.
pub(crate) struct Source(Value);

impl Source {
    /// All of it: what a model of our own offers, the list of operations must name.
    pub(crate) fn whole(self, service: &Service) -> Result<Model> {
        let offered: Vec<String> =
            self.part("operations")?.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect();
        let shapes = self.part("shapes")?.as_object().map_or(0, serde_json::Map::len);
        let model = self.reduced(service)?;
        if let Some(name) = offered.iter().find(|name| !model.operations.contains_key(*name)) {
            bail!("the model of {} offers {name}, which the list of operations does not name", service.name);
        }
        if shapes != model.shapes.len() {
            bail!("the model of {} has shapes that no operation needs", service.name);
        }
        Ok(model)
    }

    /// Only the served operations and the shapes they reach.
    pub(crate) fn reduced(self, service: &Service) -> Result<Model> {
        let operations = service.modules.iter().flat_map(|(_, operations)| *operations);
        let mut model = Model { metadata: BTreeMap::new(), operations: BTreeMap::new(), shapes: BTreeMap::new() };
        model.metadata = serde_json::from_value(self.part("metadata")?.clone())?;
        for name in operations {
            let value =
                without_words(self.part("operations")?.get(name).with_context(|| format!("no operation {name}"))?);
            let operation: Operation = serde_json::from_value(value).with_context(|| format!("operation {name}"))?;
            for reference in operation.errors.iter().chain([&operation.input]).chain(&operation.output) {
                self.take(&reference.shape, &mut model.shapes)?;
            }
            model.operations.insert((*name).to_owned(), operation);
        }
        Ok(model)
    }

    fn part(&self, name: &str) -> Result<&Value> {
        self.0.get(name).with_context(|| format!("the model has no {name}"))
    }

    fn take(&self, name: &str, shapes: &mut BTreeMap<String, Shape>) -> Result<()> {
        if shapes.contains_key(name) {
            return Ok(());
        }
        let value = self.part("shapes")?.get(name).with_context(|| format!("the model has no shape {name}"))?;
        let mut value = without_words(value);
        for member in value.get_mut("members").and_then(Value::as_object_mut).into_iter().flat_map(|m| m.values_mut()) {
            *member = without_words(member);
        }
        let shape: Shape = serde_json::from_value(value).with_context(|| format!("shape {name}"))?;
        let below: Vec<String> = shape.references().map(|reference| reference.shape.clone()).collect();
        shapes.insert(name.to_owned(), shape);
        below.iter().try_for_each(|shape| self.take(shape, shapes))
    }
}

/// The object without its prose, and without `box`, which tells Java alone something.
fn without_words(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !matches!(key.as_str(), "documentation" | "box"));
    }
    value
}
