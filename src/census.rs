//! How many are here: this node's tallies, its lease, and the sum over all nodes.
//!
//! In: joins and leaves of this node's sockets, and what its subscription brings. Out: statements
//! to the store, and the channels' totals as [`Value`]s. It does not know sockets, nor how a value
//! reaches them. The rule: a node states what it has, under a lease; stating twice changes nothing,
//! and whoever notices withdraws what a dead node stated. So every retry is safe, and no count is
//! wrong for longer than a lease.

mod channel;
mod entry;
mod lease;
mod outcome;
mod reap;
mod scripts;
mod task;

use std::sync::Arc;

pub use channel::{Census, Channel, Reading, Value};
use scripts::Scripts;
use task::Task;

use crate::backplane::{Commands, Keys};
use crate::config::{self, Rules};
use crate::metrics::Metrics;

/// Makes the handle, and the task that works for it until [`Census::close`] is carried out.
pub fn census(
    config: config::Census,
    rules: Arc<Rules>,
    commands: Commands,
    keys: Keys,
    metrics: Metrics,
) -> (Census, impl Future<Output = ()> + Send) {
    let handle = Census::default();
    let scripts = Scripts::new(commands, keys);
    let task = Task::new(handle.clone(), config, rules, scripts, metrics);
    (handle, task.run())
}
