//! What commands say of the keys that they have changed, for those who listen to events.

use super::Keyspace;
use crate::store::keyspace_events::Classes;

impl Keyspace {
    /// As [`Self::changed`], and says by what.
    pub fn changed_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed(key);
        self.tell(class, event, key);
    }

    /// As [`Self::changed_by`], for a collection that may have become empty, which ends the key.
    pub fn shrunk_by(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.changed_by(class, event, key);
        if self.remove_if_empty(key) {
            self.tell(Classes::GENERIC, "del", key);
        }
    }

    /// Says what happened to a key of the selected database.
    pub fn tell(&mut self, class: Classes, event: &'static str, key: &[u8]) {
        self.events.note(class, event, self.selected, key);
    }

    /// Notes that a key was asked for that is not there.
    pub fn missed(&mut self, key: &[u8]) {
        self.misses += 1;
        if !self.writing {
            self.tell(Classes::MISSED, "keymiss", key);
        }
    }
}
