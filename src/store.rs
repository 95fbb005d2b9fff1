//! The embedded store: a Redis-compatible server inside the process.
//!
//! In: RESP over TCP. Out: Redis 7.0's replies, error texts included. It keeps its data in memory and,
//! if asked, in a log on disk. It knows nothing of channels, counts or sessions: to them it is a Redis
//! like any other.
//!
//! Read it in this order, from what knows most to what knows least:
//!
//! ```text
//! event_loop → server (core → input → dispatch → call → commands) → {script, aof} → command → data
//! ```
//!
//! `event_loop` is the only file with sockets and a clock; [`Core`] takes bytes and times and gives
//! bytes out. `server` holds clients and settings, and the commands that need them; `command` the
//! table of commands that need only data. Below are `keyspace`, `value`, `zset` (with `score_index`),
//! `stream` (in blocks of `listpack`) and `pubsub`, pure, with the time as an argument, and `resp` and `reply`, the protocol. `access` knows what users may do. `script` runs
//! Lua; `journal` gathers what commands changed, and `aof` writes it down.
//!
//! The store serves on a thread of its own, in a plain loop over epoll, not as tasks of the runtime
//! that calls it. Commands run one at a time in any case. So there is nothing to gain from tasks, and
//! the loop saves what they cost: a wake-up and a poll a request, a lock a command, a write a reply.
//! All that has arrived in one round is run, written to the log with one `fdatasync`, and answered
//! with one write a client; and a slow script or a slow disk does not hold up the sockets of the
//! process that embeds the store.
//!
//! A panic in that thread ends the whole node (`panic = "abort"`), on purpose: a command that stopped
//! half way may have left keys, index and memory count at odds, and a store that serves on from there
//! would hand the damage to every node. A node that ends is restarted with the log up to its last
//! round, and the others heal the count meanwhile. So no input may cause a panic, which a test of the
//! whole command table with extreme arguments and the fuzz targets `commands` and `resp` watch over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot, watch};

mod access;
mod aof;
mod args;
mod bits;
mod call_stats;
mod clock;
mod command;
mod data;
mod decimal;
mod error;
mod event_loop;
mod eviction;
mod geo;
mod histogram;
mod hyperloglog;
mod journal;
mod keyspace;
mod keyspace_events;
mod lazyfree;
mod listpack;
mod number;
mod process;
mod pubsub;
mod rdb;
mod reply;
mod resp;
mod score_index;
mod script;
mod server;
mod settings;
mod small_bytes;
mod store_error;
mod stream;
mod strtod;
mod tracking;
mod undo;
mod value;
mod zset;

pub use access::BadRule;
pub use aof::repair::{Report, check, repair};
pub use clock::Time;
pub use eviction::Policy as EvictionPolicy;
pub use keyspace_events::Classes as EventClasses;
pub use pubsub::Slot;
pub use server::{Core, Endpoints, Engine, check_user};
pub use settings::{Credential, Fsync, Options, User};
pub use store_error::StoreError;

use crate::pulse::Pulse;
use event_loop::EventLoop;
use server::Contents;

/// The stack of the store's thread, in bytes: what scripts may nest fits into a quarter of it, in a
/// build without optimizations too.
const STACK: usize = 32 << 20;

/// A store that is open: its data, and the log it is kept in. Dropping it closes the log.
#[derive(Debug)]
pub struct Store {
    contents: Arc<Mutex<Option<Contents>>>,
    pulse: Pulse,
}

/// Stops the serving thread, also when the future that waits for it is dropped.
struct Stop {
    flag: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot tell the embedded store to stop");
        }
    }
}

impl Store {
    /// Opens a store: locks its folder and reads its log, if it has one.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        let pulse = options.pulse.clone();
        let contents = Contents::open(options)?;
        Ok(Self { contents: Arc::new(Mutex::new(Some(contents))), pulse })
    }

    /// Serves clients until `stop` becomes true, then closes the listener and all connections at once.
    ///
    /// One call serves at a time; a second one waits for the first to end. When the future is dropped
    /// the thread stops as well, a moment later.
    pub async fn serve(&self, listener: TcpListener, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        let listener = listener.into_std().map_err(StoreError::Serve)?;
        let flag = Arc::new(AtomicBool::new(false));
        let pulse = self.pulse.clone();
        let (mut event_loop, waker) =
            EventLoop::new(listener, Arc::clone(&flag), pulse.clone()).map_err(StoreError::Serve)?;
        let stopper = Stop { flag, waker };
        let mut place = Arc::clone(&self.contents).lock_owned().await;
        let (done, mut ended) = oneshot::channel();
        let run = move || {
            let Some(contents) = place.take() else { return };
            let mut core = Core::new(contents, event_loop::now());
            pulse.begin();
            let outcome = event_loop.run(&mut core);
            pulse.end();
            *place = Some(core.into_contents());
            drop(event_loop);
            drop(place);
            let _ = done.send(outcome);
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).stack_size(STACK);
        thread.spawn(run).map_err(StoreError::Serve)?;
        tokio::select! {
            outcome = &mut ended => return finish(outcome),
            _ = stop.wait_for(|stop| *stop) => {}
        }
        drop(stopper);
        finish(ended.await)
    }
}

fn finish(outcome: Result<std::io::Result<()>, oneshot::error::RecvError>) -> Result<(), StoreError> {
    outcome.map_err(|_| StoreError::Ended)?.map_err(StoreError::Serve)
}
