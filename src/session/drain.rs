//! How many sockets to close now, so that all are closed over a given time. Pure.

use std::time::{Duration, Instant};

/// A drain that is under way on one worker.
#[derive(Debug)]
pub struct Drain {
    start: Instant,
    over: Duration,
    total: usize,
}

impl Drain {
    /// Closes `total` sockets over `over`, evenly.
    pub fn new(start: Instant, over: Duration, total: usize) -> Self {
        Self { start, over, total }
    }

    /// How many of the sockets may still be open at `now`.
    pub fn may_be_open(&self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.start);
        if passed >= self.over {
            return 0;
        }
        let left = 1.0 - passed.as_secs_f64() / self.over.as_secs_f64();
        // The first goes at once.
        ((self.total as f64 * left) as usize).min(self.total.saturating_sub(1))
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
}
