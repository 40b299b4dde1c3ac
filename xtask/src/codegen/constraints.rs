//! Constraint tables: one static for each shape that an input reaches.

use super::HAND_WRITTEN_PATTERNS;
use super::model::{Kind, Reference, Shape};
use super::names::screaming;
use super::plan::Plan;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The file of one module.
pub(crate) fn module(plan: &Plan<'_>, module: &str) -> Result<String> {
    let mut tables = String::new();
    for (name, shape) in plan.shapes_of(module)? {
        if plan.has_table(name) && !plan.is_plain(name, shape) {
            let visibility = if module == "common" { "pub(super) " } else { "" };
            writeln!(tables, "{visibility}static {}: Shape = {};", screaming(name), table(plan, name, shape)?)?;
        }
    }
    operations(plan, module, &mut tables)?;
    for (plain, make) in PLAIN {
        if used(&tables, plain) {
            writeln!(tables, "static {plain}: Shape = Shape::{make}();")?;
        }
    }
    let mut out = format!("//! Constraints of the `{}` model: {}.\n\n", plan.service.name, module.replace('_', " "));
    if module != "common" && plan.modules().contains(&"common") {
        let common = plan.shapes_of("common")?.into_iter().map(|(name, _)| screaming(name));
        let common: Vec<String> = common.filter(|name| used(&tables, name)).collect();
        if !common.is_empty() {
            writeln!(out, "use super::common_constraints::{{{}}};", common.join(", "))?;
        }
    }
    for import in ["patterns", "values"] {
        if tables.contains(&format!("{import}::")) {
            writeln!(out, "use super::{import};")?;
        }
    }
    if tables.contains("Input for") {
        writeln!(out, "use crate::Input;\nuse crate::operation::OperationShape;")?;
    }
    let functions = ["required", "optional"].into_iter().filter(|f| tables.contains(&format!("{f}(\"")));
    let imports: Vec<&str> = tables.contains("Shape::").then_some("Shape").into_iter().chain(functions).collect();
    if !imports.is_empty() {
        writeln!(out, "use crate::shape::{{{}}};\n", imports.join(", "))?;
    }
    out.push_str(&tables);
    Ok(out)
}

/// The operations of a module: what is known of each, and the tie from its input to its output.
fn operations(plan: &Plan<'_>, module: &str, out: &mut String) -> Result<()> {
    let mut letters = plan.service.name.chars();
    let service: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    for name in plan.service.modules.iter().filter(|(of, _)| *of == module).flat_map(|(_, names)| *names) {
        let operation = plan.operation(name)?;
        let errors: Vec<&str> =
            operation.errors.iter().map(|error| plan.error_code(&error.shape)).collect::<Result<_>>()?;
        let (table, input) = (screaming(name), &operation.input.shape);
        let written = match &operation.output {
            Some(output) if plan.is_query() => format!("Some(&{})", screaming(&output.shape)),
            _ => "None".to_owned(),
        };
        writeln!(out, "\npub(super) static {table}: OperationShape = OperationShape {{ name: {name:?}, ")?;
        writeln!(out, "errors: &{errors:?}, input: &{}, output: {written} }};", screaming(input))?;
        writeln!(out, "\nimpl Input for super::{input} {{")?;
        writeln!(out, "const OPERATION: crate::Operation = crate::Operation::{service}(super::Operation::{name});")?;
        match &operation.output {
            Some(output) => writeln!(out, "type Output = super::{};\n}}", output.shape)?,
            None => writeln!(out, "type Output = ();\n}}")?,
        }
    }
    Ok(())
}

/// The shapes without constraints, each once a file.
const PLAIN: &[(&str, &str)] = &[
    ("ANY_STRING", "string"),
    ("ANY_INTEGER", "integer"),
    ("ANY_LONG", "long"),
    ("ANY_BOOLEAN", "boolean"),
    ("ANY_TIMESTAMP", "timestamp"),
];

/// Whether the tables refer to that static.
fn used(tables: &str, name: &str) -> bool {
    [",", ")", " }"].iter().any(|end| tables.contains(&format!("&{name}{end}")))
}

/// The name of a shape's static.
fn static_name(plan: &Plan<'_>, name: &str) -> Result<String> {
    let shape = plan.model.shape(name)?;
    if !plan.is_plain(name, shape) {
        return Ok(screaming(name));
    }
    let plain = match shape.kind {
        Kind::Integer => "ANY_INTEGER",
        Kind::Long => "ANY_LONG",
        Kind::Boolean => "ANY_BOOLEAN",
        Kind::Timestamp => "ANY_TIMESTAMP",
        _ => "ANY_STRING",
    };
    Ok(plain.to_owned())
}

