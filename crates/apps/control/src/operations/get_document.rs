use aws_wire::ssm::{GetDocumentRequest, GetDocumentResult};

use super::documents::{named, named_arn};
use crate::{Context, Error, Operate};

impl Operate for GetDocumentRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(context, self.name.as_deref())]
    }

    async fn run(self, _context: &Context) -> Result<GetDocumentResult, Error> {
        if self.document_format.as_deref().is_some_and(|format| format != "JSON") {
            return Err(Error::not_yet("A DocumentFormat other than JSON"));
        }
        let document = named(self.name.as_deref(), self.document_version.as_deref(), self.version_name.as_deref())?;
        Ok(GetDocumentResult {
            name: Some(document.name.to_string()),
            created_date: Some(document.created_at.into()),
            document_version: Some(document.version.clone()),
            status: Some("Active".to_owned()),
            content: Some(document.content.clone()),
            document_type: Some("Command".to_owned()),
            document_format: Some("JSON".to_owned()),
            attachments_content: Some(Vec::new()),
            ..GetDocumentResult::default()
        })
    }
}
