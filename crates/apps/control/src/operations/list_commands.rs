use aws_wire::ssm::{ListCommandsRequest, ListCommandsResult};
use commands::CommandFilters;
use identifiers::{CommandId, Timestamp};
use store::{CommandKey, CommandQuery};

use super::shown_commands::shown_command;
use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size; AWS gives up to 50.
const PAGE_DEFAULT: i32 = 50;
/// How many rows are read at once while filters are applied to them.
const BATCH_ROWS: u32 = 200;

impl Operate for ListCommandsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("command/*")]
    }

    async fn run(self, context: &Context) -> Result<ListCommandsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let question = (&self.command_id, &self.instance_id, &self.filters);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "ListCommands", &question, token, limit, "InvalidNextToken")?;
        let filters = snapshot::filter_pairs(self.filters);
        let filters = CommandFilters::parse(&filters)?;
        let mut query = CommandQuery { after: position(page.after.as_deref()), ..CommandQuery::all(BATCH_ROWS) };
        if let Some(id) = self.command_id {
            query.command_id = Some(snapshot::command_id(Some(&id))?);
        }
        if let Some(id) = self.instance_id {
            query.node_id = Some(snapshot::any_node_id(&id)?);
        }
        let mut found = Vec::new();
        loop {
            let rows = context.server.store.command_list(&context.scope, &query).await?;
            let last = rows.last().map(|row| key(&row.row));
            let exhausted = rows.len() < BATCH_ROWS as usize;
            found.extend(rows.into_iter().map(|row| row.row).filter(|row| filters.matches(row)));
            if exhausted || found.len() > limit {
                break;
            }
            query.after = last;
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let next_token = match found.last() {
            Some(last) if more => {
                Some(page.next(context, vec![last.requested_at.as_micros().to_string(), last.command_id.to_string()])?)
            }
            _ => None,
        };
        Ok(ListCommandsResult { commands: Some(found.iter().map(shown_command).collect()), next_token })
    }
}

fn key(command: &commands::Command) -> CommandKey {
    CommandKey { requested_at: command.requested_at, command_id: command.command_id.clone() }
}

fn position(after: Option<&[String]>) -> Option<CommandKey> {
    let [at, id] = after? else { return None };
    Some(CommandKey { requested_at: Timestamp::from_micros(at.parse().ok()?), command_id: CommandId::parse(id).ok()? })
}
