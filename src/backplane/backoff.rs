//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubling pauses with jitter, so that many nodes do not retry in step.
///
/// Only a useful answer should reset it: a store that accepts connections but refuses everything else
/// must not be retried at once.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts with `first` and doubles up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// For connecting: a store that comes back is found within half a second.
    pub(super) fn to_connect() -> Self {
        Self::new(Duration::from_millis(25), Duration::from_millis(500))
    }

    /// For connecting to a store that is not there, where attempts are cheap: it is found within a tenth of a second.
    pub(super) fn to_find() -> Self {
        Self::new(Duration::from_millis(25), Duration::from_millis(100))
    }

    /// For a request that the store refuses: it is retried at least once a second.
    pub fn to_ask_again() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(1))
    }

    /// Returns the next pause.
    pub fn pause(&mut self) -> Duration {
        let limit = self.first.saturating_mul(1 << self.attempts.min(10)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        limit.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for most in [100, 200, 400, 800, 1_000, 1_000] {
            let pause = backoff.pause();
            assert!((most / 2..=most).contains(&pause.as_millis()), "{pause:?} of at most {most} ms");
        }
        (0..100).for_each(|_| _ = backoff.pause());
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
