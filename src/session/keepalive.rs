//! Which sockets to ping, and which did not answer: plain queues, since all sockets wait equally long.
//!
//! Time here is the worker's own: it stands still while the process is stopped, so that waking up closes
//! nobody. Pure: the time comes in as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::hub::SocketId;

/// The longest time that may pass between two looks at the clock. A longer gap means that this process did
/// not run, and so could not read its clients' answers.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// A clock that stands still while the process does.
#[derive(Debug)]
pub struct Clock {
    looked: Instant,
    passed: Duration,
}

impl Clock {
    /// Starts at zero.
    pub fn new(now: Instant) -> Self {
        Self { looked: now, passed: Duration::ZERO }
    }

    /// Advances by the time since the last look, as far as this process ran in it. Returns the clock's
    /// time.
    pub fn look(&mut self, now: Instant) -> Duration {
        self.passed += now.saturating_duration_since(self.looked).min(LONGEST_STEP);
        self.looked = now;
        self.passed
    }
}

/// What is due for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Ping it.
    Ping,
    /// Check that it has answered.
    Pong,
}

/// A socket's number and its generation, since numbers are reused.
pub type SocketKey = (SocketId, u32);

/// A time in whole milliseconds, and whom it is for. It is small, since every idle socket has one.
type Deadline = (u64, SocketKey);

/// The deadlines of all sockets of a worker.
#[derive(Debug, Default)]
pub struct Deadlines {
    pings: VecDeque<Deadline>,
    pongs: VecDeque<Deadline>,
}

fn millis(at: Duration) -> u64 {
    at.as_millis() as u64
}

impl Deadlines {
    /// Schedules a ping at `at`; calls must come in the order of their times.
    pub fn ping_at(&mut self, at: Duration, key: SocketKey) {
        self.pings.push_back((millis(at), key));
    }

    /// Forgets all scheduled pings.
    pub fn forget_pings(&mut self) {
        self.pings.clear();
    }

    /// Expects an answer by `at`.
    pub fn pong_by(&mut self, at: Duration, key: SocketKey) {
        self.pongs.push_back((millis(at), key));
    }

    /// Returns whether anything is due at `now`.
    pub fn any_due(&self, now: Duration) -> bool {
        let now = millis(now);
        [&self.pings, &self.pongs].iter().any(|queue| queue.front().is_some_and(|(at, _)| *at <= now))
    }

    /// Takes the next deadline that is due at `now`.
    pub fn due(&mut self, now: Duration) -> Option<(Due, SocketKey)> {
        let now = millis(now);
        let due = |queue: &mut VecDeque<Deadline>| {
            if queue.capacity() > 1024 && queue.len() < queue.capacity() / 2 {
                queue.shrink_to(queue.len() + queue.len() / 8);
            }
            queue.front().is_some_and(|(at, _)| *at <= now).then(|| queue.pop_front()).flatten()
        };
        due(&mut self.pongs)
            .map(|(_, key)| (Due::Pong, key))
            .or_else(|| due(&mut self.pings).map(|(_, key)| (Due::Ping, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_stopped_lets_no_time_pass() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        assert_eq!(clock.look(start + Duration::from_millis(500)), Duration::from_millis(500));
        assert_eq!(clock.look(start + Duration::from_secs(60)), Duration::from_millis(1500));
    }

    #[test]
    fn deadlines_come_due_in_their_order() {
        let mut deadlines = Deadlines::default();
        deadlines.ping_at(Duration::from_secs(1), (1, 0));
        deadlines.ping_at(Duration::from_secs(2), (2, 0));
        deadlines.pong_by(Duration::from_secs(2), (3, 0));
        assert_eq!(deadlines.due(Duration::from_millis(999)), None);
        let due: Vec<_> = std::iter::from_fn(|| deadlines.due(Duration::from_secs(2))).collect();
        assert_eq!(due, [(Due::Pong, (3, 0)), (Due::Ping, (1, 0)), (Due::Ping, (2, 0))]);
    }
}
