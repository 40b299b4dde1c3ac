use std::sync::{Arc, Mutex, PoisonError};

use identifiers::{IdSource, SeededIds};

/// Seeded choices: the same seed makes the same ones.
#[derive(Debug, Clone)]
pub(super) struct Chance(SeededIds);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(SeededIds::new(seed))
    }

    /// A number from 0 to `count` - 1; 0 where there is nothing to choose from.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let drawn = u64::from_le_bytes(bytes) % u64::try_from(count.max(1)).unwrap_or(1);
        usize::try_from(drawn).unwrap_or(0)
    }

    /// One of some; `None` of none.
    pub(super) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(super) fn happens(&mut self, permille: u32) -> bool {
        self.below(1000) < usize::try_from(permille).unwrap_or(1000)
    }

    /// Seconds from 1 to `max`.
    pub(super) fn seconds(&mut self, max: usize) -> i64 {
        1 + i64::try_from(self.below(max)).unwrap_or(0)
    }

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// The server's source of ids, which outlives each single server: no id comes twice, and the seed decides them all.
#[derive(Debug, Clone)]
pub(super) struct SharedIds(Arc<Mutex<SeededIds>>);

impl SharedIds {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(SeededIds::new(seed))))
    }
}

impl IdSource for SharedIds {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
    }
}
