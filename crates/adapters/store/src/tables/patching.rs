use super::{named, select_versioned, versioned};
use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::statement::{Select, columns, delete, insert, insert_rows, put};
use crate::value::values;
use crate::{ApplyError, Order, ReadError, Store};
use changes::Versioned;
use identifiers::{BaselineId, CommandId, NodeId, PatchGroupName, Scope, Timestamp};
use packages::OperatingSystem;
use patching::{
    DefaultBaseline, PatchBaseline, PatchGroupRegistration, PatchRow, PatchState, PatchStateChange, PatchSummary,
    RecordedReport, Write, aggregate,
};

/// The summary of a node's last patch run, or of one in its history.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePatchSummary {
    /// The node.
    pub node_id: NodeId,
    /// The command that ran.
    pub command_id: CommandId,
    /// Counts and circumstances.
    pub summary: PatchSummary,
}

/// Which registrations of patch groups.
#[derive(Debug, Clone, Default)]
pub struct PatchGroupQuery {
    /// Only of this baseline.
    pub baseline_id: Option<BaselineId>,
    /// Only of this group.
    pub patch_group: Option<PatchGroupName>,
    /// Only of this operating system.
    pub operating_system: Option<OperatingSystem>,
    /// Only after this one, in the order of (group, operating system's name).
    pub after: Option<(PatchGroupName, OperatingSystem)>,
}

/// Which of a node's patches. Each list: one of these, or any where it is empty.
#[derive(Debug, Clone)]
pub struct PatchQuery {
    /// States.
    pub states: Vec<PatchState>,
    /// `name.arch`.
    pub kb_ids: Vec<String>,
    /// Classifications.
    pub classifications: Vec<String>,
    /// Severities.
    pub severities: Vec<String>,
    /// Only after this one, in the order of `kb_id`.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl PatchQuery {
    /// All of them, by `kb_id`.
    #[must_use]
    pub fn all(limit: u32) -> Self {
        Self {
            states: Vec::new(),
            kb_ids: Vec::new(),
            classifications: Vec::new(),
            severities: Vec::new(),
            after: None,
            limit,
        }
    }
}

/// One patch of a node that came into another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchStateChanged {
    /// The end of the run that saw it.
    pub at: Timestamp,
    /// That run's command.
    pub command_id: CommandId,
    /// Which, from which state to which.
    pub change: PatchStateChange,
}

