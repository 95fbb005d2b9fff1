//! The clock that limits the time of running scripts.
//!
//! Every loop of the interpreter and of its libraries looks at one number, and calls the engine's hook when that
//! number has changed. A thread increments the number while scripts run. So scripts rarely read the clock or call
//! the hook, and yet no loop, however it is made, runs for longer than a tick without a check.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// The time between two ticks.
pub const TICK: Duration = Duration::from_millis(10);
/// After this many ticks without a script, the thread sleeps until there is one.
const IDLE: u32 = 100;

// SAFETY: the engine's sources define it as an atomic of this size, and only ever load it.
#[expect(unsafe_code)]
unsafe extern "C" {
    safe static luai_ticks: AtomicU32;
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);

/// Keeps the clock ticking for as long as it lives.
pub struct Ticking;

impl Ticking {
    /// Starts the clock, if it is not ticking already. If this fails, nothing may be run, because no time limit
    /// would hold.
    pub fn start() -> std::io::Result<Self> {
        static CLOCK: OnceLock<Thread> = OnceLock::new();
        RUNNING.fetch_add(1, Ordering::SeqCst);
        let ticking = Self;
        let clock = match CLOCK.get() {
            Some(clock) => clock,
            None => {
                let started = std::thread::Builder::new().name("script-clock".to_owned()).spawn(tick)?;
                CLOCK.get_or_init(|| started.thread().clone())
            }
        };
        if ASLEEP.load(Ordering::SeqCst) && ASLEEP.swap(false, Ordering::SeqCst) {
            clock.unpark();
        }
        Ok(ticking)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick() {
    let mut idle = 0;
    loop {
        std::thread::sleep(TICK);
        if RUNNING.load(Ordering::SeqCst) > 0 {
            idle = 0;
            luai_ticks.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        idle += 1;
        if idle < IDLE {
            continue;
        }
        idle = 0;
        ASLEEP.store(true, Ordering::SeqCst);
        // A script that starts between these two lines finds the clock asleep and wakes it.
        while ASLEEP.load(Ordering::SeqCst) && RUNNING.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        ASLEEP.store(false, Ordering::SeqCst);
    }
}
