//! How many messages a client may send at once: a bucket that refills over time.

use std::time::Duration;

/// Seconds over which a client's messages are averaged.
const AVERAGED: u32 = 5;

/// One client's bucket. It is small, since every idle socket has one.
#[derive(Debug)]
pub struct TokenBucket {
    left: f32,
    /// When something was last taken out, in milliseconds. After 49 days it begins anew, and a client that was silent
    /// for as long may find its bucket less than full.
    at: u32,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub fn new(per_second: u32, now: Duration) -> Self {
        Self { left: full(per_second), at: millis(now) }
    }

    /// Takes `cost` messages out; returns false if there were fewer left.
    pub fn take(&mut self, cost: f32, per_second: u32, now: Duration) -> bool {
        let now = millis(now);
        let filled = now.wrapping_sub(self.at) as f32 / 1000.0 * per_second as f32;
        self.left = (self.left + filled).min(full(per_second)) - cost;
        self.at = now;
        self.left >= 0.0
    }
}

fn millis(at: Duration) -> u32 {
    at.as_millis() as u32
}

fn full(per_second: u32) -> f32 {
    per_second.saturating_mul(AVERAGED) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_so_many_at_once_and_as_many_again_in_time() {
        let at = Duration::from_secs;
        let mut bucket = TokenBucket::new(2, at(0));
        let taken = |bucket: &mut TokenBucket, now| (0..100).take_while(|_| bucket.take(1.0, 2, now)).count();
        assert_eq!(taken(&mut bucket, at(1)), 10);
        assert_eq!(taken(&mut bucket, at(1)), 0);
        // A refused message was asked for all the same, and counts.
        assert_eq!(taken(&mut bucket, at(3)), 2);
        assert_eq!(taken(&mut bucket, at(1_000_000)), 10);
        // Across the end of the 49 days.
        let end = Duration::from_millis(1 << 32);
        assert_eq!(taken(&mut bucket, end - at(1)), 10);
        assert_eq!(taken(&mut bucket, end + at(1)), 3);
    }
}
