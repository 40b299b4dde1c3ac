use identifiers::IdSource;
use ring::rand::{SecureRandom, SystemRandom};

use crate::NoRandomness;

/// Fresh random bytes of the operating system.
///
/// # Errors
/// When the operating system gives none; then nothing that needs a secret may go on.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0u8; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Ids from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl IdSource for SystemIds {
    /// # Panics
    /// When the operating system gives no randomness: ids that repeat would be worse than a request that ends.
    #[allow(clippy::expect_used)]
    fn fill(&mut self, bytes: &mut [u8]) {
        SystemRandom::new().fill(bytes).expect("getrandom(2) works on every supported kernel");
    }
}
