//! dpkg's order: deb-version(7), Debian Policy 5.6.12.
//!
//! A version is `[epoch:]upstream[-revision]`; the parts are compared in this order. A part is read as runs of non-digits
//! and of digits in turn. Digits compare as numbers of any size; a missing number is 0. Non-digits compare character by
//! character: `~` before the end of the run, the end before letters, letters before everything else.
//!
//! **Malformed versions** have a place in the order too, so that sorting is always sound: an epoch is compared like any
//! other part (which for numbers is their numeric order), empty parts count as `0`, and characters that the policy does
//! not allow (bytes of UTF-8 included) sort after the letters by their value. Nothing panics. [`DpkgVersion::is_valid`]
//! says whether a version is well-formed.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// The rank of a non-digit character; between [`TILDE`] and the letters lies [`END`].
const RANKS: [u8; 256] = ranks();
/// `~` sorts before everything, even before the end.
const TILDE: u8 = 1;
/// The end of a run of non-digits.
const END: u8 = 2;

const fn ranks() -> [u8; 256] {
    let mut ranks = [0; 256];
    let mut rank = END + 1;
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphabetic() {
            ranks[byte] = rank;
            rank += 1;
        }
        byte += 1;
    }
    byte = 0;
    while byte < 256 {
        let character = byte as u8;
        if character == b'~' {
            ranks[byte] = TILDE;
        } else if !character.is_ascii_alphanumeric() {
            ranks[byte] = rank;
            rank += 1;
        }
        byte += 1;
    }
    ranks
}

/// A dpkg version taken apart: `[epoch:]upstream[-revision]`.
///
/// Equality and order are those of dpkg: `1.0` equals `0:1.00-0`.
#[derive(Debug, Clone, Copy)]
pub struct DpkgVersion<'a> {
    /// What stands before the first colon; empty (counting as 0) where there is none.
    pub epoch: &'a str,
    /// The upstream version.
    pub upstream: &'a str,
    /// What stands after the last hyphen; empty (counting as 0) where there is none.
    pub revision: &'a str,
    has_epoch: bool,
    has_revision: bool,
}

impl<'a> DpkgVersion<'a> {
    /// Takes a version apart. Never fails: see the module's words on malformed versions.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let (epoch, rest, has_epoch) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch, rest, true),
            None => ("", text, false),
        };
        let (upstream, revision, has_revision) = match rest.rsplit_once('-') {
            Some((upstream, revision)) => (upstream, revision, true),
            None => (rest, "", false),
        };
        Self { epoch, upstream, revision, has_epoch, has_revision }
    }

    /// Whether dpkg takes it without complaint (Debian Policy 5.6.12): the epoch is a number that fits an `int`, the
    /// upstream version starts with a digit, no part that has a separator is empty, and only the allowed characters
    /// occur.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let allowed = |text: &str, also: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        let epoch_is_number = self.epoch.bytes().all(|byte| byte.is_ascii_digit()) && self.epoch.parse::<i32>().is_ok();
        (!self.has_epoch || epoch_is_number)
            && allowed(self.upstream, b".+-~:")
            && self.upstream.starts_with(|first: char| first.is_ascii_digit())
            && (!self.has_revision || allowed(self.revision, b"+.~"))
    }

    /// Bytes whose order is the order of versions: see [`dpkg_sort_key`].
    #[must_use]
    pub fn sort_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.epoch.len() + 2 * self.upstream.len() + 2 * self.revision.len() + 12);
        for part in [self.epoch, self.upstream, self.revision] {
            push_part(&mut key, part.as_bytes());
        }
        key
    }
}

impl Ord for DpkgVersion<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_part(self.epoch.as_bytes(), other.epoch.as_bytes())
            .then_with(|| compare_part(self.upstream.as_bytes(), other.upstream.as_bytes()))
            .then_with(|| compare_part(self.revision.as_bytes(), other.revision.as_bytes()))
    }
}

impl PartialOrd for DpkgVersion<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DpkgVersion<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DpkgVersion<'_> {}

impl Hash for DpkgVersion<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Versions that are equal have equal keys, however they are written.
        self.sort_key().hash(state);
    }
}

/// The order of two dpkg versions. Malformed ones have their place too: see the module.
///
/// ```
/// use std::cmp::Ordering;
/// assert_eq!(versions::compare_dpkg("1.0~rc1-1", "1.0-1"), Ordering::Less);
/// assert_eq!(versions::compare_dpkg("1:0.9", "2.0"), Ordering::Greater);
/// assert_eq!(versions::compare_dpkg("1.0", "0:1.00-0"), Ordering::Equal);
/// ```
#[must_use]
pub fn compare_dpkg(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    DpkgVersion::parse(left).cmp(&DpkgVersion::parse(right))
}

/// Bytes whose order (as of unsigned bytes; a prefix comes first) is the order of versions, and which are equal exactly if
/// the versions are.
///
/// Each part becomes: its non-digits by rank, an end mark, its number as a length and the digits without leading zeros;
/// and so on until the part is used up; then an end mark. The form is stored in databases: changing it needs a migration.
#[must_use]
pub fn dpkg_sort_key(version: &str) -> Vec<u8> {
    DpkgVersion::parse(version).sort_key()
}

/// Splits off the leading bytes for which `wanted` holds.
fn split_run(text: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let length = text.iter().position(|&byte| !wanted(byte)).unwrap_or(text.len());
    text.split_at(length)
}

/// Splits off a number; its leading zeros are left out.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let (digits, rest) = split_run(text, |byte| byte.is_ascii_digit());
    let (_, significant) = split_run(digits, |byte| byte == b'0');
    (significant, rest)
}

fn rank(byte: Option<&u8>) -> u8 {
    byte.map_or(END, |&byte| RANKS[usize::from(byte)])
}

fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_run, left_rest) = split_run(left, |byte| !byte.is_ascii_digit());
        let (right_run, right_rest) = split_run(right, |byte| !byte.is_ascii_digit());
        for position in 0..left_run.len().max(right_run.len()) {
            match rank(left_run.get(position)).cmp(&rank(right_run.get(position))) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let (left_number, left_rest) = split_number(left_rest);
        let (right_number, right_rest) = split_number(right_rest);
        let order = left_number.len().cmp(&right_number.len()).then_with(|| left_number.cmp(right_number));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn push_part(key: &mut Vec<u8>, mut part: &[u8]) {
    // At least once, so that the empty part and `0` are the same.
    loop {
        let (run, rest) = split_run(part, |byte| !byte.is_ascii_digit());
        key.extend(run.iter().map(|&byte| RANKS[usize::from(byte)]));
        key.push(END);
        let (number, rest) = split_number(rest);
        let mut length = number.len();
        while length >= 255 {
            key.push(255);
            length -= 255;
        }
        // Below 255 now.
        key.push(length as u8);
        key.extend_from_slice(number);
        part = rest;
        if part.is_empty() {
            // Whatever could follow here in another version starts with a character of rank 1 (before) or from 3 (after).
            key.push(END);
            return;
        }
    }
}

#[cfg(test)]
mod tests;
