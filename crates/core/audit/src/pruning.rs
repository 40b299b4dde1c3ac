//! Which sealed records may be removed: whole batches from the beginning on, so that what is left can still be verified.

use crate::Seal;

/// Removing records is itself recorded. So that this does not go on for ever, it happens only when the oldest batch has been
/// past its time for so long: a day.
const WORTH_REMOVING_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

/// The last of the seals whose records may be removed, of the oldest ones that still have theirs, in order. What was sealed
/// before `before_micros` is past its time.
#[must_use]
pub fn prunable(oldest: &[Seal], before_micros: i64) -> Option<&Seal> {
    let first = oldest.first()?;
    if first.sealed_at_micros >= before_micros.saturating_sub(WORTH_REMOVING_MICROS) {
        return None;
    }
    oldest.iter().take_while(|seal| seal.sealed_at_micros < before_micros).last()
}
