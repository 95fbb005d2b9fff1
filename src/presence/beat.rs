//! When the next heartbeat is due, and what the store said to the last ones.

use std::time::{Duration, Instant};

use super::channel::Heartbeat;
use super::lease::LONGEST_PAUSE;

/// The first pause before a heartbeat that the store refused is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Beat {
    /// One was sent, and is not answered.
    pub under_way: bool,
    /// When the next one is due.
    pub next: Instant,
    /// How often in a row the store has refused it.
    refusals: u32,
    /// Why the store takes nothing but heartbeats and withdrawals, if that is so.
    full: Option<String>,
    /// Channels whose last step the store refused for a reason of its own.
    pub refusing: usize,
    /// What it said.
    pub refusal: String,
}

impl Beat {
    /// The first one is due now.
    pub fn new(now: Instant) -> Self {
        Self { under_way: false, next: now, refusals: 0, full: None, refusing: 0, refusal: String::new() }
    }

    /// The store took it; and why it would take nothing else, if that is so.
    pub fn accepted(&mut self, full: Option<String>) {
        (self.refusals, self.full) = (0, full);
    }

    /// The store refused it: it is asked again, later each time, but at least once a second. `jitter` is less
    /// than 1.
    pub fn refused(&mut self, why: String, period: Duration, jitter: f64, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals.min(8)).min(LONGEST_PAUSE);
        self.refusals += 1;
        self.next = now + period.max(pause.mul_f64(0.5 + jitter / 2.0));
        self.refusal = why;
    }

    /// Whether the store lets this node count: it takes heartbeats, and refuses no step for a reason of its
    /// own. One that is full, say, takes only heartbeats and withdrawals.
    pub fn standing(&self) -> Heartbeat {
        match &self.full {
            _ if self.refusals > 0 || self.refusing > 0 => Heartbeat::Refused(self.refusal.clone()),
            Some(why) => Heartbeat::Refused(why.clone()),
            None => Heartbeat::Accepted,
        }
    }
}
