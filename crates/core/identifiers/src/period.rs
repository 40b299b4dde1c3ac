use crate::Timestamp;
use std::fmt;
use thiserror::Error;

/// A length of time as people set it: `90s`, `15m`, `12h`, `30d`, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// So many seconds.
    Seconds(u32),
    /// Without end.
    Forever,
}

/// A text that is no period.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no length of time: write e.g. 30d, 12h, 15m, 90s, or forever")]
pub struct PeriodError(String);

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Period {
    /// So many days.
    #[must_use]
    pub const fn days(days: u32) -> Self {
        Self::Seconds(days.saturating_mul(86_400))
    }

    /// Reads a number with its unit, or `forever`.
    ///
    /// # Errors
    /// [`PeriodError`] for anything else, also for a length of nothing and for one of more than 136 years.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let parsed = || {
            let (_, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
            let digits = text.get(..text.len().checked_sub(1)?)?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            digits.parse::<u32>().ok()?.checked_mul(*seconds).filter(|seconds| *seconds > 0)
        };
        parsed().map(Self::Seconds).ok_or_else(|| PeriodError(text.chars().take(64).collect()))
    }

    /// What happened before this instant is past its time; `None`: nothing ever is.
    #[must_use]
    pub fn past(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Seconds(seconds) => Some(now.plus_seconds(-i64::from(seconds))),
            Self::Forever => None,
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Seconds(seconds) => {
                let whole = UNITS.iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
                let (unit, length) = whole.copied().unwrap_or(('s', 1));
                write!(f, "{}{unit}", seconds / length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        for (text, period) in [
            ("30d", Period::days(30)),
            ("12h", Period::Seconds(43_200)),
            ("15m", Period::Seconds(900)),
            ("90s", Period::Seconds(90)),
            ("forever", Period::Forever),
        ] {
            assert_eq!(Period::parse(text), Ok(period));
            assert_eq!(period.to_string(), text);
        }
        for text in ["", "d", "30", "0d", "-1d", "+1d", "1.5h", "30 d", "99999999d", "30D", "never", "3\u{fc}"] {
            assert!(Period::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_past_lies_before_the_period() {
        let now = Timestamp::from_seconds(1_000_000);
        assert_eq!(Period::Seconds(10).past(now), Some(Timestamp::from_seconds(999_990)));
        assert_eq!(Period::Forever.past(now), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(seconds in 1..u32::MAX) {
            let period = Period::Seconds(seconds);
            prop_assert_eq!(Period::parse(&period.to_string()), Ok(period));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            let _ = Period::parse(&text);
        }
    }
}
