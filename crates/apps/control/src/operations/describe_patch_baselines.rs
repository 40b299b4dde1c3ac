use aws_wire::ssm::{
    DescribePatchBaselinesRequest, DescribePatchBaselinesResult, PatchBaselineIdentity, PatchOrchestratorFilter,
};
use patching::{BaselineOwner, DefaultBaseline, PatchBaseline};

use crate::{Context, Error, Operate, pages::Page, snapshot};

/// The page where the caller names no size; AWS gives up to 100.
const PAGE_DEFAULT: i32 = 100;

impl Operate for DescribePatchBaselinesRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("patchbaseline/*")]
    }

    async fn run(self, context: &Context) -> Result<DescribePatchBaselinesResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "DescribePatchBaselines", &self.filters, token, limit, "ValidationException")?;
        let filters = self.filters.unwrap_or_default();
        check(&filters)?;
        let defaults = snapshot::defaults(context).await?;
        let mut rows = snapshot::own_baselines(context).await?;
        rows.extend(patching::predefined());
        rows.retain(|row| filters.iter().all(|filter| holds(filter, row, &defaults)));
        let key = |row: &PatchBaseline| vec![row.name.clone(), row.id.to_string()];
        let (rows, next_token) = page.cut(context, rows, key)?;
        let identities = rows.iter().map(|row| identity(context, row, &defaults)).collect();
        Ok(DescribePatchBaselinesResult { baseline_identities: Some(identities), next_token })
    }
}

fn check(filters: &[PatchOrchestratorFilter]) -> Result<(), Error> {
    for filter in filters {
        let key = filter.key.as_deref().unwrap_or_default();
        if !matches!(key, "NAME_PREFIX" | "OWNER" | "OPERATING_SYSTEM" | "DEFAULT_BASELINE") {
            return Err(Error::validation(format!(
                "The filter key '{key}' is not one of NAME_PREFIX, OWNER, OPERATING_SYSTEM, DEFAULT_BASELINE."
            )));
        }
    }
    Ok(())
}

fn holds(filter: &PatchOrchestratorFilter, row: &PatchBaseline, defaults: &[DefaultBaseline]) -> bool {
    let values = filter.values.as_deref().unwrap_or_default();
    values.is_empty()
        || values.iter().any(|value| match filter.key.as_deref().unwrap_or_default() {
            "NAME_PREFIX" => row.name.starts_with(value),
            "OWNER" => match value.as_str() {
                "All" => true,
                "AWS" => row.owner == BaselineOwner::Predefined,
                "Self" => row.owner == BaselineOwner::Own,
                _ => false,
            },
            "DEFAULT_BASELINE" => value.eq_ignore_ascii_case("true") == snapshot::is_default(row, defaults),
            _ => row.operating_system.as_str() == value,
        })
}

/// A baseline in short.
pub(super) fn identity(context: &Context, row: &PatchBaseline, defaults: &[DefaultBaseline]) -> PatchBaselineIdentity {
    PatchBaselineIdentity {
        baseline_id: Some(row.public_id(&context.scope.region)),
        baseline_name: Some(row.name.clone()),
        baseline_description: Some(row.description.clone()),
        operating_system: Some(row.operating_system.as_str().to_owned()),
        default_baseline: Some(snapshot::is_default(row, defaults)),
    }
}