fn table(plan: &Plan<'_>, name: &str, shape: &Shape) -> Result<String> {
    let element = |reference: &Option<Reference>| -> Result<String> {
        static_name(plan, &reference.as_ref().context("a list or map without its element")?.shape)
    };
    let mut out = match shape.kind {
        Kind::Structure => structure(plan, shape)?,
        Kind::List => format!("Shape::list(&{})", element(&shape.member)?),
        Kind::Map => format!("Shape::map(&{}, &{})", element(&shape.key)?, element(&shape.value)?),
        Kind::String => match (&shape.pattern, shape.values.is_empty()) {
            (None, true) => "Shape::string()".to_owned(),
            (None, false) => format!("Shape::one_of(values::{})", screaming(name)),
            (Some(pattern), true) => format!("Shape::matching(&patterns::{})", pattern_name(plan, pattern)?),
            (Some(_), false) => bail!("shape {name} has both a pattern and an enumeration"),
        },
        Kind::Integer => "Shape::integer()".to_owned(),
        Kind::Long => "Shape::long()".to_owned(),
        Kind::Boolean => "Shape::boolean()".to_owned(),
        Kind::Timestamp => "Shape::timestamp()".to_owned(),
    };
    let counted = !matches!(shape.kind, Kind::Integer | Kind::Long);
    if let Some(min) = shape.min.filter(|min| !(counted && *min == 0)) {
        write!(out, ".at_least({min})")?;
    }
    if let Some(max) = shape.max {
        write!(out, ".at_most({max})")?;
    }
    if plan.is_sensitive(name, shape) {
        out.push_str(".sensitive()");
    }
    Ok(out)
}

fn structure(plan: &Plan<'_>, shape: &Shape) -> Result<String> {
    let mut out = "Shape::structure(&[".to_owned();
    for (member, reference) in shape.members.as_ref().context("a structure without members")? {
        let presence = if shape.required.contains(member) { "required" } else { "optional" };
        write!(out, "{presence}(\"{member}\", &{}),", static_name(plan, &reference.shape)?)?;
    }
    Ok(out + "])")
}

/// The patterns of all input shapes: text, and the first shape that has it, which names it.
fn collect<'a>(plan: &Plan<'a>) -> BTreeMap<&'a str, &'a str> {
    let mut patterns = BTreeMap::new();
    for (name, shape) in plan.shapes() {
        if let Some(pattern) = shape.pattern.as_deref().filter(|_| plan.has_table(name)) {
            patterns.entry(pattern).or_insert(name);
        }
    }
    patterns
}

fn pattern_name(plan: &Plan<'_>, pattern: &str) -> Result<String> {
    collect(plan).get(pattern).map(|name| screaming(name)).context("a pattern that was not collected")
}

/// The file of patterns, each compiled once here so that none can fail at run time.
pub(crate) fn patterns(plan: &Plan<'_>) -> Result<String> {
    let mut out =
        format!("//! Patterns of the `{}` model, each named after the first shape that has it.\n\n", plan.service.name);
    let named: BTreeSet<(&str, &str)> = collect(plan).into_iter().map(|(pattern, name)| (name, pattern)).collect();
    let mut statics = String::new();
    let mut refused = Vec::new();
    for (name, pattern) in named {
        let text = format!("{pattern:?}");
        let make = match HAND_WRITTEN_PATTERNS.iter().find(|(known, _)| *known == pattern) {
            Some((_, check)) => format!("check({text}, crate::pattern::{check})"),
            None => match translated(pattern) {
                Ok(expression) => format!("expression({text}, {expression:?})"),
                Err(reason) => {
                    refused.push(format!("{name} {pattern}: {reason}"));
                    continue;
                }
            },
        };
        writeln!(statics, "pub(super) static {}: Pattern = Pattern::{make};", screaming(name))?;
    }
    if !refused.is_empty() {
        bail!("these patterns need a hand-written check (HAND_WRITTEN_PATTERNS):\n{}", refused.join("\n"));
    }
    if !statics.is_empty() {
        writeln!(out, "use crate::pattern::Pattern;\n")?;
    }
    Ok(out + &statics)
}

/// A Java pattern in the syntax of the `regex` crate, matching the whole value. `\w`, `\d` and `\s` are ASCII in Java.
fn translated(pattern: &str) -> Result<String> {
    let mut out = String::from(r"\A(?:");
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let class = match (c, in_class) {
            ('\\', _) => match chars.next() {
                Some('w') => "0-9A-Za-z_",
                Some('d') => "0-9",
                Some('s') => r" \t\n\x0B\f\r",
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    out.push_str(&format!(r"\x{{{digits}}}"));
                    continue;
                }
                Some(next) if next.is_ascii_punctuation() || matches!(next, 'p' | 't' | 'n' | 'r') => {
                    out.push('\\');
                    out.push(next);
                    continue;
                }
                other => bail!("the escape {other:?} is not translated"),
            },
            ('[', true) => bail!("a class within a class"),
            ('[', false) | (']', true) => {
                in_class = !in_class;
                out.push(c);
                continue;
            }
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push_str(&if in_class { class.to_owned() } else { format!("[{class}]") });
    }
    out.push_str(r")\z");
    regex::Regex::new(&out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_classes_are_ascii_and_match_wholly() {
        assert_eq!(translated(r"^i-(\w{8})$").unwrap(), r"\A(?:^i-([0-9A-Za-z_]{8})$)\z");
        assert_eq!(translated(r"[\w\.]").unwrap(), r"\A(?:[0-9A-Za-z_\.])\z");
        assert_eq!(translated(r"\u002F[\u0021-\u007F]*").unwrap(), r"\A(?:\x{002F}[\x{0021}-\x{007F}]*)\z");
    }

    #[test]
    fn what_the_crate_cannot_express_is_refused() {
        assert!(translated(r"^(?!\s*$).+").is_err());
        assert!(translated(r"(a)\1").is_err());
    }
}
