//! Many seeds, on as many threads as one likes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::draw::draw;
use crate::number;
use crate::run::run;
use crate::shrink;
use crate::world::Stats;

/// How long seeds are run where nobody says.
const SHORT: Duration = Duration::from_secs(4);

/// What the seeds have come to so far.
#[derive(Default)]
struct Sum {
    ran: u64,
    failed: u64,
    stats: Stats,
}

/// Seeds from one on: so many, or for so long, on so many threads, until so many have failed.
pub struct Seeds {
    from: u64,
    most: Option<u64>,
    time: Duration,
    threads: u64,
    failures: u64,
    /// After how many it is said how far this is.
    progress: Option<u64>,
    start: Instant,
    next: AtomicU64,
    sum: Mutex<Sum>,
}

impl Seeds {
    /// As the environment says.
    pub fn from_environment() -> Self {
        Self {
            from: number("SIMULATE_FROM").unwrap_or(0),
            most: number("SIMULATE_SEEDS"),
            time: number("SIMULATE_SECONDS").map_or(SHORT, Duration::from_secs),
            threads: number("SIMULATE_THREADS").unwrap_or(1),
            failures: number("SIMULATE_FAILURES").unwrap_or(1),
            progress: number("SIMULATE_PROGRESS"),
            start: Instant::now(),
            next: AtomicU64::new(0),
            sum: Mutex::default(),
        }
    }

    /// Runs them, and prints what fails. Returns how many did.
    pub fn run(&self) -> u64 {
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| while self.run_next() {});
            }
        });
        self.report();
        self.sum.lock().unwrap().failed
    }

    fn run_next(&self) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let over = self.most.map_or(self.start.elapsed() >= self.time, |most| index >= most);
        if over || self.sum.lock().unwrap().failed >= self.failures {
            return false;
        }
        let plan = draw(self.from + index);
        let (stats, failure) = run(&plan, None, None);
        if failure.is_some() {
            eprintln!("{}", shrink::report(&plan, None));
        }
        let ran = {
            let mut sum = self.sum.lock().unwrap();
            sum.ran += 1;
            sum.failed += u64::from(failure.is_some());
            sum.stats.add(&stats);
            sum.ran
        };
        if self.progress.is_some_and(|every| ran.is_multiple_of(every)) {
            self.report();
        }
        true
    }

    fn report(&self) {
        let (took, sum) = (self.start.elapsed().as_secs_f64(), self.sum.lock().unwrap());
        let Sum { ran, failed, stats } = &*sum;
        eprintln!(
            "{ran} seeds from {} in {took:.1} s, {:.0} a second: {} faults, {} events, {} calls, {:.1} virtual hours; agreed after \
             {:.2} s at worst; {failed} failed",
            self.from,
            *ran as f64 / took,
            stats.faults,
            stats.events,
            stats.calls,
            stats.virtual_time as f64 / 3.6e9,
            stats.worst as f64 / 1e6,
        );
    }
}
