//! Time as the store sees it: a value that is passed in.
//!
//! The store's core never reads the time of day. The event loop reads it once a round and passes it
//! down, so that a test or a simulation can pass down any time it likes.

use std::time::Duration;

/// A point in time, in microseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    micros: u64,
}

impl Time {
    /// The time this many microseconds after the start of 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// The time this many milliseconds after the start of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self { micros: millis.saturating_mul(1000) }
    }

    /// Whole milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.micros / 1000
    }

    /// The time since an earlier point, or zero if the clock was set back between the two.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }

    /// The microseconds that [`Self::millis`] leaves out.
    pub const fn micros_within(self) -> u64 {
        self.micros % 1000
    }
}
