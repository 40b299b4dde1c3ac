use std::future::Future;

use changes::Changes;
use store::{ApplyError, Write};

use crate::{Context, Error};

/// How often a decision is made anew because what it read had changed meanwhile.
pub(crate) const ATTEMPTS_MAX: usize = 5;

/// Loads, decides and applies, up to five times. `decide` loads a snapshot and gives the changes with the answer.
pub(crate) async fn commit<T, F, D>(context: &Context, decide: F) -> Result<T, Error>
where
    F: Fn() -> D,
    D: Future<Output = Result<(Changes<Write>, T), Error>>,
{
    for _ in 0..ATTEMPTS_MAX {
        let (changes, answer) = decide().await?;
        if changes.is_empty() {
            return Ok(answer);
        }
        match context.server.apply(&context.scope, changes).await {
            Ok(_) => return Ok(answer),
            // A natural key that is taken (a client token) is what another request did meanwhile, just as a conflict is.
            Err(ApplyError::Conflict { .. } | ApplyError::Duplicate { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::contended())
}
