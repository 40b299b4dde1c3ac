use crate::Refused;
use serde::{Deserialize, Serialize};

/// `MaxConcurrency` or `MaxErrors`: a number of nodes or a percentage of the targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RateLimit {
    /// So many.
    Count(u32),
    /// So many of a hundred, 0 to 100.
    Percent(u8),
}

impl RateLimit {
    /// AWS's default of `MaxConcurrency`.
    pub const CONCURRENCY_DEFAULT: Self = Self::Count(50);
    /// AWS's default of `MaxErrors`.
    pub const ERRORS_DEFAULT: Self = Self::Count(0);

    /// Reads `MaxConcurrency`: `^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$`, at most 7 characters.
    ///
    /// # Errors
    /// [`Refused::Validation`] for anything else.
    pub fn parse_concurrency(text: &str) -> Result<Self, Refused> {
        match Self::read(text) {
            Some(Self::Count(0) | Self::Percent(0)) | None => Err(refused("maxConcurrency", text)),
            Some(limit) => Ok(limit),
        }
    }

    /// Reads `MaxErrors`: `^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$`, at most 7 characters.
    ///
    /// # Errors
    /// [`Refused::Validation`] for anything else.
    pub fn parse_errors(text: &str) -> Result<Self, Refused> {
        Self::read(text).ok_or_else(|| refused("maxErrors", text))
    }

    fn read(text: &str) -> Option<Self> {
        let (digits, percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let canonical = (1..=7).contains(&text.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        if !canonical {
            return None;
        }
        let number: u32 = digits.parse().ok()?;
        match (percent, u8::try_from(number)) {
            (false, _) => Some(Self::Count(number)),
            (true, Ok(percent)) if percent <= 100 => Some(Self::Percent(percent)),
            (true, _) => None,
        }
    }

    /// How many of `targets` may be in flight at once. A percentage is rounded up, and never to none.
    #[must_use]
    pub fn concurrency(self, targets: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(targets, percent).div_ceil(100).max(1),
        }
    }

    /// How many errors of `targets` are borne. A percentage is rounded down; AWS's own example: 10 % of 50 bears 5.
    #[must_use]
    pub fn errors(self, targets: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(targets, percent) / 100,
        }
    }
}

fn share(targets: u32, percent: u8) -> u32 {
    // u32::MAX targets times 100 would not fit; no fleet comes near.
    targets.saturating_mul(u32::from(percent))
}

fn refused(member: &str, text: &str) -> Refused {
    Refused::Validation(format!(
        "1 validation error detected: Value '{text}' at '{member}' failed to satisfy constraint: Member must be a number \
         or a percentage such as 10%."
    ))
}

impl std::fmt::Display for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl From<RateLimit> for String {
    fn from(limit: RateLimit) -> Self {
        limit.to_string()
    }
}

impl TryFrom<String> for RateLimit {
    type Error = Refused;
    fn try_from(text: String) -> Result<Self, Refused> {
        Self::parse_errors(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_model_writes_them() {
        for (text, concurrency, errors) in [
            ("1", Some(RateLimit::Count(1)), Some(RateLimit::Count(1))),
            ("0", None, Some(RateLimit::Count(0))),
            ("50", Some(RateLimit::Count(50)), Some(RateLimit::Count(50))),
            ("9999999", Some(RateLimit::Count(9_999_999)), Some(RateLimit::Count(9_999_999))),
            ("0%", None, Some(RateLimit::Percent(0))),
            ("9%", Some(RateLimit::Percent(9)), Some(RateLimit::Percent(9))),
            ("100%", Some(RateLimit::Percent(100)), Some(RateLimit::Percent(100))),
            ("101%", None, None),
            ("999%", None, None),
            ("05", None, None),
            ("00", None, None),
            ("05%", None, None),
            ("", None, None),
            ("%", None, None),
            ("-1", None, None),
            ("+1", None, None),
            ("1.5", None, None),
            ("10000000", None, None),
            ("10 %", None, None),
        ] {
            assert_eq!(RateLimit::parse_concurrency(text).ok(), concurrency, "MaxConcurrency {text}");
            assert_eq!(RateLimit::parse_errors(text).ok(), errors, "MaxErrors {text}");
            if let Some(limit) = errors {
                assert_eq!(limit.to_string(), text);
            }
        }
    }

    #[test]
    fn percentages_round_towards_progress_and_towards_caution() {
        for (percent, targets, concurrency, errors) in
            [(10, 50, 5, 5), (10, 55, 6, 5), (10, 9, 1, 0), (1, 1, 1, 0), (100, 7, 7, 7), (50, 3, 2, 1), (10, 0, 1, 0)]
        {
            assert_eq!(RateLimit::Percent(percent).concurrency(targets), concurrency, "{percent}% of {targets}");
            assert_eq!(RateLimit::Percent(percent).errors(targets), errors, "{percent}% of {targets}");
        }
    }
}
