use aws_wire::ssm::{
    DescribePatchGroupsRequest, DescribePatchGroupsResult, PatchGroupPatchBaselineMapping, PatchOrchestratorFilter,
};
use patching::{PatchBaseline, PatchGroupRegistration};

use super::describe_patch_baselines::identity;
use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size; AWS gives up to 100.
const PAGE_DEFAULT: i32 = 100;

impl Operate for DescribePatchGroupsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("patchbaseline/*")]
    }

    async fn run(self, context: &Context) -> Result<DescribePatchGroupsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "DescribePatchGroups", &self.filters, token, limit, "ValidationException")?;
        let filters = self.filters.unwrap_or_default();
        check(&filters)?;
        let defaults = snapshot::defaults(context).await?;
        let mut baselines = snapshot::own_baselines(context).await?;
        baselines.extend(patching::predefined());
        let registered = snapshot::registrations(context).await?.into_iter().map(|r| r.row);
        let rows: Vec<(PatchGroupRegistration, &PatchBaseline)> = registered
            .filter_map(|row| {
                let baseline = baselines.iter().find(|baseline| baseline.id == row.baseline)?;
                let shown = filters.iter().all(|filter| holds(filter, &row, baseline));
                shown.then_some((row, baseline))
            })
            .collect();
        let (rows, next_token) = page.cut(context, rows, |(row, _)| {
            vec![row.patch_group.to_string(), row.operating_system.as_str().to_owned()]
        })?;
        let mappings = rows.into_iter().map(|(row, baseline)| PatchGroupPatchBaselineMapping {
            patch_group: Some(row.patch_group.to_string()),
            baseline_identity: Some(identity(context, baseline, &defaults)),
        });
        Ok(DescribePatchGroupsResult { mappings: Some(mappings.collect()), next_token })
    }
}

fn check(filters: &[PatchOrchestratorFilter]) -> Result<(), Error> {
    let known =
        |filter: &PatchOrchestratorFilter| matches!(filter.key.as_deref(), Some("NAME_PREFIX" | "OPERATING_SYSTEM"));
    match filters.iter().find(|filter| !known(filter)) {
        None => Ok(()),
        Some(other) => Err(Error::validation(format!(
            "The filter key '{}' is not one of NAME_PREFIX, OPERATING_SYSTEM.",
            other.key.as_deref().unwrap_or_default()
        ))),
    }
}

fn holds(filter: &PatchOrchestratorFilter, row: &PatchGroupRegistration, baseline: &PatchBaseline) -> bool {
    let values = filter.values.as_deref().unwrap_or_default();
    values.is_empty()
        || values.iter().any(|value| match filter.key.as_deref().unwrap_or_default() {
            "NAME_PREFIX" => row.patch_group.as_str().starts_with(value),
            _ => baseline.operating_system.as_str() == value,
        })
}