impl Store {
    /// An own patch baseline.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn baseline_get(
        &self,
        scope: &Scope,
        baseline: &BaselineId,
    ) -> Result<Versioned<Option<PatchBaseline>>, ReadError> {
        let sql = select_versioned!("t.body", "patch_baseline", "t.baseline_id = $5");
        self.get_versioned(sql, scope, &aggregate::baseline(baseline), values![baseline], |row| row.json("body")).await
    }

    /// Own patch baselines by id, of one operating system or of all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn baseline_list(
        &self,
        scope: &Scope,
        operating_system: Option<OperatingSystem>,
        after: Option<&BaselineId>,
        limit: u32,
    ) -> Result<Vec<Versioned<PatchBaseline>>, ReadError> {
        let head = "SELECT COALESCE(a.revision, 0) AS revision, t.body FROM patch_baseline t LEFT JOIN aggregate a
            ON a.account = t.account AND a.region = t.region AND a.kind = 'patch-baseline' AND a.id = t.baseline_id";
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        if let Some(operating_system) = operating_system {
            select.filter("t.operating_system = ?", values![operating_system.as_str()]);
        }
        if let Some(after) = after {
            select.filter("t.baseline_id > ?", values![after]);
        }
        select.then("ORDER BY t.baseline_id");
        select.limit(limit);
        self.select(select, |row| versioned(row, |row| row.json("body"))).await
    }

    /// How many own patch baselines there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn baseline_count(&self, scope: &Scope) -> Result<u64, ReadError> {
        let sql = "SELECT COUNT(*) AS number FROM patch_baseline WHERE account = $1 AND region = $2";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region]).await?;
        row.map_or(Ok(0), |row| super::small(&row, "number"))
    }

    /// The chosen default baseline of an operating system.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn default_baseline_get(
        &self,
        scope: &Scope,
        operating_system: OperatingSystem,
    ) -> Result<Versioned<Option<DefaultBaseline>>, ReadError> {
        let sql = select_versioned!(
            "t.operating_system, t.baseline_id, t.predefined",
            "patch_default",
            "t.operating_system = $5"
        );
        let key = values![operating_system.as_str()];
        self.get_versioned(sql, scope, &aggregate::default(operating_system), key, default_of).await
    }

    /// All chosen default baselines.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn default_baseline_list(&self, scope: &Scope) -> Result<Vec<Versioned<DefaultBaseline>>, ReadError> {
        let head = "SELECT COALESCE(a.revision, 0) AS revision, t.operating_system, t.baseline_id, t.predefined
            FROM patch_default t LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region
            AND a.kind = 'patch-default' AND a.id = t.operating_system";
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        select.then("ORDER BY t.operating_system");
        self.select(select, |row| versioned(row, default_of)).await
    }

    /// A patch group's baseline for one operating system.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_group_get(
        &self,
        scope: &Scope,
        patch_group: &PatchGroupName,
        operating_system: OperatingSystem,
    ) -> Result<Versioned<Option<PatchGroupRegistration>>, ReadError> {
        let sql = select_versioned!(
            "t.patch_group, t.operating_system, t.baseline_id, t.predefined",
            "patch_group",
            "t.patch_group = $5 AND t.operating_system = $6"
        );
        let aggregate = aggregate::patch_group(patch_group, operating_system);
        let key = values![patch_group, operating_system.as_str()];
        self.get_versioned(sql, scope, &aggregate, key, patch_group_of).await
    }

    /// Registrations of patch groups, by group and operating system.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_group_list(
        &self,
        scope: &Scope,
        query: &PatchGroupQuery,
        limit: u32,
    ) -> Result<Vec<Versioned<PatchGroupRegistration>>, ReadError> {
        let head =
            "SELECT COALESCE(a.revision, 0) AS revision, t.patch_group, t.operating_system, t.baseline_id, t.predefined
            FROM patch_group t LEFT JOIN aggregate a ON a.account = t.account AND a.region = t.region
            AND a.kind = 'patch-group' AND a.id = t.operating_system || '/' || t.patch_group";
        let mut select = Select::new(head, vec![]);
        select.scope("t.account = ? AND t.region = ?", scope);
        if let Some(baseline) = &query.baseline_id {
            select.filter("t.baseline_id = ?", values![baseline]);
        }
        if let Some(group) = &query.patch_group {
            select.filter("t.patch_group = ?", values![group]);
        }
        if let Some(operating_system) = query.operating_system {
            select.filter("t.operating_system = ?", values![operating_system.as_str()]);
        }
        if let Some((group, operating_system)) = &query.after {
            let key = values![group, operating_system.as_str()];
            select.filter("(t.patch_group, t.operating_system) > (?, ?)", key);
        }
        select.then("ORDER BY t.patch_group, t.operating_system");
        select.limit(limit);
        self.select(select, |row| versioned(row, patch_group_of)).await
    }

    /// The summaries of the last runs on some nodes, by node id; nodes without a run are not in it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_summary_list(
        &self,
        scope: &Scope,
        node_ids: &[NodeId],
    ) -> Result<Vec<NodePatchSummary>, ReadError> {
        let mut select = Select::new("SELECT node_id, command_id, summary FROM patch_summary", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter_in("node_id", node_ids.iter().map(Into::into).collect());
        select.then("ORDER BY node_id");
        self.select(select, summary_of).await
    }

    /// The summary of a node's last run, with the revision of the node's patches.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_summary_get(
        &self,
        scope: &Scope,
        node: &NodeId,
    ) -> Result<Versioned<Option<NodePatchSummary>>, ReadError> {
        let sql = select_versioned!("t.node_id, t.command_id, t.summary", "patch_summary", "t.node_id = $5");
        self.get_versioned(sql, scope, &aggregate::node_patches(node), values![node], summary_of).await
    }

    /// A node's patches as the last run left them, by `kb_id`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_list(
        &self,
        scope: &Scope,
        node: &NodeId,
        query: &PatchQuery,
    ) -> Result<Vec<PatchRow>, ReadError> {
        let mut select = Select::new("SELECT body FROM patch_state", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("node_id = ?", values![node]);
        let states: Vec<_> = query.states.iter().map(|state| state.as_str().into()).collect();
        let texts = |list: &[String]| list.iter().map(Into::into).collect();
        for (column, wanted) in [
            ("state", states),
            ("kb_id", texts(&query.kb_ids)),
            ("classification", texts(&query.classifications)),
            ("severity", texts(&query.severities)),
        ] {
            if !wanted.is_empty() {
                select.filter_in(column, wanted);
            }
        }
        if let Some(after) = &query.after {
            select.filter("kb_id > ?", values![after]);
        }
        select.then("ORDER BY kb_id");
        select.limit(query.limit);
        self.select(select, |row| row.json("body")).await
    }

    /// A node's runs, newest first, older than `before` where it is given.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_report_list(
        &self,
        scope: &Scope,
        node: &NodeId,
        before: Option<(Timestamp, CommandId)>,
        limit: u32,
    ) -> Result<Vec<NodePatchSummary>, ReadError> {
        let mut select = Select::new("SELECT node_id, command_id, summary FROM patch_report", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("node_id = ?", values![node]);
        if let Some((at, command)) = &before {
            select.filter("(at, command_id) < (?, ?)", values![*at, command]);
        }
        select.then("ORDER BY at DESC, command_id DESC");
        select.limit(limit);
        self.select(select, summary_of).await
    }

    /// A node's changes of patch states; `after`: only those beyond the one with this (instant, `kb_id`, command).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn patch_state_change_list(
        &self,
        scope: &Scope,
        node: &NodeId,
        order: Order,
        after: Option<(Timestamp, String, CommandId)>,
        limit: u32,
    ) -> Result<Vec<PatchStateChanged>, ReadError> {
        let head = "SELECT at, kb_id, command_id, from_state, to_state FROM patch_state_change";
        let mut select = Select::new(head, vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("node_id = ?", values![node]);
        if let Some((at, kb_id, command)) = &after {
            let beyond = match order {
                Order::NewestFirst => "(at, kb_id, command_id) < (?, ?, ?)",
                Order::OldestFirst => "(at, kb_id, command_id) > (?, ?, ?)",
            };
            select.filter(beyond, values![*at, kb_id, command]);
        }
        select.then(match order {
            Order::NewestFirst => "ORDER BY at DESC, kb_id DESC, command_id DESC",
            Order::OldestFirst => "ORDER BY at, kb_id, command_id",
        });
        select.limit(limit);
        self.select(select, state_change_of).await
    }
}

