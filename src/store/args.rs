//! Parsing of command arguments: numbers, option words, ranges of positions and cursors.

use super::error::{BAD_CURSOR, CommandError, NOT_A_FLOAT, NOT_AN_INTEGER, NOT_POSITIVE, SYNTAX};
use super::number::{parse_float, parse_int};
use super::resp::Args;

/// Parses an argument as an integer.
pub fn int(arg: &[u8]) -> Result<i64, CommandError> {
    parse_int(arg).ok_or(NOT_AN_INTEGER)
}

/// Parses an argument as a double.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    parse_float(arg).ok_or(NOT_A_FLOAT)
}

/// Parses an argument as a count, which must not be negative.
pub fn count(arg: &[u8]) -> Result<usize, CommandError> {
    parse_int(arg).and_then(|value| usize::try_from(value).ok()).ok_or(NOT_POSITIVE)
}

/// Parses an argument as an integer of at least `low`; otherwise returns `error`.
pub fn at_least(low: i64, arg: &[u8], error: CommandError) -> Result<usize, CommandError> {
    match parse_int(arg) {
        Some(value) if value >= low => Ok(value as usize),
        _ => Err(error),
    }
}

/// Whether an argument is this word, ignoring case.
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// Iterates over a command's arguments, for options that may come in any order.
pub struct Cursor<'a, 'b> {
    args: &'b Args<'a>,
    at: usize,
}

impl<'a, 'b> Cursor<'a, 'b> {
    /// Starts at argument `at`.
    pub fn new(args: &'b Args<'a>, at: usize) -> Self {
        Self { args, at }
    }

    /// Returns the next argument, if there is one.
    pub fn next(&mut self) -> Option<&'a [u8]> {
        let arg = self.args.get(self.at).copied();
        self.at += 1;
        arg
    }

    /// Returns the value of the option that was just read.
    pub fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(SYNTAX)
    }

    /// How many arguments are left.
    pub fn left(&self) -> usize {
        self.args.len().saturating_sub(self.at)
    }
}

/// Resolves Redis's inclusive positions to a range within `len`; negative ones count from the end.
pub fn positions(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let absolute = |position: i64| {
        if position < 0 { position + len } else { position }
    };
    let start = absolute(start).max(0);
    let stop = absolute(stop).min(len - 1);
    if start > stop || start >= len { 0..0 } else { start as usize..stop as usize + 1 }
}

/// The options shared by the `SCAN` commands.
pub struct Scan<'a> {
    /// Where to continue; 0 is the start.
    pub cursor: u64,
    /// How many entries to look at.
    pub count: usize,
    /// The pattern that names must match.
    pub pattern: Option<&'a [u8]>,
    /// The type that keys must have.
    pub kind: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// Parses a cursor as C does: an empty one is 0, and a negative one wraps around.
    pub fn at(cursor: &[u8]) -> Result<Self, CommandError> {
        let (negative, digits) = match cursor {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let read = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let cursor: u64 = match read.ok_or(BAD_CURSOR)? {
            "" if cursor.is_empty() => 0,
            text => text.parse().map_err(|_| BAD_CURSOR)?,
        };
        let cursor = if negative { cursor.wrapping_neg() } else { cursor };
        Ok(Self { cursor, count: 10, pattern: None, kind: None })
    }

    /// Reads the options from argument `at` on; `TYPE` is allowed for keys only.
    pub fn options(mut self, args: &Args<'a>, at: usize, of_keys: bool) -> Result<Self, CommandError> {
        let mut cursor = Cursor::new(args, at);
        while let Some(option) = cursor.next() {
            if is(option, "COUNT") {
                self.count = match int(cursor.value()?)? {
                    ..1 => return Err(SYNTAX),
                    count => count as usize,
                };
            } else if is(option, "MATCH") {
                self.pattern = Some(cursor.value()?);
            } else if of_keys && is(option, "TYPE") {
                self.kind = Some(cursor.value()?);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(self)
    }

    /// Whether an entry's name matches the pattern, if there is one.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| crate::glob::matches(pattern, name))
    }

    /// Returns the positions to visit next in a table of `len` entries, and the cursor to continue with.
    ///
    /// The scan runs downwards: removing an entry moves the last one into the gap, so entries not yet
    /// visited stay below the cursor, and an entry that is present throughout is never missed.
    pub fn window(&self, len: usize) -> (std::ops::Range<usize>, u64) {
        let end = if self.cursor == 0 { len } else { len.min(self.cursor as usize) };
        let start = end.saturating_sub(self.count);
        (start..end, start as u64)
    }
}
