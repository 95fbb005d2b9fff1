//! What a command can reach that needs no connection: the keys and the subscriptions.
//!
//! `Data` is handed as a whole to the script that runs.

use super::call_stats::CallStats;
use super::keyspace::{Keyspace, begin_script, keep_changes, undo_changes};
use super::keyspace_events::Classes;
use super::pubsub::{Kind, PubSub};
use super::resp::Args;
use super::small_bytes::SmallBytes;

/// The store's contents and who listens.
#[derive(Debug, Default)]
pub struct Data {
    /// All keys.
    pub keys: Keyspace,
    /// All subscriptions.
    pub pubsub: PubSub,
    /// What became of commands.
    pub calls: CallStats,
    /// What a script runs, database and arguments, if somebody looks on.
    pub seen: Option<Vec<(usize, Vec<SmallBytes>)>>,
    /// How many messages there were to be delivered before the running script, and their bytes.
    published: (usize, usize),
}

impl Data {
    /// An empty store.
    pub fn new() -> Self {
        Self { keys: Keyspace::new(), ..Self::default() }
    }

    /// Begins to note what a script does.
    pub fn begin_script(&mut self) {
        self.published = (self.pubsub.outbox.len(), self.pubsub.outgoing);
        begin_script(&mut self.keys);
    }

    /// Keeps what the script has done.
    pub fn keep_changes(&mut self) {
        keep_changes(&mut self.keys);
    }

    /// Takes back what the script has done: what it has changed is as before, and nobody will be told of it.
    pub fn undo_changes(&mut self) {
        undo_changes(&mut self.keys);
        self.pubsub.outbox.truncate(self.published.0);
        self.pubsub.outgoing = self.published.1;
    }

    /// Publishes what has happened to keys.
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
                // The command has done its work: what is more than it may publish is lost to those who listen.
                if self.pubsub.publish(channel, payload, Kind::Channel).is_err() {
                    return;
                }
            }
        }
    }

    /// Notes a command that a script has run for those who look on.
    pub fn note_scripted(&mut self, db: usize, args: &Args) {
        if let Some(seen) = &mut self.seen {
            seen.push((db, args.iter().map(|arg| SmallBytes::new(arg)).collect()));
        }
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
