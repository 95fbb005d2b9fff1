//! The clock that running scripts are held to.
//!
//! Every loop of the interpreter and of its libraries looks at one number, and calls the engine's hook
//! when it has changed. A thread counts it up while scripts run. So a script costs no look at the clock
//! and no call of the hook, and still no loop, however it is made, goes on for longer than a tick
//! without being asked whether it may.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// Between two looks at the clock.
pub const TICK: Duration = Duration::from_millis(10);
/// This many ticks without a script, then the thread sleeps until there is one.
const IDLE: u32 = 100;

// SAFETY: the engine's sources define it as an atomic of this size, which it only ever loads.
#[expect(unsafe_code)]
unsafe extern "C" {
    safe static luai_ticks: AtomicU32;
}

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);

/// As long as it lives, the clock ticks.
pub struct Ticking;

impl Ticking {
    /// Starts the clock, if it does not tick already. Without it no limit of time would hold, so then
    /// nothing may be run.
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
        // Whoever starts a script between these two lines finds the clock asleep and wakes it.
        while ASLEEP.load(Ordering::SeqCst) && RUNNING.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        ASLEEP.store(false, Ordering::SeqCst);
    }
}