fn predefined(row: &Row) -> Result<bool, ReadError> {
    Ok(row.int("predefined")? != 0)
}

fn default_of(row: &Row) -> Result<DefaultBaseline, ReadError> {
    Ok(DefaultBaseline {
        operating_system: named(row, "operating_system", OperatingSystem::parse)?,
        baseline: row.id("baseline_id")?,
        predefined: predefined(row)?,
    })
}

fn patch_group_of(row: &Row) -> Result<PatchGroupRegistration, ReadError> {
    Ok(PatchGroupRegistration {
        patch_group: row.id("patch_group")?,
        operating_system: named(row, "operating_system", OperatingSystem::parse)?,
        baseline: row.id("baseline_id")?,
        predefined: predefined(row)?,
    })
}

fn summary_of(row: &Row) -> Result<NodePatchSummary, ReadError> {
    Ok(NodePatchSummary {
        node_id: row.id("node_id")?,
        command_id: row.id("command_id")?,
        summary: row.json("summary")?,
    })
}

fn state_change_of(row: &Row) -> Result<PatchStateChanged, ReadError> {
    let state = |column: &str| -> Result<Option<PatchState>, ReadError> {
        row.text_or_null(column)?.map(|_| named(row, column, PatchState::parse)).transpose()
    };
    Ok(PatchStateChanged {
        at: row.at("at")?,
        command_id: row.id("command_id")?,
        change: PatchStateChange { kb_id: row.text("kb_id")?, from: state("from_state")?, to: state("to_state")? },
    })
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &Write) -> Result<(), Failure> {
    match write {
        Write::BaselinePut(baseline) => {
            let rest = columns![
                "name" => &baseline.name,
                "operating_system" => baseline.operating_system.as_str(),
                "body" => to_json(baseline)?,
            ];
            put(connection, scope, "patch_baseline", columns!["baseline_id" => &baseline.id], rest).await?;
        }
        Write::BaselineDelete(baseline) => {
            delete(connection, scope, "patch_baseline", columns!["baseline_id" => baseline]).await?;
        }
        Write::DefaultPut(default) => {
            let key = columns!["operating_system" => default.operating_system.as_str()];
            let rest = columns!["baseline_id" => &default.baseline, "predefined" => default.predefined];
            put(connection, scope, "patch_default", key, rest).await?;
        }
        Write::PatchGroupPut(row) => {
            let key = patch_group_key(&row.patch_group, row.operating_system);
            let rest = columns!["baseline_id" => &row.baseline, "predefined" => row.predefined];
            put(connection, scope, "patch_group", key, rest).await?;
        }
        Write::PatchGroupDelete { patch_group, operating_system } => {
            delete(connection, scope, "patch_group", patch_group_key(patch_group, *operating_system)).await?;
        }
        Write::ReportPut(report) => report_append(connection, scope, report).await?,
    }
    Ok(())
}

