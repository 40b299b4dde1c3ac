//! The stanzas of deb822(5), read as apt reads them.
//!
//! A stanza ends at an empty line (carriage returns before the line feed do not count; blanks do, they continue a field).
//! Field names are compared without regard to case, and of repeated fields the last one counts. Lines that start with `#`
//! are comments. Lines that are none of this are left out.

use memchr::{memchr, memmem};
use std::borrow::Cow;

/// Where a stanza ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StanzaEnd {
    /// The position after its last line's text.
    pub content: usize,
    /// The position after the empty line.
    pub next: usize,
}

/// Finds the first empty line whose preceding line feed is at `from` or later. `None`: there is none yet.
///
/// `carriage_returns` says whether lines may end in carriage return and line feed; without them the search is several times
/// faster. The work is linear in what is searched; a caller who gets `None` and has more bytes later goes on from
/// [`resume_at`].
#[must_use]
pub fn stanza_end(bytes: &[u8], from: usize, carriage_returns: bool) -> Option<StanzaEnd> {
    let mut searched = bytes.get(from..)?;
    let mut position = from;
    if !carriage_returns {
        let found = position + memmem::find(searched, b"\n\n")?;
        return Some(StanzaEnd { content: found, next: found + 2 });
    }
    loop {
        let line_feed = memchr(b'\n', searched)?;
        searched = searched.get(line_feed + 1..)?;
        position += line_feed + 1;
        let returns = searched.iter().take_while(|&&byte| byte == b'\r').count();
        if searched.get(returns) == Some(&b'\n') {
            return Some(StanzaEnd { content: position - 1, next: position + returns + 1 });
        }
        // At most once over each run of carriage returns.
        searched = searched.get(returns..)?;
        position += returns;
    }
}

/// From where [`stanza_end`] must go on when more bytes have come after `bytes`, in which it found nothing: the empty line
/// may have begun already.
#[must_use]
pub fn resume_at(bytes: &[u8]) -> usize {
    let without_returns = bytes.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
    without_returns.saturating_sub(1)
}

/// How many bytes at the start of `bytes` are only line ends.
#[must_use]
pub fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// A stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// Where it starts in the file, in bytes.
    pub offset: usize,
    /// Its text.
    pub bytes: &'a [u8],
}

impl<'a> Stanza<'a> {
    /// Its fields, in order.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.bytes }
    }

    /// The value of the last field with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Field<'a>> {
        self.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).last()
    }
}

/// The stanzas of a whole file, in order. Made by [`stanzas`].
#[derive(Debug, Clone)]
pub struct Stanzas<'a> {
    bytes: &'a [u8],
    position: usize,
    carriage_returns: bool,
}

/// The stanzas of a whole file, in order.
#[must_use]
pub fn stanzas(bytes: &[u8]) -> Stanzas<'_> {
    Stanzas { bytes, position: 0, carriage_returns: memchr(b'\r', bytes).is_some() }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Stanza<'a>;

    fn next(&mut self) -> Option<Stanza<'a>> {
        let start = self.position + leading_line_ends(self.bytes.get(self.position..)?);
        if start >= self.bytes.len() {
            return None;
        }
        let end = stanza_end(self.bytes, start, self.carriage_returns)
            .unwrap_or(StanzaEnd { content: self.bytes.len(), next: self.bytes.len() });
        self.position = end.next;
        Some(Stanza { offset: start, bytes: self.bytes.get(start..end.content)? })
    }
}

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, as written.
    pub name: &'a [u8],
    /// Its value without the white space around it; may have several lines, and comments among them.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The value, if it is one line of text: UTF-8 without control characters.
    #[must_use]
    pub fn line(&self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.value).ok()?;
        (!text.chars().any(char::is_control)).then_some(text)
    }

    /// The words of all its lines, without comments. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.lines().flat_map(|line| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Its lines without comments. Bytes that are not UTF-8 are replaced.
    pub fn lines(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let lines = self.value.split(|&byte| byte == b'\n').filter(|line| line.first() != Some(&b'#'));
        lines.map(String::from_utf8_lossy)
    }
}

/// The fields of a stanza, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Takes the next line off the rest.
    fn line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.rest).map_or(self.rest.len(), |line_feed| line_feed + 1);
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(line)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let whole = self.rest;
            let line = self.line()?;
            if matches!(line.first(), Some(b'#' | b' ' | b'\t')) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let mut length = line.len();
            while let Some(b' ' | b'\t' | b'#') = self.rest.first() {
                length += self.line()?.len();
            }
            let (name, value) = (whole.get(..colon)?, whole.get(colon + 1..length)?);
            return Some(Field { name: name.trim_ascii(), value: value.trim_ascii() });
        }
    }
}

#[cfg(test)]
mod tests;
