use aws_wire::ssm::{DescribeDocumentPermissionRequest, DescribeDocumentPermissionResponse};

use super::documents::{named, named_arn};
use crate::{Context, Error, Operate};

impl Operate for DescribeDocumentPermissionRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(context, self.name.as_deref())]
    }

    /// Built-in documents are there for every account and shared with none by name.
    async fn run(self, _context: &Context) -> Result<DescribeDocumentPermissionResponse, Error> {
        named(self.name.as_deref(), None, None)?;
        Ok(DescribeDocumentPermissionResponse {
            account_ids: Some(Vec::new()),
            account_sharing_info_list: Some(Vec::new()),
            next_token: None,
        })
    }
}