fn patch_group_key(patch_group: &PatchGroupName, operating_system: OperatingSystem) -> Vec<crate::statement::Column> {
    columns!["patch_group" => patch_group, "operating_system" => operating_system.as_str()]
}

/// The report into the history, and the current view brought up to date with it.
async fn report_append(connection: &mut Connection<'_>, scope: &Scope, report: &RecordedReport) -> Result<(), Failure> {
    let (node, at, summary) = (&report.node, report.summary.ended_at, &report.summary);
    let run = columns![
        "at" => at,
        "command_id" => &report.command,
        "operation" => summary.operation.as_str(),
        "baseline_id" => &summary.baseline_id,
        "summary" => to_json(summary)?,
    ];
    let mut row = columns!["node_id" => node];
    row.extend(run.clone());
    if !insert(connection, scope, "patch_report", row).await? {
        let id = format!("{node}/{}/{at}", report.command);
        return Err(ApplyError::Duplicate { kind: "patch report", id }.into());
    }
    let mut current = run;
    current.extend(columns!["patch_group" => &summary.patch_group]);
    put(connection, scope, "patch_summary", columns!["node_id" => node], current).await?;

    for kb_id in &report.rows.gone {
        delete(connection, scope, "patch_state", columns!["node_id" => node, "kb_id" => kb_id]).await?;
    }
    let mut rows = Vec::with_capacity(report.rows.put.len());
    for row in &report.rows.put {
        rows.push(values![
            &scope.account,
            &scope.region,
            node,
            row.kb_id(),
            row.state.as_str(),
            &row.classification,
            &row.severity,
            to_json(row)?,
        ]);
    }
    let head = "INSERT INTO patch_state (account, region, node_id, kb_id, state, classification, severity, body)";
    let tail = "ON CONFLICT (account, region, node_id, kb_id) DO UPDATE SET state = excluded.state,
        classification = excluded.classification, severity = excluded.severity, body = excluded.body";
    insert_rows(connection, head, rows, tail).await?;

    let changes = report.state_changes.iter().map(|change| {
        values![
            &scope.account,
            &scope.region,
            node,
            at,
            &change.kb_id,
            &report.command,
            change.from.map(PatchState::as_str),
            change.to.map(PatchState::as_str),
        ]
    });
    let head = "INSERT INTO patch_state_change (account, region, node_id, at, kb_id, command_id, from_state, to_state)";
    Ok(insert_rows(connection, head, changes.collect(), "").await?)
}
