//! A worker's way to publish, and the way back.

use tokio::sync::mpsc;

use super::keepalive::Key;
use crate::hub::{PublishError, Publisher};

/// Answers that may wait for a worker: more than there are messages on their way.
const ANSWERS: usize = 2048;

/// What became of a message that a client has published.
pub struct Published {
    /// Who has published it.
    pub(super) key: Key,
    /// Where.
    pub(super) channel: String,
    /// Whether the store has it.
    pub(super) outcome: Result<(), PublishError>,
}

/// A worker's way to publish.
pub struct Outbound {
    pub(super) publisher: Publisher,
    pub(super) answers: mpsc::Sender<Published>,
    /// What became of what was published.
    pub(super) answered: mpsc::Receiver<Published>,
}

impl Outbound {
    /// Over this publisher.
    pub fn new(publisher: Publisher) -> Self {
        let (answers, answered) = mpsc::channel(ANSWERS);
        Self { publisher, answers, answered }
    }
}
