//! Orders to a worker.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;

/// What a worker is told to do, beside delivering messages.
#[derive(Debug)]
pub enum Order {
    /// Put this into effect, for the sockets that are open too.
    Config(Arc<Config>),
    /// Close every socket, spread over this time.
    Drain(Duration),
}
