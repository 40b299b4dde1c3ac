use aws_wire::ssm::{DocumentIdentifier, ListDocumentsRequest, ListDocumentsResult};
use commands::{Document, DocumentFilters, built_in_documents};

use super::documents::platforms;
use crate::{Context, Error, Operate, pages::Page};

/// The page where the caller names no size.
const PAGE_DEFAULT: i32 = 50;

impl Operate for ListDocumentsRequest {
    fn resources(&self, context: &Context) -> Vec<String> {
        vec![context.scope.ssm_arn("document/*")]
    }

    async fn run(self, context: &Context) -> Result<ListDocumentsResult, Error> {
        let limit = usize::try_from(self.max_results.unwrap_or(PAGE_DEFAULT)).unwrap_or(1);
        let question = (&self.document_filter_list, &self.filters);
        let token = self.next_token.as_deref();
        let page = Page::open(context, "ListDocuments", &question, token, limit, "InvalidNextToken")?;
        let older = self.document_filter_list.unwrap_or_default();
        let newer = self.filters.unwrap_or_default();
        if !older.is_empty() && !newer.is_empty() {
            return Err(Error::validation("Filters and DocumentFilterList cannot be used together. Use Filters."));
        }
        let older = older.into_iter().map(|f| (f.key.unwrap_or_default(), f.value.into_iter().collect()));
        let newer = newer.into_iter().map(|f| (f.key.unwrap_or_default(), f.values.unwrap_or_default()));
        let filters = DocumentFilters::parse(&older.chain(newer).collect::<Vec<(String, Vec<String>)>>())?;
        let rows: Vec<&Document> = built_in_documents().iter().filter(|document| filters.matches(document)).collect();
        let (rows, next_token) = page.cut(context, rows, |document| vec![document.name.to_string()])?;
        let identifiers = rows.into_iter().map(shown).collect();
        Ok(ListDocumentsResult { document_identifiers: Some(identifiers), next_token })
    }
}

fn shown(document: &Document) -> DocumentIdentifier {
    DocumentIdentifier {
        name: Some(document.name.to_string()),
        created_date: Some(document.created_at.into()),
        owner: Some(document.owner.clone()),
        platform_types: Some(platforms(document)),
        document_version: Some(document.version.clone()),
        document_type: Some("Command".to_owned()),
        schema_version: Some(document.schema_version.as_str().to_owned()),
        document_format: Some("JSON".to_owned()),
        tags: Some(Vec::new()),
        ..DocumentIdentifier::default()
    }
}
