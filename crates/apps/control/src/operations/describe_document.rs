use aws_wire::ssm::{DescribeDocumentRequest, DescribeDocumentResult, DocumentDescription, DocumentParameter};
use commands::{BUILT_IN_OWNER, Parameter};

use super::documents::{named, named_arn, platforms};
use crate::{Context, Error, Operate};

impl Operate for DescribeDocumentRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![named_arn(context, self.name.as_deref())]
    }

    async fn run(self, _context: &Context) -> Result<DescribeDocumentResult, Error> {
        let document = named(self.name.as_deref(), self.document_version.as_deref(), self.version_name.as_deref())?;
        Ok(DescribeDocumentResult {
            document: Some(DocumentDescription {
                name: Some(document.name.to_string()),
                owner: Some(BUILT_IN_OWNER.to_owned()),
                created_date: Some(document.created_at.into()),
                status: Some("Active".to_owned()),
                hash: Some(document.hash.clone()),
                hash_type: Some("Sha256".to_owned()),
                document_version: Some(document.version.clone()),
                default_version: Some(document.version.clone()),
                latest_version: Some(document.version.clone()),
                description: Some(document.description.clone()),
                parameters: Some(document.parameters.iter().map(shown).collect()),
                platform_types: Some(platforms(document)),
                document_type: Some("Command".to_owned()),
                document_format: Some("JSON".to_owned()),
                schema_version: Some(document.schema_version.as_str().to_owned()),
                tags: Some(Vec::new()),
                ..DocumentDescription::default()
            }),
        })
    }
}

fn shown(parameter: &Parameter) -> DocumentParameter {
    DocumentParameter {
        name: Some(parameter.name.clone()),
        r#type: Some(parameter.kind.as_str().to_owned()),
        description: Some(parameter.description.clone()),
        default_value: parameter.default.as_ref().map(commands::ParameterValue::to_text),
    }
}
