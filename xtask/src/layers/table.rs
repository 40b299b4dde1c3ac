//! The crate table of ARCHITECTURE.md.

use anyhow::{Context, bail};

/// A wing of the house, lowest first: a crate may use crates of lower wings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wing {
    Core,
    Formats,
    Adapters,
    Apps,
}

impl Wing {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "core" => Some(Self::Core),
            "formats" => Some(Self::Formats),
            "adapters" => Some(Self::Adapters),
            "apps" => Some(Self::Apps),
            _ => None,
        }
    }

    /// Its name, which is also its folder's under crates/.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Formats => "formats",
            Self::Adapters => "adapters",
            Self::Apps => "apps",
        }
    }

    /// Whether its crates only compute: no I/O, nothing asynchronous.
    pub(super) fn is_pure(self) -> bool {
        self <= Self::Formats
    }
}

/// A row: a crate, its wing, and what it may use in its own wing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) wing: Wing,
    pub(super) may_use: Vec<String>,
}

const BEGIN: &str = "<!-- crates:begin -->";
const END: &str = "<!-- crates:end -->";

/// Reads the table `| crate | wing | may use in its own wing | decides |` between its marks.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Row>> {
    let (_, after) = text.split_once(BEGIN).with_context(|| format!("ARCHITECTURE.md has no {BEGIN}"))?;
    let (table, _) = after.split_once(END).with_context(|| format!("ARCHITECTURE.md has no {END}"))?;
    let lines = table.lines().map(str::trim).filter(|line| line.starts_with('|'));
    let mut rows: Vec<Row> = Vec::new();
    // The first two lines are the heading and the rule below it.
    for line in lines.skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [name, wing, may_use, ..] = cells.as_slice() else { bail!("ARCHITECTURE.md: not a row of crates: {line}") };
        let wing = Wing::parse(wing).with_context(|| format!("ARCHITECTURE.md: {name} is in no wing: {wing:?}"))?;
        let may_use = may_use.split(',').map(|name| name.trim().trim_matches('`').to_owned());
        let may_use = may_use.filter(|name| !name.is_empty()).collect();
        if rows.iter().any(|row| row.name == *name) {
            bail!("ARCHITECTURE.md: {name} has two rows");
        }
        rows.push(Row { name: (*name).to_owned(), wing, may_use });
    }
    if rows.is_empty() {
        bail!("ARCHITECTURE.md: the table of crates is empty");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_or_without_code_marks() {
        let text = "words\n<!-- crates:begin -->\n| crate | wing | may use | decides |\n|---|---|---|---|\n\
                    | `ids` | core | | what an id is |\n| nodes | core | `ids`, changes | who |\n\
                    <!-- crates:end -->\n| other | table |\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], Row { name: "ids".to_owned(), wing: Wing::Core, may_use: Vec::new() });
        assert_eq!(rows[1].may_use, ["ids", "changes"]);
    }

    #[test]
    fn what_is_not_such_a_table_is_refused() {
        assert!(parse("no marks").unwrap_err().to_string().contains("crates:begin"));
        let table = |row: &str| format!("{BEGIN}\n| crate |\n|---|\n{row}\n{END}");
        assert!(parse(&table("")).unwrap_err().to_string().contains("empty"));
        assert!(parse(&table("| a | cellar | | x |")).unwrap_err().to_string().contains("no wing"));
        assert!(parse(&table("| a | core | | x |\n| a | apps | | x |")).unwrap_err().to_string().contains("two rows"));
    }

    #[test]
    fn the_wings_are_ordered() {
        assert!(Wing::Core < Wing::Formats && Wing::Formats < Wing::Adapters && Wing::Adapters < Wing::Apps);
        assert!(Wing::Formats.is_pure() && !Wing::Adapters.is_pure());
    }
}
