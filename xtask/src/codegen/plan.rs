//! Which shape goes to which module, and which are needed on input.

use super::model::{Kind, Model, Shape};
use super::{ALSO_SENSITIVE, Service};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The module of shapes that several others need.
const COMMON: &str = "common";

/// The order of generation.
pub(crate) struct Plan<'a> {
    pub(crate) service: &'a Service,
    pub(crate) model: &'a Model,
    /// Module of each shape.
    homes: BTreeMap<String, &'static str>,
    /// Shapes that get a table: those that an input reaches, and in the Query protocol those that an output reaches,
    /// because XML is written by it.
    tables: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(service: &'a Service, model: &'a Model) -> Result<Self> {
        let mut plan = Self { service, model, homes: BTreeMap::new(), tables: BTreeSet::new() };
        for (module, operations) in service.modules {
            for name in *operations {
                let operation = plan.operation(name)?;
                let inputs = model.reach(&operation.input.shape)?;
                let outputs = match &operation.output {
                    Some(output) => model.reach(&output.shape)?,
                    None => BTreeSet::new(),
                };
                for shape in inputs.iter().chain(&outputs) {
                    let home = plan.homes.entry(shape.clone()).or_insert(module);
                    if home != module {
                        *home = COMMON;
                    }
                }
                plan.tables.extend(inputs);
                if plan.is_query() {
                    plan.tables.extend(outputs);
                }
            }
        }
        Ok(plan)
    }

    /// The operation of that name.
    pub(crate) fn operation(&self, name: &str) -> Result<&'a super::model::Operation> {
        let hint = || format!("the model of {} has no operation {name}: run with --from", self.service.name);
        self.model.operations.get(name).with_context(hint)
    }

    /// The served operations in the order of the list.
    pub(crate) fn operations(&self) -> Result<Vec<&'a super::model::Operation>> {
        self.service.modules.iter().flat_map(|(_, names)| *names).map(|name| self.operation(name)).collect()
    }

    /// The modules in the order of the list, with the common one first if there is any need for it.
    pub(crate) fn modules(&self) -> Vec<&'static str> {
        let common = self.homes.values().any(|home| *home == COMMON).then_some(COMMON);
        common.into_iter().chain(self.service.modules.iter().map(|(module, _)| *module)).collect()
    }

    /// The shapes of a module, by name.
    pub(crate) fn shapes_of(&self, module: &str) -> Result<Vec<(&'a str, &'a Shape)>> {
        let names =
            self.model.shapes.iter().filter(|(name, _)| self.homes.get(*name).is_some_and(|home| *home == module));
        Ok(names.map(|(name, shape)| (name.as_str(), shape)).collect())
    }

    /// All shapes that go into the code, by name; errors are not among them.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&'a str, &'a Shape)> {
        let named = self.model.shapes.iter().filter(|(name, _)| self.homes.contains_key(*name));
        named.map(|(name, shape)| (name.as_str(), shape))
    }

    /// Whether the shape gets a table.
    pub(crate) fn has_table(&self, shape: &str) -> bool {
        self.tables.contains(shape)
    }

    /// Whether the service speaks the Query protocol.
    pub(crate) fn is_query(&self) -> bool {
        self.model.metadata.get("protocol").is_some_and(|protocol| protocol == "query")
    }

    /// The name under which an error of the model is written.
    pub(crate) fn error_code(&self, shape: &'a str) -> Result<&'a str> {
        Ok(self.model.shape(shape)?.error.as_ref().map_or(shape, |written| written.code.as_str()))
    }

    /// Whether values of the shape must not be shown.
    pub(crate) fn is_sensitive(&self, name: &str, shape: &Shape) -> bool {
        shape.sensitive || ALSO_SENSITIVE.contains(&name)
    }

    /// Whether the shape is a number, a truth value, a time, or a string without constraints: one that needs no table
    /// of its own.
    pub(crate) fn is_plain(&self, name: &str, shape: &Shape) -> bool {
        let free =
            shape.min.unwrap_or(0) == 0 && shape.max.is_none() && shape.pattern.is_none() && shape.values.is_empty();
        let scalar = !matches!(shape.kind, Kind::Structure | Kind::List | Kind::Map);
        let unbounded = shape.kind == Kind::String || shape.min.is_none();
        scalar && free && unbounded && !self.is_sensitive(name, shape)
    }
}
