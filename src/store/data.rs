//! What a command can reach that needs no connection: the keys and the subscriptions.
//!
//! `Data` is handed as a whole to the script that runs.

use super::keyspace::Keyspace;
use super::pubsub::PubSub;

/// The store's contents and who listens.
#[derive(Debug, Default)]
pub struct Data {
    /// All keys.
    pub keys: Keyspace,
    /// All subscriptions.
    pub pubsub: PubSub,
}

impl Data {
    /// An empty store.
    pub fn new() -> Self {
        Self { keys: Keyspace::new(), pubsub: PubSub::default() }
    }
}
