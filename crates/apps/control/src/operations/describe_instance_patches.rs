use aws_wire::ssm::{
    DescribeInstancePatchesRequest, DescribeInstancePatchesResult, PatchComplianceData, PatchOrchestratorFilter,
};
use identifiers::Timestamp;
use patching::{PatchRow, PatchState};
use store::PatchQuery;

use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for DescribeInstancePatchesRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![snapshot::node_arn(context, self.instance_id.as_deref())]
    }

    async fn run(self, context: &Context) -> Result<DescribeInstancePatchesResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(10);
        let question = (&self.instance_id, &self.filters);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "DescribeInstancePatches", &question, token, limit, "InvalidNextToken")?;
        let node = snapshot::node(context, self.instance_id.as_deref().unwrap_or_default()).await?.row;
        let mut query = PatchQuery::all(u32::try_from(limit + 1).unwrap_or(u32::MAX));
        query.after = page.after.as_ref().and_then(|key| key.first().cloned());
        for filter in self.filters.unwrap_or_default() {
            narrow(&mut query, filter)?;
        }
        let mut rows = context.server.store.patch_list(&context.scope, &node.node_id, &query).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_token = match rows.last() {
            Some(last) if more => Some(page.next(context, vec![last.kb_id()])?),
            _ => None,
        };
        Ok(DescribeInstancePatchesResult { patches: Some(rows.iter().map(shown).collect()), next_token })
    }
}

fn narrow(query: &mut PatchQuery, filter: PatchOrchestratorFilter) -> Result<(), Error> {
    let values = filter.values.unwrap_or_default();
    match filter.key.as_deref().unwrap_or_default() {
        "State" => {
            let state = |text: &String| {
                let unknown = || Error::new("InvalidFilter", format!("The filter State does not know '{text}'."));
                PatchState::parse(text).ok_or_else(unknown)
            };
            query.states.extend(values.iter().map(state).collect::<Result<Vec<_>, _>>()?);
        }
        "KBId" => query.kb_ids.extend(values),
        "Classification" => query.classifications.extend(values),
        "Severity" => query.severities.extend(values),
        other => {
            return Err(Error::new(
                "InvalidFilter",
                format!("The filter key '{other}' is not one of Classification, KBId, Severity, State."),
            ));
        }
    }
    Ok(())
}

/// A patch as the answer shows it: what is not the baseline's business comes without details, as in AWS.
fn shown(row: &PatchRow) -> PatchComplianceData {
    let details = |text: String| if row.state.shows_details() { text } else { String::new() };
    let absent = matches!(row.state, PatchState::Missing | PatchState::Failed);
    PatchComplianceData {
        title: Some(details(row.title())),
        kb_id: Some(row.kb_id()),
        classification: Some(details(row.classification.clone())),
        severity: Some(details(row.severity.clone())),
        state: Some(row.state.wire_name().to_owned()),
        installed_time: Some(if absent { Timestamp::EPOCH } else { row.installed_at }.into()),
        cve_ids: None,
    }
}
