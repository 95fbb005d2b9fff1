//! How many sockets to close now, so that all are closed over a given time, and when their clients should
//! come back. Pure.

use std::time::{Duration, Instant};

/// The longest pause for a client when the drain itself spreads the clients enough. It is short, so that a
/// lone server that restarts at once gets its clients back at once.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that any client is asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many clients one worker may send to the other servers per second: as many as those can accept over
/// TLS.
const SENT_A_SECOND: f64 = 5_000.0;

/// A drain that is under way on one worker.
#[derive(Debug)]
pub struct Drain {
    start: Instant,
    over: Duration,
    total: usize,
}

impl Drain {
    /// Starts a drain that closes `total` sockets over `over`, evenly.
    pub fn new(start: Instant, over: Duration, total: usize) -> Self {
        Self { start, over, total }
    }

    /// Returns how many of the sockets may still be open at `now`.
    pub fn may_be_open(&self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.start);
        if passed >= self.over {
            return 0;
        }
        let left = 1.0 - passed.as_secs_f64() / self.over.as_secs_f64();
        // The first one is closed at once.
        ((self.total as f64 * left) as usize).min(self.total.saturating_sub(1))
    }

    /// Returns how long a client should wait before it connects again, for a random number below 1. It is
    /// never zero, and longer where so many are closed in so short a time that they would all come back at
    /// once.
    pub fn pause(&self, random: f64) -> Duration {
        let needed = Duration::from_secs_f64(self.total as f64 / SENT_A_SECOND);
        let longest = needed.saturating_sub(self.over).clamp(PAUSE, LONGEST_PAUSE);
        longest.mul_f64(0.1 + 0.9 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_closed_evenly_and_all_in_time() {
        let start = Instant::now();
        let drain = Drain::new(start, Duration::from_secs(4), 100);
        let open: Vec<_> = (0..5).map(|s| drain.may_be_open(start + Duration::from_secs(s))).collect();
        assert_eq!(open, [99, 75, 50, 25, 0]);
        assert_eq!(Drain::new(start, Duration::ZERO, 100).may_be_open(start), 0);
    }

    #[test]
    fn what_the_drain_does_not_spread_is_spread_by_the_pauses() {
        let pauses = |seconds, total| {
            let drain = Drain::new(Instant::now(), Duration::from_secs(seconds), total);
            [0.0, 1.0].map(|random| drain.pause(random).as_millis())
        };
        assert_eq!(pauses(4, 1_000), [100, 1_000]);
        assert_eq!(pauses(0, 50_000), [1_000, 10_000]);
        assert_eq!(pauses(4, 50_000), [600, 6_000]);
        assert_eq!(pauses(0, 1_000_000), [3_000, 30_000]);
    }
}
