use crate::PolicyError;
use std::fmt::{Display, Formatter};

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A moment of a week, as the node's clocks on the wall show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The day.
    pub weekday: Weekday,
    /// Minutes since midnight.
    pub minute: u16,
}

impl LocalTime {
    /// `day`: 0 for Monday to 6 for Sunday; what is outside is taken back into it.
    #[must_use]
    pub fn new(day: u8, minute: u16) -> Self {
        let weekday = NAMES[usize::from(day % 7)].1;
        Self { weekday, minute: minute % 1440 }
    }
}

impl Display for LocalTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let name = NAMES[self.weekday as usize].0;
        let (first, rest) = name.split_at(1);
        write!(f, "{}{rest} {:02}:{:02}", first.to_ascii_uppercase(), self.minute / 60, self.minute % 60)
    }
}

/// Hours on some days of the week; hours that end before they begin end on the next day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    text: String,
    days: [bool; 7],
    from: u16,
    until: u16,
}

impl Hours {
    /// Reads e.g. `mon-fri 22:00-05:00`, `sat,sun 00:00-24:00`, `daily 01:00-04:00`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let wrong = |what: String| {
            let shown: String = text.chars().take(60).collect();
            PolicyError::new(format!(
                "install_hours: \"{}\": {what}; write for example \"mon-fri 22:00-05:00\", \"sat,sun 00:00-24:00\" or \"daily 01:00-04:00\"",
                shown.escape_debug()
            ))
        };
        let lower = text.trim().to_ascii_lowercase();
        let (days, hours) = lower.split_once(' ').ok_or_else(|| wrong("days and hours are needed".to_owned()))?;
        let days = read_days(days).map_err(&wrong)?;
        let (from, until) = hours.trim().split_once('-').ok_or_else(|| wrong("hours are needed".to_owned()))?;
        let (from, until) = (read_minute(from).map_err(&wrong)?, read_minute(until).map_err(&wrong)?);
        if from == until || from == 1440 {
            return Err(wrong("it has no length; the whole day is 00:00-24:00".to_owned()));
        }
        let text = format!("{} {}", lower.split(' ').next().unwrap_or_default(), hours.trim());
        Ok(Self { text, days, from, until })
    }

    /// Whether a moment is within them.
    #[must_use]
    pub fn contain(&self, now: LocalTime) -> bool {
        let today = now.weekday as usize;
        let on = |day: usize| self.days[day % 7];
        if self.from < self.until {
            return on(today) && (self.from..self.until).contains(&now.minute);
        }
        on(today) && now.minute >= self.from || on(today + 6) && now.minute < self.until
    }
}

impl Display for Hours {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn read_days(text: &str) -> Result<[bool; 7], String> {
    if text == "daily" {
        return Ok([true; 7]);
    }
    let day = |name: &str| {
        let place = NAMES.iter().position(|(known, _)| *known == name);
        place.ok_or_else(|| format!("\"{}\" is no day", name.escape_debug()))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        for place in first..=(if last < first { last + 7 } else { last }) {
            days[place % 7] = true;
        }
    }
    Ok(days)
}

fn read_minute(text: &str) -> Result<u16, String> {
    let read = || {
        let (hour, minute) = text.trim().split_once(':')?;
        let short = |part: &str| part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit());
        let (hour, minute): (u16, u16) =
            (Some(hour).filter(|h| short(h))?.parse().ok()?, Some(minute).filter(|m| short(m))?.parse().ok()?);
        (minute < 60 && hour * 60 + minute <= 1440).then_some(hour * 60 + minute)
    };
    read().ok_or_else(|| format!("\"{}\" is no time of the day", text.trim().escape_debug()))
}
