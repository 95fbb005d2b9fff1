//! How a worker publishes, and how it gets the answers.

use tokio::sync::mpsc;

use super::keepalive::SocketKey;
use crate::hub::{PublishError, Publisher};

/// How many answers may wait for a worker: more than there can be messages on their way.
const ANSWERS: usize = 2048;

/// The outcome of a message that a client published.
pub struct Published {
    /// The client.
    pub(super) key: SocketKey,
    /// The channel.
    pub(super) channel: String,
    /// Whether the store accepted it.
    pub(super) outcome: Result<(), PublishError>,
}

/// A worker's publisher, and the queue of answers.
pub struct Outbound {
    pub(super) publisher: Publisher,
    pub(super) answers: mpsc::Sender<Published>,
    /// The receiving end of the queue of answers.
    pub(super) answered: mpsc::Receiver<Published>,
}

impl Outbound {
    /// Creates it over this publisher.
    pub fn new(publisher: Publisher) -> Self {
        let (answers, answered) = mpsc::channel(ANSWERS);
        Self { publisher, answers, answered }
    }
}
