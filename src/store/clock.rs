//! Time as the store sees it: a number that somebody passes in.
//!
//! Nothing in the store's core reads a clock. The event loop reads it once a round and hands it down,
//! so that a test or a simulation can hand down any time it likes.

use std::time::Duration;

/// A point in time, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    micros: u64,
}

impl Time {
    /// This many microseconds after the beginning of 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// This many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self { micros: millis.saturating_mul(1000) }
    }

    /// Whole milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.micros / 1000
    }

    /// The time since an earlier point, or none if the clock was set back between the two.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }

    /// What [`Self::millis`] leaves out, in microseconds.
    pub const fn micros_within(self) -> u64 {
        self.micros % 1000
    }
}
