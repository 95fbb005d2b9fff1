//! When the next heartbeat is due, and how the store answered the last ones.

use std::time::{Duration, Instant};

use super::channel::Heartbeat;
use super::lease::LONGEST_PAUSE;

/// The first pause before a refused heartbeat is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Beat {
    /// Whether a heartbeat is waiting for its reply.
    pub under_way: bool,
    /// When the next one is due.
    pub next: Instant,
    /// How many heartbeats in a row the store has refused.
    refusals: u32,
    /// Why the store takes only heartbeats and withdrawals, if so.
    full: Option<String>,
    /// How many channels' last steps the store refused for a reason of its own.
    pub refusing: usize,
    /// The store's reason for the last refusal.
    pub refusal: String,
}

impl Beat {
    /// Makes the first heartbeat due now.
    pub fn new(now: Instant) -> Self {
        Self { under_way: false, next: now, refusals: 0, full: None, refusing: 0, refusal: String::new() }
    }

    /// Records that the store accepted a heartbeat. `full`: why it refuses more data, if it does.
    pub fn accepted(&mut self, full: Option<String>) {
        (self.refusals, self.full) = (0, full);
    }

    /// Records that the store refused a heartbeat. The next one waits longer each time, up to a second, but at least
    /// `period`. `jitter` is less than 1.
    pub fn refused(&mut self, why: String, period: Duration, jitter: f64, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals.min(8)).min(LONGEST_PAUSE);
        self.refusals += 1;
        self.next = now + period.max(pause.mul_f64(0.5 + jitter / 2.0));
        self.refusal = why;
    }

    /// Whether the store lets this node count: it takes heartbeats, and refuses no step for a reason of its own. A
    /// full store, for example, takes only heartbeats and withdrawals.
    pub fn standing(&self) -> Heartbeat {
        match &self.full {
            _ if self.refusals > 0 || self.refusing > 0 => Heartbeat::Refused(self.refusal.clone()),
            Some(why) => Heartbeat::Refused(why.clone()),
            None => Heartbeat::Accepted,
        }
    }
}
