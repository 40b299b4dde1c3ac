use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An instant: microseconds since 1970-01-01T00:00:00Z, the resolution of every stored time.
///
/// It is never read from a clock here; the edges pass `now` in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl From<i64> for Timestamp {
    /// As [`Timestamp::from_micros`]: what is read from a wire stays within what can be written.
    fn from(micros: i64) -> Self {
        Self::from_micros(micros)
    }
}

impl From<Timestamp> for i64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

/// A text that is not an instant, or an instant outside the years that can be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an instant in RFC 3339 form: {0}")]
pub struct TimestampError(String);

/// The last instant that every form below can write: 9999-12-30T22:00:00Z.
const MICROS_MAX: i64 = 253_402_207_200_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z, which AWS uses for "no time known".
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the epoch; outside years 1970 to 9999 the nearest end is taken.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, MICROS_MAX))
    }

    /// From whole seconds since the epoch; saturating.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Seconds since the epoch with a fraction in milliseconds: the form of awsJson1.1 timestamps.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_wire_seconds(self) -> f64 {
        (self.0.div_euclid(1000) as f64) / 1000.0
    }

    /// This instant moved by so many seconds; saturating.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Microseconds from `earlier` to this instant; negative if `earlier` is later.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 (`2026-11-22T15:00:00Z`, any offset, any fraction).
    ///
    /// # Errors
    /// When the text is not such an instant.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self::from_micros(at.as_microsecond()))
            .map_err(|_| TimestampError(text.chars().take(64).collect()))
    }

    /// `2026-11-22T15:00:00.000Z`: the form of SSM's string dates with milliseconds.
    #[must_use]
    pub fn to_rfc3339_millis(self) -> String {
        self.written("%Y-%m-%dT%H:%M:%S.%3fZ")
    }

    /// `2026-11-22T15:00:00.000000Z`: with all that is known of it.
    #[must_use]
    pub fn to_rfc3339_micros(self) -> String {
        self.written("%Y-%m-%dT%H:%M:%S.%6fZ")
    }

    /// `2026-11-22T15:00:00Z`.
    #[must_use]
    pub fn to_rfc3339_seconds(self) -> String {
        self.written("%Y-%m-%dT%H:%M:%SZ")
    }

    /// `2026-11-22 15:00:00 UTC`, for people.
    #[must_use]
    pub fn to_human(self) -> String {
        self.written("%Y-%m-%d %H:%M:%S UTC")
    }

    fn written(self, format: &str) -> String {
        jiff::Timestamp::from_microsecond(self.0).map(|at| at.strftime(format).to_string()).unwrap_or_default()
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_rfc3339_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_and_written() {
        let at = Timestamp::parse("2020-02-19T18:18:03.419Z").unwrap();
        assert_eq!(at.to_rfc3339_millis(), "2020-02-19T18:18:03.419Z");
        assert_eq!(at.to_rfc3339_micros(), "2020-02-19T18:18:03.419000Z");
        assert_eq!(at.to_rfc3339_seconds(), "2020-02-19T18:18:03Z");
        assert_eq!(at.to_human(), "2020-02-19 18:18:03 UTC");
        assert!((at.as_wire_seconds() - 1_582_136_283.419).abs() < 1e-6);
        assert_eq!(Timestamp::parse("2020-02-19T20:18:03+02:00").unwrap().as_seconds(), 1_582_136_283);
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn arithmetic_stays_inside_what_can_be_written() {
        assert_eq!(Timestamp::from_micros(i64::MIN), Timestamp::EPOCH);
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.plus_seconds(i64::MAX), last);
        assert!(last.to_rfc3339_millis().starts_with("9999-12-30"));
    }
}
