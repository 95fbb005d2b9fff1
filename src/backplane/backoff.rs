//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// The longest pause between two attempts: a store that returns is found within this time.
const CAP: Duration = Duration::from_millis(500);
/// The first pause.
const FIRST: Duration = Duration::from_millis(25);

/// Doubling pauses with full jitter, so that many nodes do not come back in step.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next pause.
    pub fn next(&mut self) -> Duration {
        let limit = FIRST.saturating_mul(1 << self.attempts.min(10)).min(CAP);
        self.attempts += 1;
        limit.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts anew after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}
