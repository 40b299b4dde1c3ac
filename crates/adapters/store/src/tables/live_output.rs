use super::named;
use crate::apply::Failure;
use crate::connection::{Connection, Row};
use crate::statement::{Select, columns, delete, insert_rows};
use crate::value::{Value, values};
use crate::{ReadError, Store};
use commands::{LiveOutput, OutputStream};
use identifiers::{CommandId, NodeId, Scope};

impl Store {
    /// What the steps of an invocation have written while they run, by step and stream, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn live_output_list(
        &self,
        scope: &Scope,
        command: &CommandId,
        node: &NodeId,
    ) -> Result<Vec<LiveOutput>, ReadError> {
        let mut select = Select::new(
            "SELECT command_id, node_id, step, stream, stream_from, stream_until, text_from, content FROM live_output",
            vec![],
        );
        select.scope("account = ? AND region = ?", scope);
        select.filter("command_id = ? AND node_id = ?", values![command, node]);
        select.then("ORDER BY step, stream, stream_from");
        self.select(select, live_output_of).await
    }
}

fn live_output_of(row: &Row) -> Result<LiveOutput, ReadError> {
    let position = |column: &str| {
        u64::try_from(row.int(column)?).map_err(|_| ReadError::Corrupt(format!("column {column} is negative")))
    };
    Ok(LiveOutput {
        command_id: row.id("command_id")?,
        node_id: row.id("node_id")?,
        step: row.text("step")?,
        stream: named(row, "stream", OutputStream::parse)?,
        from: position("stream_from")?,
        until: position("stream_until")?,
        text_from: position("text_from")?,
        text: String::from_utf8(row.blob("content")?)
            .map_err(|_| ReadError::Corrupt("column content is not UTF-8".to_owned()))?,
    })
}

pub(crate) async fn add(connection: &mut Connection<'_>, scope: &Scope, pieces: &[LiveOutput]) -> Result<(), Failure> {
    let head = "INSERT INTO live_output (account, region, command_id, node_id, step, stream, stream_from, stream_until, \
        text_from, content)";
    let row = |piece: &LiveOutput| -> Vec<Value> {
        let position = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        values![
            &scope.account,
            &scope.region,
            &piece.command_id,
            &piece.node_id,
            &piece.step,
            piece.stream.as_str(),
            position(piece.from),
            position(piece.until),
            position(piece.text_from),
            piece.text.as_bytes(),
        ]
    };
    // In the order of the keys, so that two replicas lock rows in the same order.
    let mut pieces: Vec<&LiveOutput> = pieces.iter().collect();
    pieces.sort_by_key(|p| (p.command_id.as_str(), p.node_id.as_str(), p.step.as_str(), p.stream, p.from));
    let rows = pieces.into_iter().map(row).collect();
    Ok(insert_rows(connection, head, rows, "ON CONFLICT DO NOTHING").await?)
}

pub(crate) async fn forget(
    connection: &mut Connection<'_>,
    scope: &Scope,
    command: &CommandId,
    node: &NodeId,
) -> Result<(), Failure> {
    let key = columns!["command_id" => command, "node_id" => node];
    delete(connection, scope, "live_output", key).await?;
    Ok(())
}

pub(crate) async fn sweep(connection: &mut Connection<'_>, scope: &Scope) -> Result<(), Failure> {
    let sql = "DELETE FROM live_output WHERE account = $1 AND region = $2 AND NOT EXISTS (
        SELECT 1 FROM invocation i WHERE i.account = live_output.account AND i.region = live_output.region
        AND i.command_id = live_output.command_id AND i.node_id = live_output.node_id AND i.finished_at IS NULL)";
    connection.execute(sql, values![&scope.account, &scope.region]).await?;
    Ok(())
}
