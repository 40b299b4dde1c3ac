use std::future::Future;

use changes::Changes;
use store::{ApplyError, Write};

use crate::{Context, Error};

/// How often a decision is made anew because what it read had changed meanwhile.
const ATTEMPTS_MAX: usize = 5;

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
        match context.server.store.apply(&context.scope, changes).await {
            Ok(_) => return Ok(answer),
            Err(ApplyError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::internal("five attempts met other changes each time"))
}
