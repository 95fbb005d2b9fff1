//! The pacing of pushes on a channel that delivers the latest value.
//!
//! The first value goes at once and the last one always; in between, at most a set number per second, and
//! fewer where one push takes long. Pure: the time comes in as an argument.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// One channel's pace on one worker.
#[derive(Debug, Default)]
pub struct Pacer {
    /// Nothing is pushed before this time.
    not_before: Option<Instant>,
    /// The newest value, if it is not pushed yet.
    pending: Option<Bytes>,
    /// The last value that was pushed.
    pushed: Option<Bytes>,
    /// Somebody has joined since, and was told a value that the others were not.
    joined: bool,
}

impl Pacer {
    /// Takes a new value: returns it if it is to be pushed now, else keeps it for [`Pacer::due`].
    pub fn offer(&mut self, frame: Bytes, now: Instant, interval: Duration) -> Option<Bytes> {
        if self.not_before.is_some_and(|at| now < at) {
            self.pending = Some(frame);
            return None;
        }
        Some(self.push(frame, now, interval))
    }

    /// Notes that somebody joined, and was told the newest value.
    pub fn join(&mut self) {
        self.joined = true;
    }

    /// Returns when to call [`Pacer::due`]; None if no value is kept.
    pub fn wake(&self) -> Option<Instant> {
        self.pending.as_ref().and(self.not_before)
    }

    /// Returns the kept value once it is due. It is skipped only if everybody has it already.
    pub fn due(&mut self, now: Instant, interval: Duration) -> Option<Bytes> {
        if self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let frame = self.pending.take()?;
        if !self.joined && self.pushed.as_ref() == Some(&frame) {
            return None;
        }
        Some(self.push(frame, now, interval))
    }

    /// Notes that everybody was told a newer value than the kept one.
    pub fn overtake(&mut self, frame: Bytes) {
        (self.pending, self.joined, self.pushed) = (None, false, Some(frame));
    }

    /// Lets nothing be pushed before `until`, even if the interval ends earlier.
    pub fn rest(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }

    fn push(&mut self, frame: Bytes, now: Instant, interval: Duration) -> Bytes {
        (self.not_before, self.joined, self.pending) = (Some(now + interval), false, None);
        self.pushed = Some(frame.clone());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn the_first_goes_at_once_and_the_last_always() {
        let (mut pace, start) = (Pacer::default(), Instant::now());
        assert_eq!(pace.offer(value("1"), start, TENTH), Some(value("1")));
        assert_eq!(pace.offer(value("2"), start, TENTH), None);
        assert_eq!(pace.offer(value("3"), start + TENTH / 2, TENTH), None);
        assert_eq!(pace.due(start + TENTH / 2, TENTH), None);
        assert_eq!(pace.due(start + TENTH, TENTH), Some(value("3")));
        assert_eq!(pace.due(start + TENTH * 2, TENTH), None);
    }

    #[test]
    fn a_push_that_took_long_is_followed_by_a_rest() {
        let (mut pace, start) = (Pacer::default(), Instant::now());
        pace.offer(value("1"), start, TENTH);
        pace.rest(start + TENTH / 2);
        pace.offer(value("2"), start, TENTH);
        assert_eq!(pace.wake(), Some(start + TENTH));
        pace.rest(start + TENTH * 3);
        assert_eq!(pace.due(start + TENTH, TENTH), None);
        assert_eq!(pace.due(start + TENTH * 3, TENTH), Some(value("2")));
    }

    #[test]
    fn a_value_that_was_overtaken_is_never_pushed() {
        let (mut pace, start) = (Pacer::default(), Instant::now());
        pace.offer(value("1"), start, TENTH);
        pace.offer(value("2"), start, TENTH);
        pace.overtake(value("3"));
        assert_eq!((pace.wake(), pace.due(start + TENTH, TENTH)), (None, None));
    }

    #[test]
    fn a_value_that_everybody_has_is_left_out_unless_somebody_joined() {
        let (mut pace, start) = (Pacer::default(), Instant::now());
        for joined in [false, true] {
            let start = start + TENTH * if joined { 5 } else { 0 };
            pace.offer(value("1"), start, TENTH);
            pace.offer(value("2"), start, TENTH);
            if joined {
                pace.join(); // was told "2"
            }
            pace.offer(value("1"), start, TENTH);
            assert_eq!(pace.due(start + TENTH, TENTH).is_some(), joined);
        }
    }
}
