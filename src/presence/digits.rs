//! Integers as the store's scripts take them.

use std::fmt::Display;
use std::io::Write;
use std::ops::Deref;

/// The length of the longest 64-bit integer, with its sign.
const PLACES: usize = 20;

/// An integer's decimal digits, or nothing. They are on the stack, as every script call has several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Digits {
    bytes: [u8; PLACES],
    len: usize,
}

impl Digits {
    /// The digits of an integer of at most 64 bits.
    pub fn of(integer: impl Display) -> Self {
        let mut bytes = [0; PLACES];
        let mut rest = &mut bytes[..];
        // Whatever does not fit would be cut off, but every 64-bit integer fits.
        let _ = write!(rest, "{integer}");
        let len = PLACES - rest.len();
        Self { bytes, len }
    }
}

impl Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_and_the_largest_integers_are_whole() {
        assert_eq!(&*Digits::of(i64::MIN), i64::MIN.to_string().as_bytes());
        assert_eq!(&*Digits::of(u64::MAX), u64::MAX.to_string().as_bytes());
        assert_eq!(&*Digits::of(0), b"0");
        assert_eq!(&*Digits::default(), b"");
    }
}
