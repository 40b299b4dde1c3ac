//! Whether a database is in order: the file itself, every row's types, and what must hold between the tables.

use super::archive::{Kind, Table};
use super::source::{BackupSource, tables};
use crate::ReadError;
use crate::connection::Connection;
use futures_util::StreamExt;
use sqlx::AssertSqlSafe;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, for people.
    pub what: String,
    /// How often.
    pub count: i64,
}

/// What must hold, and the query that counts where it does not. Only what every version of the program keeps to.
const RULES: &[(&str, &str)] = &[
    (
        "invocations without their command",
        "SELECT COUNT(*) AS count FROM invocation i WHERE NOT EXISTS (SELECT 1 FROM command c
            WHERE c.account = i.account AND c.region = i.region AND c.command_id = i.command_id)",
    ),
    (
        "step outputs without their invocation",
        "SELECT COUNT(*) AS count FROM step_output o WHERE NOT EXISTS (SELECT 1 FROM invocation i WHERE i.account = o.account
            AND i.region = o.region AND i.command_id = o.command_id AND i.node_id = o.node_id)",
    ),
    (
        "ended commands with invocations that are open",
        "SELECT COUNT(*) AS count FROM invocation i JOIN command c ON c.account = i.account AND c.region = i.region
            AND c.command_id = i.command_id WHERE c.finished_at IS NOT NULL AND i.finished_at IS NULL",
    ),
    (
        "present packages whose version is not known",
        "SELECT COUNT(*) AS count FROM presence p WHERE NOT EXISTS (SELECT 1 FROM package_version v WHERE v.account = p.account
            AND v.region = p.region AND v.package_version_id = p.package_version_id)",
    ),
    (
        "inventories and pings of nodes that do not exist",
        "SELECT COUNT(*) AS count FROM (SELECT account, region, node_id FROM node_inventory
            UNION SELECT account, region, node_id FROM node_ping) x WHERE NOT EXISTS (SELECT 1 FROM node n
            WHERE n.account = x.account AND n.region = x.region AND n.node_id = x.node_id)",
    ),
    (
        "patch states of nodes without a patch summary",
        "SELECT COUNT(*) AS count FROM patch_state p WHERE NOT EXISTS (SELECT 1 FROM patch_summary s
            WHERE s.account = p.account AND s.region = p.region AND s.node_id = p.node_id)",
    ),
    (
        "patch groups and defaults whose baseline does not exist",
        "SELECT COUNT(*) AS count FROM (SELECT account, region, baseline_id FROM patch_group WHERE predefined = 0
            UNION ALL SELECT account, region, baseline_id FROM patch_default WHERE predefined = 0) x
            WHERE NOT EXISTS (SELECT 1 FROM patch_baseline b
            WHERE b.account = x.account AND b.region = x.region AND b.baseline_id = x.baseline_id)",
    ),
    (
        "scopes whose audit records have gaps",
        "SELECT COUNT(*) AS count FROM (SELECT account, region FROM audit GROUP BY account, region
            HAVING MAX(seq) - MIN(seq) + 1 <> COUNT(*)) x",
    ),
    (
        "scopes whose audit records go beyond their sequence",
        "SELECT COUNT(*) AS count FROM (SELECT account, region, MAX(seq) AS last FROM audit GROUP BY account, region) x
            WHERE NOT EXISTS (SELECT 1 FROM scope_sequence s WHERE s.account = x.account AND s.region = x.region
            AND s.name = 'audit' AND s.last >= x.last)",
    ),
    (
        "scopes whose events go beyond their sequence",
        "SELECT COUNT(*) AS count FROM (SELECT account, region, MAX(seq) AS last FROM event GROUP BY account, region) x
            WHERE NOT EXISTS (SELECT 1 FROM scope_sequence s WHERE s.account = x.account AND s.region = x.region
            AND s.name = 'event' AND s.last >= x.last)",
    ),
];

impl BackupSource {
    /// Looks through the whole database as it is at this instant; nothing is changed. Empty: all is in order.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn check(&mut self) -> Result<Vec<Finding>, ReadError> {
        self.freeze().await?;
        let mut connection = self.connection();
        let mut findings = file(&mut connection).await?;
        for table in tables(&mut connection).await? {
            let unreadable = unreadable_rows(&mut connection, &table).await?;
            if unreadable > 0 {
                findings
                    .push(Finding { what: format!("rows of {} that cannot be read", table.name), count: unreadable });
            }
        }
        for (what, sql) in RULES {
            let row = connection.fetch_optional(*sql, vec![]).await?;
            let count = row.map(|row| row.int("count")).transpose()?.unwrap_or(0);
            if count > 0 {
                findings.push(Finding { what: (*what).to_owned(), count });
            }
        }
        connection.execute_script("ROLLBACK").await?;
        Ok(findings)
    }
}

/// What SQLite itself finds wrong with its file; PostgreSQL checks its pages as it reads them.
async fn file(connection: &mut Connection<'_>) -> Result<Vec<Finding>, ReadError> {
    let Connection::Sqlite(_) = connection else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    for row in connection.fetch_all("SELECT integrity_check AS text FROM pragma_integrity_check", vec![]).await? {
        let text = row.text("text")?;
        if text != "ok" {
            findings.push(Finding { what: format!("the file: {text}"), count: 1 });
        }
    }
    Ok(findings)
}

/// Rows with a value of another type than their column's; SQLite would keep them.
async fn unreadable_rows(connection: &mut Connection<'_>, table: &Table) -> Result<i64, ReadError> {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let sql = format!("SELECT {} FROM \"{}\"", columns.join(", "), table.name);
    let mut rows = connection.stream(AssertSqlSafe(sql));
    let mut unreadable = 0;
    while let Some(row) = rows.next().await {
        let row = row?;
        let readable = |(name, kind): &(String, Kind)| match kind {
            Kind::Int => row.int_or_null(name).is_ok(),
            Kind::Text => row.text_or_null(name).is_ok(),
            Kind::Blob => row.blob_or_null(name).is_ok(),
        };
        unreadable += i64::from(!table.columns.iter().all(readable));
    }
    Ok(unreadable)
}
