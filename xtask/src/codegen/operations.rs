//! Routes, error tables, enumerations and the module files.

use super::Service;
use super::model::{Kind, Model};
use super::names::screaming;
use super::plan::Plan;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt::Write;

/// `src/generated/mod.rs`.
pub(crate) fn root_module(services: &[Service]) -> String {
    let mut out = "//! Written by `cargo xtask codegen` from `model/`; never edited by hand.\n\n".to_owned();
    for service in services {
        out.push_str(&format!("pub mod {};\n", service.name));
    }
    out
}

fn metadata<'a>(model: &'a Model, key: &str) -> Option<&'a str> {
    model.metadata.get(key).and_then(|value| value.as_str())
}

/// The `mod.rs` of a service.
pub(crate) fn service_module(plan: &Plan<'_>) -> Result<String> {
    let full = metadata(plan.model, "serviceFullName").context("the model names no service")?;
    let version = metadata(plan.model, "apiVersion").context("the model has no version")?;
    let mut out = format!("//! {full}, API version {version}: shapes, operations, errors, enumerations.\n\n");
    for module in plan.modules() {
        writeln!(out, "mod {module};\nmod {module}_constraints;")?;
    }
    writeln!(out, "mod errors;\nmod operations;\nmod patterns;\npub mod values;\n")?;
    for module in plan.modules() {
        if plan.shapes_of(module)?.iter().any(|(_, shape)| shape.kind == Kind::Structure) {
            writeln!(out, "pub use {module}::*;")?;
        }
    }
    writeln!(out, "pub use errors::ERRORS;\npub use operations::{{Operation, route}};\n")?;
    let constant = |out: &mut String, doc: &str, name: &str, value: &str| {
        writeln!(out, "/// {doc}\npub const {name}: &str = {value:?};")
    };
    constant(&mut out, "The API's version.", "API_VERSION", version)?;
    constant(&mut out, "The service's name in a request's signature.", "SIGNING_NAME", plan.service.name)?;
    if let Some(prefix) = metadata(plan.model, "targetPrefix") {
        constant(&mut out, "What comes before the operation in `X-Amz-Target`.", "TARGET_PREFIX", prefix)?;
    }
    if let Some(namespace) = metadata(plan.model, "xmlNamespace") {
        constant(&mut out, "The namespace of the service's XML.", "XML_NAMESPACE", namespace)?;
    }
    Ok(out)
}

/// The enum of operations, the route table and the ties from inputs to outputs.
pub(crate) fn operations(plan: &Plan<'_>) -> Result<String> {
    let operations = plan.operations()?;
    let mut out = format!("//! Operations of the `{}` model.\n\n", plan.service.name);
    for (module, names) in plan.service.modules {
        let names: Vec<String> = names.iter().map(|name| screaming(name)).collect();
        writeln!(out, "use super::{module}_constraints::{{{}}};", names.join(", "))?;
    }
    writeln!(out, "use crate::operation::OperationShape;\n")?;
    writeln!(out, "/// An operation of the service.")?;
    writeln!(out, "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum Operation {{")?;
    for operation in &operations {
        let (name, input) = (&operation.name, &operation.input.shape);
        let output = match &operation.output {
            Some(output) => format!("[`{0}`](super::{0})", output.shape),
            None => "nothing".to_owned(),
        };
        writeln!(out, "    /// [`{input}`](super::{input}) to {output}.\n    {name},")?;
    }
    writeln!(out, "}}\n\nimpl Operation {{\n    /// All of them.\n    pub const ALL: &'static [Self] = &[")?;
    for operation in &operations {
        writeln!(out, "Self::{},", operation.name)?;
    }
    out.push_str(
        "];\n\n    /// The operation's name.\n    #[must_use]\n    pub fn name(self) -> &'static str {\n        self.shape().name\n    }\n\n    \
         /// The names of the errors that the model lists for it.\n    #[must_use]\n    pub fn errors(self) -> &'static [&'static str] {\n        \
         self.shape().errors\n    }\n\n    /// The operation of that name.\n    #[must_use]\n    pub fn from_name(name: &str) -> Option<Self> {\n        \
         Self::ALL.iter().copied().find(|operation| operation.name() == name)\n    }\n\n    \
         #[allow(clippy::too_many_lines)] // A table: one line for each operation.\n    \
         pub(crate) fn shape(self) -> &'static OperationShape {\n        match self {\n",
    );
    for operation in &operations {
        writeln!(out, "Self::{} => &{},", operation.name, screaming(&operation.name))?;
    }
    writeln!(out, "}}\n}}\n}}\n")?;
    route(plan, &mut out)?;
    Ok(out)
}

fn route(plan: &Plan<'_>, out: &mut String) -> Result<()> {
    if metadata(plan.model, "targetPrefix").is_some() {
        writeln!(
            out,
            "/// The operation that an `X-Amz-Target` header names, e.g. `AmazonSSM.SendCommand`.\n#[must_use]"
        )?;
        writeln!(out, "pub fn route(target: &str) -> Option<Operation> {{")?;
        writeln!(out, "let (prefix, name) = target.split_once('.')?;")?;
        writeln!(out, "if prefix == super::TARGET_PREFIX {{ Operation::from_name(name) }} else {{ None }}\n}}")?;
    } else {
        writeln!(out, "/// The operation that the `Action` of a Query request names.\n#[must_use]")?;
        writeln!(out, "pub fn route(action: &str) -> Option<Operation> {{ Operation::from_name(action) }}")?;
    }
    Ok(())
}

/// The error shapes that the operations list.
pub(crate) fn errors(plan: &Plan<'_>) -> Result<String> {
    let names: BTreeSet<&str> =
        plan.operations()?.iter().flat_map(|operation| &operation.errors).map(|error| error.shape.as_str()).collect();
    let mut out = format!("//! Errors of the `{}` model.\n\nuse crate::ErrorShape;\n\n", plan.service.name);
    writeln!(out, "/// The errors that any of the operations lists, by name.\npub const ERRORS: &[ErrorShape] = &[")?;
    for name in names {
        let shape = plan.model.shape(name)?;
        let member = shape.members.iter().flatten().map(|(member, _)| member);
        let member = member.into_iter().find(|member| member.eq_ignore_ascii_case("message"));
        let code = plan.error_code(name)?;
        let status = match &shape.error {
            Some(written) => written.http_status_code,
            None if shape.fault && shape.exception => 500,
            None => 400,
        };
        writeln!(out, "ErrorShape {{ name: {code:?}, message_member: {member:?}, http_status: {status} }},")?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

/// The enumerations, as lists of allowed values in the model's order.
pub(crate) fn values(plan: &Plan<'_>) -> String {
    let mut out = format!("//! Enumerations of the `{}` model, each in the model's order.\n", plan.service.name);
    for (name, shape) in plan.shapes().filter(|(_, shape)| !shape.values.is_empty()) {
        let values: Vec<String> = shape.values.iter().map(|value| format!("{value:?}")).collect();
        let (constant, values) = (screaming(name), values.join(", "));
        out.push_str(&format!("\n/// Values of `{name}`.\npub const {constant}: &[&str] = &[{values}];\n"));
    }
    out
}
