use aws_wire::ssm::{self, DescribeActivationsRequest, DescribeActivationsResult};
use nodes::{Activation, ActivationFilter};

use crate::{Context, Error, Operate, pages::Page, tags::shown_tags};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

/// More activations than an account has.
const ROWS_MAX: u32 = 100_000;

impl Operate for DescribeActivationsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("activation/*")]
    }

    async fn run(self, context: &Context) -> Result<DescribeActivationsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "DescribeActivations", &self.filters, token, limit, "InvalidNextToken")?;
        let filters: Vec<ActivationFilter> = self
            .filters
            .unwrap_or_default()
            .iter()
            .map(|filter| {
                let key = filter.filter_key.as_deref().unwrap_or_default();
                ActivationFilter::parse(key, filter.filter_values.as_deref().unwrap_or_default())
            })
            .collect::<Result<_, _>>()?;
        let rows = context.server.store.activation_list(&context.scope, None, ROWS_MAX).await?;
        let mut rows: Vec<Activation> = rows.into_iter().map(|versioned| versioned.row).collect();
        rows.retain(|row| filters.iter().all(|filter| filter.matches(row)));
        let (rows, next_token) = page.cut(context, rows, |row| vec![row.id.to_string()])?;
        let list = rows.iter().map(|row| shown(context, row)).collect();
        Ok(DescribeActivationsResult { activation_list: Some(list), next_token })
    }
}

fn shown(context: &Context, row: &Activation) -> ssm::Activation {
    ssm::Activation {
        activation_id: Some(row.id.to_string()),
        description: Some(row.description.clone()),
        default_instance_name: Some(row.default_instance_name.clone()),
        iam_role: Some(row.iam_role.clone()),
        registration_limit: i32::try_from(row.registration_limit).ok(),
        registrations_count: i32::try_from(row.registrations_count).ok(),
        expiration_date: Some(row.expires_at.into()),
        expired: Some(row.is_expired(context.now)),
        created_date: Some(row.created_at.into()),
        tags: Some(shown_tags(&row.tags)),
    }
}
