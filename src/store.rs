//! The embedded store: a Redis-compatible server inside the process.
//!
//! Clients speak RESP over TCP and get the replies of Redis 7.0, error texts included. The data is kept
//! in memory and, optionally, in a log on disk. The store knows nothing of channels, counts or
//! sessions; to the code that handles those it is a Redis like any other.
//!
//! Reading order, from the module that knows most to the one that knows least:
//!
//! ```text
//! event_loop → server (core → input → dispatch → call → commands) → {script, aof} → command → data
//! ```
//!
//! `event_loop` is the only file that uses sockets and reads the time of day; [`Core`] takes bytes and
//! times in and gives bytes out. `server` holds the clients, the settings and the commands that need
//! them; `command` holds the table of commands that need only data. Below them, `keyspace`, `value`,
//! `zset` (with `score_index`), `stream` (built from blocks of `listpack`) and `pubsub` are pure and
//! take the time as an argument; `resp` and `reply` are the protocol. `access` knows what users may do.
//! `script` runs Lua; `journal` collects what commands changed, and `aof` writes it to disk.
//!
//! The store runs on its own thread, in a plain epoll loop rather than as tasks on the caller's
//! runtime. Commands run one at a time anyway, so tasks would gain nothing, and the loop avoids their
//! cost: a wake-up and a poll per request, a lock per command, a write per reply. All requests that
//! arrive in one round are run, their changes are written to the log with one `fdatasync`, and each
//! client gets its replies in one write. A slow script or a slow disk does not hold up the sockets of
//! the embedding process.
//!
//! A panic on that thread deliberately ends the whole node (`panic = "abort"`): a command that stopped halfway may have
//! left the keys, the index and the memory count inconsistent, and a store that kept serving would spread the damage to
//! every node. A restarted node recovers its data from the log, up to the last round written, and the others repair the
//! count in the meantime. So no input may cause a panic. This is tested by running the whole command table with extreme
//! arguments, and by the fuzz targets `commands` and `resp`.

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
pub use aof::repair::{RepairReport, check, repair};
pub use clock::Time;
pub use eviction::Policy as EvictionPolicy;
pub use keyspace_events::Classes as EventClasses;
pub use pubsub::ClientSlot;
pub use server::{Core, Endpoints, Engine, check_user};
pub use settings::{Credential, Fsync, Options, User};
pub use store_error::StoreError;

use crate::pulse::Pulse;
use event_loop::EventLoop;
use server::Contents;

/// The stack size of the store's thread, in bytes. The deepest nesting that scripts may reach fits into
/// a quarter of it, even in an unoptimized build.
const STACK: usize = 32 << 20;

/// An open store: its data and the log that it is kept in. Dropping it closes the log.
#[derive(Debug)]
pub struct Store {
    contents: Arc<Mutex<Option<Contents>>>,
    pulse: Pulse,
}

/// Stops the serving thread, even if the future that waits for it is dropped.
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
    /// Only one call serves at a time; a second one waits until the first ends. If the future is
    /// dropped, the thread stops shortly afterwards.
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
