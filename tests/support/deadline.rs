//! Deadlines that measure the product and not the machine: time in which this process stood still, as it does
//! where the whole machine is paused or has too much to do, is not counted. At most, that doubles a deadline.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How often a thread looks whether it still gets its turns.
const TURN: Duration = Duration::from_millis(10);
/// A turn that comes later than this is late.
const LATE: Duration = Duration::from_millis(30);

/// Milliseconds for which turns were late, since somebody asked first.
static STOOD_STILL: LazyLock<AtomicU64> = LazyLock::new(|| {
    std::thread::spawn(|| {
        loop {
            let slept = Instant::now();
            std::thread::sleep(TURN);
            let late = slept.elapsed() - TURN;
            if late > LATE {
                STOOD_STILL.fetch_add(late.as_millis() as u64, Ordering::Relaxed);
            }
        }
    });
    AtomicU64::new(0)
});

/// For how long this process has stood still so far.
fn stood_still() -> Duration {
    Duration::from_millis(STOOD_STILL.load(Ordering::Relaxed))
}

/// A moment by which something has to have happened.
pub struct Deadline {
    start: Instant,
    within: Duration,
    stood_still: Duration,
}

impl Deadline {
    /// So long from now.
    pub fn within(within: Duration) -> Deadline {
        Deadline { start: Instant::now(), within, stood_still: stood_still() }
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        left(self.within, stood_still() - self.stood_still, self.start.elapsed())
    }

    /// Whether none is left.
    pub fn has_passed(&self) -> bool {
        self.left().is_zero() && {
            // After a standstill, whoever measures it may get the next turn only.
            std::thread::sleep(TURN * 2);
            self.left().is_zero()
        }
    }
}

/// What is left of a time after some of it, for part of which the process stood still.
fn left(within: Duration, still: Duration, elapsed: Duration) -> Duration {
    (within + still.min(within)).saturating_sub(elapsed)
}

#[test]
fn a_standstill_is_not_counted_and_doubles_a_deadline_at_most() {
    let [none, second, minute] = [0, 1, 60].map(Duration::from_secs);
    assert_eq!(left(second, none, none), second);
    assert_eq!(left(second, second / 4, second), second / 4);
    assert_eq!(left(second, minute, second * 2), none);
    assert_eq!(left(second, none, minute), none);
    assert_eq!(left(none, minute, none), none, "what must hold at once has no allowance");
    assert!(Deadline::within(none).has_passed() && !Deadline::within(minute).has_passed());
}
