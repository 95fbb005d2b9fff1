//! The data that commands can reach without a connection: the keys and the subscriptions.
//!
//! While a script runs, the engine holds the whole `Data`.

use super::call_stats::CallStats;
use super::keyspace::{Keyspace, begin_script, keep_changes, undo_changes};
use super::keyspace_events::Classes;
use super::pubsub::{PubSub, SubscriptionKind};
use super::resp::Args;
use super::small_bytes::SmallBytes;

/// The store's contents and subscriptions.
#[derive(Debug, Default)]
pub struct Data {
    /// All keys.
    pub keys: Keyspace,
    /// All subscriptions.
    pub pubsub: PubSub,
    /// The statistics of commands.
    pub calls: CallStats,
    /// The commands that a script has run, each with its database, if a client monitors the store.
    pub seen: Option<Vec<(usize, Vec<SmallBytes>)>>,
    /// How many messages were waiting for delivery when the running script began, and their size in bytes.
    published: (usize, usize),
}

impl Data {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self { keys: Keyspace::new(), ..Self::default() }
    }

    /// Starts recording what a script does, so that it can be undone.
    pub fn begin_script(&mut self) {
        self.published = (self.pubsub.outbox.len(), self.pubsub.outgoing);
        begin_script(&mut self.keys);
    }

    /// Keeps what the script has done.
    pub fn keep_changes(&mut self) {
        keep_changes(&mut self.keys);
    }

    /// Undoes what the script has done: restores the data and discards all notifications of the changes.
    pub fn undo_changes(&mut self) {
        undo_changes(&mut self.keys);
        self.pubsub.outbox.truncate(self.published.0);
        self.pubsub.outgoing = self.published.1;
    }

    /// Publishes the pending keyspace events.
    pub fn publish_events(&mut self) {
        for event in self.keys.events.take() {
            let wanted = self.keys.events.wanted;
            let db = event.db;
            if !self.pubsub.has_listeners() {
                continue;
            }
            let key = [format!("__keyspace@{db}__:").as_bytes(), &event.key].concat();
            let name = format!("__keyevent@{db}__:{}", event.name);
            let by_key = wanted.has(Classes::BY_KEY).then_some((&key[..], event.name.as_bytes()));
            let by_event = wanted.has(Classes::BY_EVENT).then_some((name.as_bytes(), &event.key[..]));
            for (channel, payload) in by_key.into_iter().chain(by_event) {
                // The command has already run, so events beyond the limit on publishing are lost.
                if self.pubsub.publish(channel, payload, SubscriptionKind::Channel).is_err() {
                    return;
                }
            }
        }
    }

    /// Records a command that a script has run, for the clients that monitor the store.
    pub fn note_scripted(&mut self, db: usize, args: &Args) {
        if let Some(seen) = &mut self.seen {
            seen.push((db, args.iter().map(|arg| SmallBytes::new(arg)).collect()));
        }
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
