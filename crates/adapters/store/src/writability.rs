//! Whether the last write found room. Every write tries, so that the end of a full disk is noticed by itself; the log says
//! when it begins and when it ends, however many writes meet it.

use crate::ApplyError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A disk that is nearly full takes small writes and refuses large ones; that is not told each time.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Last {
    /// Why the last write found no room, in the database's words.
    read_only: Option<String>,
    /// When that was last said, and whether its end is still to be said.
    said: Option<(Instant, bool)>,
}

/// What the last write met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writability(Arc<Mutex<Last>>);

impl Writability {
    /// Why nothing can be written at present; `None`: the last write went through.
    pub(crate) fn read_only(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_only.clone()
    }

    /// Takes in how a write ended. Whether a refused one would have found room is not known, so it changes nothing.
    pub(crate) fn note<T>(&self, written: &Result<T, ApplyError>) {
        let now = match written {
            Ok(_) => None,
            Err(ApplyError::ReadOnly(detail)) => Some(detail.clone()),
            Err(_) => return,
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&now, last.said) {
            (Some(detail), said) if said.is_none_or(|(at, _)| at.elapsed() >= SAID_AGAIN_AFTER) => {
                last.said = Some((Instant::now(), true));
                tracing::error!("the database cannot be written ({detail}): nothing is changed until there is room");
            }
            (None, Some((at, true))) => {
                last.said = Some((at, false));
                tracing::info!("the database can be written again");
            }
            _ => {}
        }
        last.read_only = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_write_that_tells_something_counts() {
        let writability = Writability::default();
        let full = Err::<(), _>(ApplyError::ReadOnly("full".to_owned()));
        let refused = Err::<(), _>(ApplyError::Unavailable("busy".to_owned()));
        for (written, expected) in
            [(&refused, None), (&full, Some("full")), (&refused, Some("full")), (&Ok(()), None), (&refused, None)]
        {
            writability.note(written);
            assert_eq!(writability.read_only().as_deref(), expected);
        }
    }
}
