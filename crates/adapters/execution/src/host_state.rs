use crate::ExecutionError;
use identifiers::{IdSource, Timestamp};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The host's clock.
#[must_use]
pub fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// The id of the current boot (random(4), `/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// When there is no such file.
pub fn boot_id() -> Result<String, ExecutionError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).map_err(ExecutionError::file("reading", path))?;
    Ok(text.trim().to_owned())
}

/// A fresh version 4 UUID from the kernel's randomness.
///
/// # Errors
/// When the kernel has none to give.
pub fn uuid() -> Result<String, ExecutionError> {
    let mut drawn = Drawn([0; 16]);
    let mut filled = 0;
    while filled < drawn.0.len() {
        let rest = drawn.0.get_mut(filled..).unwrap_or_default();
        let count = rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| ExecutionError::System { doing: "drawing random bytes", source: e.into() })?;
        filled += count;
    }
    Ok(drawn.uuid())
}

/// Sixteen bytes drawn already, as the source of exactly one UUID.
struct Drawn([u8; 16]);

impl IdSource for Drawn {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (to, from) in bytes.iter_mut().zip(self.0) {
            *to = from;
        }
    }
}
