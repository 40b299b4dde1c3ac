//! Whether writes find room. Every write tries, so that the end of a full disk is noticed by itself; the log says
//! when it begins and when it ends, however many writes meet it.

use crate::ApplyError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A disk that is nearly full takes small writes and refuses large ones; that is not told each time.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// So long after a refusal a write that goes through does not mean that there is room again: small ones find some for
/// long, and what is told of the disk must not change with each of them.
const HOLDS_FOR: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Last {
    /// Why a write found no room, in the database's words, and when that was, last.
    refused: Option<(String, Instant)>,
    /// When that was last said, and whether its end is still to be said.
    said: Option<(Instant, bool)>,
}

/// What the last write met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writability(Arc<Mutex<Last>>);

impl Writability {
    /// Why nothing can be written at present; `None`: writes go through.
    pub(crate) fn read_only(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.refused.as_ref().map(|(detail, _)| detail.clone())
    }

    /// Takes in how a write ended. Whether one that was refused for another reason would have found room is not known, so it
    /// changes nothing.
    pub(crate) fn note<T>(&self, written: &Result<T, ApplyError>) {
        self.note_at(written, Instant::now());
    }

    fn note_at<T>(&self, written: &Result<T, ApplyError>, now: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Err(ApplyError::ReadOnly(detail)) => {
                if last.said.is_none_or(|(at, _)| now.duration_since(at) >= SAID_AGAIN_AFTER) {
                    last.said = Some((now, true));
                    tracing::error!(
                        "the database cannot be written ({detail}): nothing is changed until there is room"
                    );
                }
                last.refused = Some((detail.clone(), now));
            }
            Ok(_) => {
                if last.refused.as_ref().is_none_or(|(_, at)| now.duration_since(*at) < HOLDS_FOR) {
                    return;
                }
                last.refused = None;
                if let Some((at, true)) = last.said {
                    last.said = Some((at, false));
                    tracing::info!("the database can be written again");
                }
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_until_writes_go_through_for_a_while() {
        let writability = Writability::default();
        let begin = Instant::now();
        let full = Err::<(), _>(ApplyError::ReadOnly("full".to_owned()));
        let busy = Err::<(), _>(ApplyError::Unavailable("busy".to_owned()));
        for (seconds, written, expected) in [
            (0, &busy, None),
            (1, &full, Some("full")),
            (2, &Ok(()), Some("full")),
            (5, &full, Some("full")),
            (14, &Ok(()), Some("full")),
            (15, &busy, Some("full")),
            (16, &Ok(()), None),
            (17, &busy, None),
        ] {
            writability.note_at(written, begin + Duration::from_secs(seconds));
            assert_eq!(writability.read_only().as_deref(), expected, "after {seconds} s");
        }
    }
}
