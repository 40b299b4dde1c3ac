use std::collections::BTreeMap;

use aws_wire::ssm::{ListCommandInvocationsRequest, ListCommandInvocationsResult};
use commands::{Command, InvocationFilters};
use identifiers::{CommandId, NodeId, Timestamp};
use store::{InvocationKey, InvocationQuery};

use super::shown_commands::shown_invocation;
use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size; AWS gives up to 50.
const PAGE_DEFAULT: i32 = 50;
/// How many rows are read at once while filters are applied to them.
const BATCH_ROWS: u32 = 200;

impl Operate for ListCommandInvocationsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("command/*")]
    }

    async fn run(self, context: &Context) -> Result<ListCommandInvocationsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let question = (&self.command_id, &self.instance_id, &self.filters, &self.details);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "ListCommandInvocations", &question, token, limit, "InvalidNextToken")?;
        let filters = InvocationFilters::parse(&snapshot::filter_pairs(self.filters))?;
        let mut query = InvocationQuery { after: position(page.after.as_deref()), ..InvocationQuery::all(BATCH_ROWS) };
        if let Some(id) = self.command_id {
            query.command_id = Some(snapshot::command_id(Some(&id))?);
        }
        if let Some(id) = self.instance_id {
            query.node_ids = Some(vec![snapshot::any_node_id(&id)?]);
        }
        let mut commands: BTreeMap<CommandId, Command> = BTreeMap::new();
        let mut found = Vec::new();
        loop {
            let rows = context.server.store.invocation_list(&context.scope, &query).await?;
            let last = rows.last().map(|row| key(&row.row));
            let exhausted = rows.len() < BATCH_ROWS as usize;
            for invocation in rows.into_iter().map(|row| row.row) {
                if !commands.contains_key(&invocation.command_id) {
                    let command = snapshot::command(context, &invocation.command_id).await?.row;
                    commands.insert(invocation.command_id.clone(), command);
                }
                let Some(command) = commands.get(&invocation.command_id) else { continue };
                if filters.matches(&invocation, &command.document_name) {
                    found.push(invocation);
                }
            }
            if exhausted || found.len() > limit {
                break;
            }
            query.after = last;
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let mut shown = Vec::with_capacity(found.len());
        for invocation in &found {
            let Some(command) = commands.get(&invocation.command_id) else { continue };
            let outputs = match self.details.unwrap_or(false) {
                false => None,
                true => Some(
                    context
                        .server
                        .store
                        .step_output_list(&context.scope, &invocation.command_id, &invocation.node_id)
                        .await?,
                ),
            };
            shown.push(shown_invocation(command, invocation, outputs.as_deref()));
        }
        let next_token = match found.last() {
            Some(last) if more => Some(page.next(
                context,
                vec![last.requested_at.as_micros().to_string(), last.command_id.to_string(), last.node_id.to_string()],
            )?),
            _ => None,
        };
        Ok(ListCommandInvocationsResult { command_invocations: Some(shown), next_token })
    }
}

fn key(invocation: &commands::Invocation) -> InvocationKey {
    InvocationKey {
        requested_at: invocation.requested_at,
        command_id: invocation.command_id.clone(),
        node_id: invocation.node_id.clone(),
    }
}

fn position(after: Option<&[String]>) -> Option<InvocationKey> {
    let [at, command, node] = after? else { return None };
    Some(InvocationKey {
        requested_at: Timestamp::from_micros(at.parse().ok()?),
        command_id: CommandId::parse(command).ok()?,
        node_id: NodeId::parse(node).ok()?,
    })
}
