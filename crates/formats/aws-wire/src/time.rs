use identifiers::Timestamp;
use serde::{Deserialize, Serialize};

/// A timestamp in an awsJson1.1 body: seconds since 1970-01-01T00:00:00Z as a JSON number with at most three decimals
/// (`1550173814.717`). See <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>, `epoch-seconds`.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireTime(f64);

impl WireTime {
    /// The seconds as they are written.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0
    }
}

impl From<Timestamp> for WireTime {
    /// Truncated to milliseconds.
    fn from(at: Timestamp) -> Self {
        Self(at.as_wire_seconds())
    }
}

impl From<WireTime> for Timestamp {
    /// Rounded to milliseconds: a binary fraction such as `.717` is not exact, so truncating would lose one. Times
    /// before 1970 or after 9999 become the nearest end.
    #[allow(clippy::cast_possible_truncation)] // `as` saturates, and `from_micros` bounds the result.
    fn from(time: WireTime) -> Self {
        let millis = (time.0 * 1000.0).round() as i64;
        Timestamp::from_micros(millis.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_millisecond_survives_the_wire() {
        for millis in (1_550_173_814_000_i64..1_550_173_816_000).chain([0, 1, 253_402_207_199_999]) {
            let at = Timestamp::from_micros(millis * 1000);
            let text = serde_json::to_string(&WireTime::from(at)).unwrap();
            let decimals = text.split_once('.').map_or(0, |(_, d)| d.len());
            assert!(decimals <= 3, "{text}");
            let back: WireTime = serde_json::from_str(&text).unwrap();
            assert_eq!(Timestamp::from(back), at);
        }
    }

    #[test]
    fn whole_numbers_and_absurd_ones_are_read() {
        let read = |text: &str| Timestamp::from(serde_json::from_str::<WireTime>(text).unwrap());
        assert_eq!(read("1550173814"), Timestamp::from_seconds(1_550_173_814));
        assert_eq!(read("1.550173814717E9").to_rfc3339_millis(), "2019-02-14T19:50:14.717Z");
        assert_eq!(read("-5"), Timestamp::EPOCH);
        assert_eq!(read("1e300"), Timestamp::from_micros(i64::MAX));
    }
}
