//! Structures: one Rust struct for each structure of the model.

use super::model::{Kind, Reference, Shape};
use super::names::{serde_pascal, snake};
use super::plan::Plan;
use anyhow::{Context, Result};
use std::fmt::Write;

/// The file of one module.
pub(crate) fn module(plan: &Plan<'_>, module: &str) -> Result<String> {
    let mut structs = String::new();
    for (name, shape) in plan.shapes_of(module)? {
        if shape.kind == Kind::Structure {
            structure(plan, name, shape, &mut structs)?;
        }
    }
    let mut out = String::new();
    let words = module.replace('_', " ");
    writeln!(out, "//! Shapes of the `{}` model: {words}.\n", plan.service.name)?;
    for (used, import) in [
        ("Sensitive<", "use crate::Sensitive;"),
        ("WireTime>", "use crate::WireTime;"),
        ("BTreeMap<", "use std::collections::BTreeMap;"),
    ] {
        if structs.contains(used) {
            writeln!(out, "{import}")?;
        }
    }
    if module != "common" && plan.modules().contains(&"common") {
        let common = plan.shapes_of("common")?.into_iter().filter(|(_, shape)| shape.kind == Kind::Structure);
        let used: Vec<&str> = common.map(|(name, _)| name).filter(|name| uses(&structs, name)).collect();
        if !used.is_empty() {
            writeln!(out, "use super::{{{}}};", used.join(", "))?;
        }
    }
    if !structs.is_empty() {
        writeln!(out, "use serde::{{Deserialize, Serialize}};")?;
    }
    out.push_str(&structs);
    Ok(out)
}

/// Whether the text has `name` as a type.
fn uses(text: &str, name: &str) -> bool {
    text.contains(&format!("<{name}>")) || text.contains(&format!(", {name}>"))
}

fn structure(plan: &Plan<'_>, name: &str, shape: &Shape, out: &mut String) -> Result<()> {
    let members = shape.members.as_ref().context("a structure without members")?;
    writeln!(out, "\n/// {}", role(plan, name)?)?;
    writeln!(out, "#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]")?;
    if !members.is_empty() {
        writeln!(out, "#[serde(rename_all = \"PascalCase\")]")?;
    }
    writeln!(out, "pub struct {name} {{")?;
    for (member, reference) in members {
        let field = snake(member);
        let required = if shape.required.contains(member) { ", required" } else { "" };
        writeln!(out, "    /// `{}`{required}{}.", reference.shape, constraints(plan, reference)?)?;
        let rename = if serde_pascal(&field) == *member { String::new() } else { format!("rename = \"{member}\", ") };
        writeln!(out, "    #[serde({rename}skip_serializing_if = \"Option::is_none\")]")?;
        writeln!(out, "    pub {field}: Option<{}>,", rust_type(plan, &reference.shape)?)?;
    }
    writeln!(out, "}}")?;
    Ok(())
}

/// What the structure is for.
fn role(plan: &Plan<'_>, name: &str) -> Result<String> {
    for operation in plan.operations()? {
        if operation.input.shape == name {
            return Ok(format!("Input of `{}`.", operation.name));
        }
        if operation.output.as_ref().is_some_and(|output| output.shape == name) {
            return Ok(format!("Output of `{}`.", operation.name));
        }
    }
    Ok(format!("Structure `{name}`."))
}

/// What the model says of a member, for its documentation.
fn constraints(plan: &Plan<'_>, reference: &Reference) -> Result<String> {
    let shape = plan.model.shape(&reference.shape)?;
    let unit = match shape.kind {
        Kind::String => " characters",
        Kind::List | Kind::Map => " entries",
        _ => "",
    };
    let mut out = match (shape.min.filter(|min| *min != 0 || unit.is_empty()), shape.max) {
        (None, None) => String::new(),
        (Some(min), None) => format!(", at least {min}{unit}"),
        (None, Some(max)) => format!(", at most {max}{unit}"),
        (Some(min), Some(max)) => format!(", {min} to {max}{unit}"),
    };
    if !shape.values.is_empty() {
        write!(out, ", one of `values::{}`", super::names::screaming(&reference.shape))?;
    }
    Ok(out)
}

/// The Rust type of a shape.
pub(crate) fn rust_type(plan: &Plan<'_>, name: &str) -> Result<String> {
    let shape = plan.model.shape(name)?;
    let inner = |reference: &Option<Reference>| -> Result<String> {
        rust_type(plan, &reference.as_ref().context("a list or map without its element")?.shape)
    };
    let plain = match shape.kind {
        Kind::Structure => name.to_owned(),
        Kind::List => format!("Vec<{}>", inner(&shape.member)?),
        Kind::Map => format!("BTreeMap<{}, {}>", inner(&shape.key)?, inner(&shape.value)?),
        Kind::String => "String".to_owned(),
        Kind::Integer => "i32".to_owned(),
        Kind::Long => "i64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Timestamp => "WireTime".to_owned(),
    };
    Ok(if plan.is_sensitive(name, shape) { format!("Sensitive<{plain}>") } else { plain })
}
