//! The id of a stream entry: a time in milliseconds and a sequence number.

use std::fmt;

use crate::store::error::{BAD_STREAM_ID, CommandError};

/// The id of an entry. Ids sort in the order in which the entries were added.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Milliseconds since 1970, if the store generated the id.
    pub ms: u64,
    /// The sequence number within that millisecond.
    pub seq: u64,
}

/// The id that a command gives for a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The whole id.
    Whole(Id),
    /// Only the time; the sequence number is generated.
    Time(u64),
}

/// The maximum length of an id as text.
const LONGEST: usize = 127;

impl Id {
    /// The lowest id.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The highest id.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The next id, if there is one.
    pub fn next(self) -> Option<Self> {
        match (self.ms.checked_add(1), self.seq.checked_add(1)) {
            (_, Some(seq)) => Some(Self { ms: self.ms, seq }),
            (Some(ms), None) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The previous id, if there is one.
    pub fn previous(self) -> Option<Self> {
        match (self.ms.checked_sub(1), self.seq.checked_sub(1)) {
            (_, Some(seq)) => Some(Self { ms: self.ms, seq }),
            (Some(ms), None) => Some(Self { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    /// Parses an id; `seq` is the default sequence number. `-` and `+` mean the lowest and the highest id.
    pub fn parse(text: &[u8], seq: u64) -> Result<Self, CommandError> {
        match text {
            b"-" => Ok(Self::MIN),
            b"+" => Ok(Self::MAX),
            _ => Self::parse_strict(text, seq),
        }
    }

    /// Parses an id, but accepts neither `-` nor `+`.
    pub fn parse_strict(text: &[u8], seq: u64) -> Result<Self, CommandError> {
        let (ms, rest) = split(text)?;
        let seq = rest.map_or(Ok(seq), |rest| number(rest).ok_or(BAD_STREAM_ID))?;
        Ok(Self { ms, seq })
    }

    /// Parses the id of a new entry.
    pub fn parse_new(text: &[u8]) -> Result<Given, CommandError> {
        match split(text)? {
            (ms, Some(b"*")) => Ok(Given::Time(ms)),
            _ => Self::parse_strict(text, 0).map(Given::Whole),
        }
    }

    /// Parses one end of a range; a leading `(` excludes the id itself.
    pub fn parse_end(text: &[u8], is_start: bool) -> Result<Self, CommandError> {
        let seq = if is_start { 0 } else { u64::MAX };
        let Some(text) = text.strip_prefix(b"(") else {
            return Self::parse(text, seq);
        };
        let id = Self::parse_strict(text, seq)?;
        let (moved, which) = if is_start { (id.next(), "start") } else { (id.previous(), "end") };
        moved.ok_or_else(|| CommandError::new(format!("ERR invalid {which} ID for the interval")))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

fn split(text: &[u8]) -> Result<(u64, Option<&[u8]>), CommandError> {
    if text.len() > LONGEST {
        return Err(BAD_STREAM_ID);
    }
    let (ms, seq) = match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    Ok((number(ms).ok_or(BAD_STREAM_ID)?, seq))
}

/// Parses an unsigned number as Redis does: leading spaces, a plus sign and leading zeros are allowed.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_neighbours_but_at_the_ends() {
        let id = |ms, seq| Id { ms, seq };
        assert_eq!(id(5, u64::MAX).next(), Some(id(6, 0)));
        assert_eq!(id(6, 0).previous(), Some(id(5, u64::MAX)));
        assert_eq!((Id::MAX.next(), Id::MIN.previous()), (None, None));
    }

    #[test]
    fn only_two_numbers_are_an_id() {
        assert_eq!(Id::parse_strict(b"18446744073709551615-007", 0).unwrap(), Id { ms: u64::MAX, seq: 7 });
        for text in ["", "-", "1-", "-1", "a", "1-a", "1 ", "18446744073709551616", "1--1", "1-*", "1-1-1"] {
            assert!(Id::parse_strict(text.as_bytes(), 0).is_err(), "{text}");
        }
        assert_eq!(Id::parse_new(b"5-*").unwrap(), Given::Time(5));
    }
}
