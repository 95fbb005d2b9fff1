//! What the promises stand on: Redis servers, nodes, clients and a browser, all of them real.
//!
//! A test waits for conditions, each with a deadline, and never for a fixed time. Tests share
//! nothing but the machine: each starts its own Redis and its own nodes on free ports.

pub mod article;
pub mod authority;
pub mod browser;
pub mod certificate;
pub mod client;
pub mod cluster;
pub mod crowd;
mod deadline;
pub mod fleet;
pub mod http;
pub mod kinds;
pub mod link;
pub mod listed;
pub mod node;
pub mod party;
mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod rogue;
pub mod servers;
pub mod sharded;
pub mod static_page;
pub mod tabs;
pub mod tokens;
pub mod watched;
pub mod wire;

use std::future::Future;
use std::sync::LazyLock;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

pub use deadline::Deadline;

/// Ample for anything that should happen at once, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(10);

/// How often a condition is looked at while waiting for it.
const LOOK: Duration = Duration::from_millis(20);

/// How many light tests run at once.
static PLACES: LazyLock<u32> = LazyLock::new(|| 2 * std::thread::available_parallelism().map_or(2, |n| n.get() as u32));

static MACHINE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*PLACES as usize));

/// A light test's place on the machine: others run beside it. Held for the length of the test.
pub async fn beside_others() -> SemaphorePermit<'static> {
    places(1).await
}

/// The place of a test with deadlines, which mostly waits for a store to fail and to recover.
pub async fn beside_one_other() -> SemaphorePermit<'static> {
    places(*PLACES / 2).await
}

/// A heavy test's place on the machine: it runs alone, so that its deadlines measure the product
/// and not its neighbours.
pub async fn alone() -> SemaphorePermit<'static> {
    places(*PLACES).await
}

async fn places(count: u32) -> SemaphorePermit<'static> {
    MACHINE.acquire_many(count).await.expect("the semaphore is never closed")
}

/// Looks until `attempt` succeeds, and panics with its last complaint when `within` has passed.
pub async fn eventually<T, F, A>(what: &str, within: Duration, mut attempt: F) -> T
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, String>>,
{
    let deadline = Deadline::within(within);
    let mut complaint = String::from("no attempt ended in time");
    loop {
        if let Ok(outcome) = timeout(deadline.left(), attempt()).await {
            match outcome {
                Ok(value) => return value,
                Err(why) => complaint = why,
            }
        }
        if deadline.has_passed() {
            panic!("{what}: not within {within:?}: {complaint}");
        }
        sleep(LOOK).await;
    }
}

/// Runs something that blocks, and panics if it has not ended when `within` has passed.
pub fn ends<T: Send + 'static>(what: &str, within: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (ended, end) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || drop(ended.send(run())));
    match end.recv_timeout(within) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("{what}: not within {within:?}"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it ended without a word"),
        },
    }
}

/// Looks until `check` has held without a break for `hold`, beginning at most `within` from now.
pub async fn settles<F, A>(what: &str, within: Duration, hold: Duration, mut check: F)
where
    F: FnMut() -> A,
    A: Future<Output = Result<(), String>>,
{
    let (start, deadline) = (Instant::now(), Deadline::within(within));
    let mut since = None;
    let mut complaint = String::from("never looked");
    loop {
        let looked_at = Instant::now();
        match check().await {
            Ok(()) => {
                let since = *since.get_or_insert(looked_at);
                if looked_at - since >= hold {
                    return;
                }
            }
            Err(why) => {
                since = None;
                complaint = format!("after {:.2?}: {why}", looked_at - start);
            }
        }
        if since.is_none() && deadline.has_passed() {
            panic!("{what}: not right within {within:?}; last, {complaint}");
        }
        sleep(LOOK).await;
    }
}

/// Looks for the whole of `hold` and panics the first time that `check` fails.
pub async fn stays<F, A>(what: &str, hold: Duration, check: F)
where
    F: FnMut() -> A,
    A: Future<Output = Result<(), String>>,
{
    settles(what, Duration::ZERO, hold, check).await;
}

/// `Ok` where both are equal, else a complaint that names both.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, expected {expected:?}")) }
}
