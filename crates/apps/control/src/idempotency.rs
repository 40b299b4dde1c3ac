//! `ClientToken`: the same token with the same request gives the first answer again, with another one an error.

use serde::{Serialize, de::DeserializeOwned};
use store::{IdempotencyRow, RecordWrite, Write};

use crate::{Context, Error};

/// A client token together with what it was given with.
pub(crate) struct Token {
    operation: &'static str,
    /// The token and the digest of the request; `None`: the caller gave none.
    given: Option<(String, String)>,
}

impl Token {
    pub(crate) fn of(
        _context: &Context,
        operation: &'static str,
        token: Option<&str>,
        request: &impl Serialize,
    ) -> Result<Self, Error> {
        let digest = identity::sha256_hex(&serde_json::to_vec(request)?);
        Ok(Self { operation, given: token.map(|token| (token.to_owned(), digest)) })
    }

    /// The answer that was given the first time, if this is not the first.
    pub(crate) async fn first_answer<T: DeserializeOwned>(&self, context: &Context) -> Result<Option<T>, Error> {
        let Some((token, digest)) = &self.given else { return Ok(None) };
        let found = context.server.store.idempotency_get(&context.scope, self.operation, token).await?;
        match found {
            None => Ok(None),
            Some(record) if record.request_digest == *digest => Ok(Some(serde_json::from_value(record.result)?)),
            Some(_) => Err(Error::new(
                "IdempotentParameterMismatch",
                "The client token was already used with other parameters.",
            )),
        }
    }

    /// What remembers this answer, in the same transaction as what it answers for.
    pub(crate) fn write(&self, context: &Context, answer: &impl Serialize) -> Result<Option<Write>, Error> {
        let Some((token, digest)) = &self.given else { return Ok(None) };
        Ok(Some(Write::from(RecordWrite::IdempotencyPut(IdempotencyRow {
            operation: self.operation.to_owned(),
            token: token.clone(),
            request_digest: digest.clone(),
            result: serde_json::to_value(answer)?,
            at: context.now,
        }))))
    }
}
