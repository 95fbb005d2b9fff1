//! Orders to a worker.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;

/// What a worker is told to do, besides delivering messages.
#[derive(Debug)]
pub enum Order {
    /// Apply this configuration, to open sockets too.
    Config(Arc<Config>),
    /// Close every socket, spread over this time.
    Drain(Duration),
}
