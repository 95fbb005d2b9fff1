//! Boards: sorted sets that any program may write, and whose changes clients see live.
//!
//! In: which boards, and which of their members, this node's clients want. Out: the top, the size and the
//! places of followed members, whenever they change. It knows nothing of sockets, nor of how a board reaches
//! them. The rule: a board is read at most once per pace tick, and costs nothing while nobody wants it.

mod board;
mod handle;
mod state;
mod task;
mod trending;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use board::place_json;
pub use handle::Boards;
pub use state::{BoardNews, FOLLOWED, NoReading};
use task::BoardsTask;
pub use trending::Trending;

use crate::backplane::topology::Topology;
use crate::backplane::{Credentials, Keys, Trackers};
use crate::config;
use crate::metrics::Metrics;

/// Creates the handle, and the task that serves it until the task is dropped.
///
/// # Errors
/// The URL names no store.
pub fn boards(
    config: &config::Redis,
    credentials: watch::Receiver<Option<Credentials>>,
    topology: Option<watch::Receiver<Arc<Topology>>>,
    pace: Duration,
    keys: Keys,
    metrics: Metrics,
) -> Result<(Boards, impl Future<Output = ()> + Send + use<>), redis::RedisError> {
    let handle = Boards::new(pace);
    let script = redis::Script::new(include_str!("boards/read.lua"));
    let tracker = Trackers::new(config, credentials, topology, script)?;
    let task = BoardsTask::new(handle.clone(), tracker, keys, metrics);
    Ok((handle, task.run()))
}
