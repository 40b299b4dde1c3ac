//! Page tokens: sealed positions, bound to operation, scope and filters, so that a token of another question is refused.

use identifiers::PagePosition;
use serde::Serialize;

use crate::{Context, Error};

const VERSION: u32 = 1;

/// One page of a listing as the caller asked for it.
pub(crate) struct Page {
    operation: &'static str,
    filter_digest: String,
    /// The key after which the page begins; `None` at the start.
    pub(crate) after: Option<Vec<String>>,
    /// How many rows it has at most.
    pub(crate) limit: usize,
}

impl Page {
    /// Opens the caller's token. `filters` is whatever else the question consists of. `invalid` is the operation's
    /// error for a bad token.
    pub(crate) fn open(
        context: &Context,
        operation: &'static str,
        filters: &impl Serialize,
        token: Option<&str>,
        limit: usize,
        invalid: &'static str,
    ) -> Result<Self, Error> {
        let filter_digest = identity::sha256_hex(&serde_json::to_vec(filters)?);
        let mut page = Self { operation, filter_digest, after: None, limit };
        let Some(token) = token.filter(|t| !t.is_empty()) else { return Ok(page) };
        let refused = || Error::new(invalid, "The specified token isn't valid.");
        let plain = context.server.keys.pages.open_text(token, &place(context)).map_err(|_| refused())?;
        let position: PagePosition = serde_json::from_slice(&plain).map_err(|_| refused())?;
        let fits = position.version == VERSION
            && position.operation == operation
            && position.filter_digest == page.filter_digest;
        if !fits {
            return Err(refused());
        }
        page.after = Some(position.last_key);
        Ok(page)
    }

    /// The token for the page after the one that ends with `last_key`.
    pub(crate) fn next(&self, context: &Context, last_key: Vec<String>) -> Result<String, Error> {
        let position = PagePosition {
            operation: self.operation.to_owned(),
            filter_digest: self.filter_digest.clone(),
            last_key,
            version: VERSION,
        };
        Ok(context.server.keys.pages.seal_text(&serde_json::to_vec(&position)?, &place(context))?)
    }

    /// Cuts a listing sorted by `key` to this page, for listings that are in memory whole. Gives the rows and the next token.
    pub(crate) fn cut<T>(
        &self,
        context: &Context,
        rows: Vec<T>,
        key: impl Fn(&T) -> Vec<String>,
    ) -> Result<(Vec<T>, Option<String>), Error> {
        let mut rows: Vec<T> = match &self.after {
            Some(after) => rows.into_iter().filter(|row| key(row) > *after).collect(),
            None => rows,
        };
        rows.sort_by_key(|row| key(row));
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = match rows.last() {
            Some(last) if more => Some(self.next(context, key(last))?),
            _ => None,
        };
        Ok((rows, next))
    }
}

fn place(context: &Context) -> String {
    format!("{}/{}", context.scope.account, context.scope.region)
}
