//! What a command can reach that needs no connection: the keys and the subscriptions.
//!
//! `Data` is handed as a whole to the script that runs.

use super::keyspace::Keyspace;
use super::pubsub::PubSub;
use super::resp::Args;
use super::small_bytes::SmallBytes;

/// The store's contents and who listens.
#[derive(Debug, Default)]
pub struct Data {
    /// All keys.
    pub keys: Keyspace,
    /// All subscriptions.
    pub pubsub: PubSub,
    /// What a script runs, database and arguments, if somebody looks on.
    pub seen: Option<Vec<(usize, Vec<SmallBytes>)>>,
}

impl Data {
    /// An empty store.
    pub fn new() -> Self {
        Self { keys: Keyspace::new(), pubsub: PubSub::default(), seen: None }
    }

    /// Notes a command that a script has run for those who look on.
    pub fn note_scripted(&mut self, db: usize, args: &Args) {
        if let Some(seen) = &mut self.seen {
            seen.push((db, args.iter().map(|arg| SmallBytes::new(arg)).collect()));
        }
    }
}
