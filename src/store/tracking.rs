//! Client-side caching: which clients must be told when a key changes.
//!
//! A client that tracks is remembered with each key that it reads, and is told once when that key
//! changes or is gone. A client that broadcasts is told, once a round, of every key that changed under
//! its prefixes. The module is pure: notices are collected here, and the server sends them when the
//! command ends. As in Redis, a key is just a name, whatever its database. Whatever would grow without
//! limit is replaced by "everything may have changed", which every such client must understand anyway.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::small_bytes::SmallBytes;

mod noted;
mod undoing;

use noted::Noted;

/// The number that identifies a client.
pub type ClientId = u64;

/// The bytes that a remembered key takes besides its name, and those for each client remembered with it.
const KEY: usize = 128;
const READER: usize = 16;
/// The bytes that all remembered keys may take; the limit is needed because clients choose the names.
const MOST_BYTES: usize = 256 << 20;
/// The bytes of notices that one command or round may produce before they become "everything".
const MOST_TOLD: usize = 64 << 20;

/// A notice to clients that track.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// Invalidates a key for the clients that have read it. The last field is the client that changed it, if any.
    Key(SmallBytes, BTreeSet<ClientId>, Option<ClientId>),
    /// Any key may have changed; sent to these clients only.
    Lost(BTreeSet<ClientId>),
    /// Any key may have changed; sent to every client that tracks.
    Flushed,
}

/// The changes under a prefix, and the clients that must be told.
#[derive(Debug, Default)]
pub struct Broadcast {
    /// The clients that asked for the prefix.
    pub clients: BTreeSet<ClientId>,
    /// The keys that changed, each with the client that changed it last. `None` if there are too many.
    pub keys: Option<BTreeMap<SmallBytes, Option<ClientId>>>,
}

#[derive(Debug, Default)]
struct Prefix {
    clients: BTreeSet<ClientId>,
    keys: BTreeMap<SmallBytes, Option<ClientId>>,
    bytes: usize,
}

/// Everything that is remembered; see the module's text.
#[derive(Debug, Default)]
pub struct Tracking {
    /// The client to remember with the keys that the running command reads.
    pub reader: Option<ClientId>,
    /// The client whose command is running.
    pub writer: Option<ClientId>,
    /// The keys that were passed to the running script, and whether they have been remembered since a
    /// remembered key last changed.
    script: Option<(Vec<SmallBytes>, bool)>,
    /// How many clients track.
    pub clients: usize,
    /// How many keys may be remembered; 0 means no limit.
    max_keys: usize,
    readers: IndexMap<SmallBytes, BTreeSet<ClientId>>,
    items: usize,
    bytes: usize,
    prefixes: BTreeMap<SmallBytes, Prefix>,
    /// The number of prefixes of each length.
    lengths: BTreeMap<usize, usize>,
    /// The prefixes under which a key has changed.
    stirred: BTreeSet<SmallBytes>,
    notices: Vec<Notice>,
    told: usize,
    /// What the running script has changed here.
    noted: Noted,
}

impl Tracking {
    /// Begins a script. Whatever the script reads, its caller is remembered with exactly the keys that
    /// were passed to it.
    pub fn begin_script(&mut self, keys: &[&[u8]]) {
        if self.reader.is_some() {
            self.script = Some((keys.iter().map(|key| SmallBytes::new(key)).collect(), false));
        }
    }

    /// Ends the script.
    pub fn end_script(&mut self) {
        self.script = None;
    }

    /// Remembers the running command's client with the keys that the command reads.
    pub fn read(&mut self, keys: &[&[u8]]) {
        let Some(reader) = self.reader else { return };
        match self.script.take() {
            None => self.remember(reader, keys),
            Some((keys, true)) => self.script = Some((keys, true)),
            Some((keys, false)) => {
                let names: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
                self.remember(reader, &names);
                self.script = Some((keys, true));
            }
        }
    }

    fn remember(&mut self, reader: ClientId, keys: &[&[u8]]) {
        for &key in keys {
            if !self.readers.contains_key(key) {
                self.bytes += key.len() + KEY;
                self.readers.insert(SmallBytes::new(key), BTreeSet::new());
            }
            if self.readers.get_mut(key).is_some_and(|readers| readers.insert(reader)) {
                self.items += 1;
                self.bytes += READER;
            }
        }
        self.make_room();
    }

    /// Sets how many keys may be remembered; 0 means no limit.
    pub fn limit(&mut self, max_keys: usize) {
        self.max_keys = max_keys;
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.is_crowded() {
            // Clients that have cached this key must no longer rely on it.
            let at = fastrand::usize(..self.readers.len());
            self.invalidate(at, None);
        }
    }

    fn is_crowded(&self) -> bool {
        let too_many = self.max_keys > 0 && self.readers.len() > self.max_keys;
        !self.readers.is_empty() && (too_many || self.bytes > MOST_BYTES)
    }

    /// Records that a key has changed or is gone.
    pub fn changed(&mut self, key: &[u8]) {
        if self.clients == 0 {
            return;
        }
        self.stir(key);
        if let Some(at) = self.readers.get_index_of(key) {
            self.invalidate(at, self.writer);
        }
    }

    /// Records that a key has expired, which no client caused.
    pub fn ended(&mut self, key: &[u8]) {
        let writer = self.writer.take();
        self.changed(key);
        self.writer = writer;
    }

    /// Records that all keys of a database are gone.
    pub fn flushed(&mut self) {
        if self.clients == 0 {
            return;
        }
        if self.notices.last() != Some(&Notice::Flushed) {
            self.notices.push(Notice::Flushed);
        }
        self.forget_keys();
    }

    /// Records that a client has started or stopped tracking.
    pub fn count(&mut self, begun: bool) {
        if begun {
            self.clients += 1;
        } else {
            self.clients = self.clients.saturating_sub(1);
            if self.clients == 0 {
                self.forget_keys();
            }
        }
    }

    /// Subscribes a client to all changes under a prefix.
    pub fn subscribe(&mut self, prefix: &[u8], client: ClientId) {
        if !self.prefixes.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.prefixes.entry(SmallBytes::new(prefix)).or_default().clients.insert(client);
    }

    /// Ends a client's subscription to a prefix.
    pub fn unsubscribe(&mut self, prefix: &[u8], client: ClientId) {
        let Some(found) = self.prefixes.get_mut(prefix) else { return };
        found.clients.remove(&client);
        if !found.clients.is_empty() {
            return;
        }
        self.prefixes.remove(prefix);
        self.stirred.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    /// Takes the notices of the last command.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        self.told = 0;
        std::mem::take(&mut self.notices)
    }

    /// Whether there are notices to send.
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes the changes of this round under prefixes that clients asked for, in the order of the prefixes.
    pub fn take_broadcasts(&mut self) -> Vec<Broadcast> {
        let take = |name: SmallBytes| {
            let prefix = self.prefixes.get_mut(&*name)?;
            let (keys, bytes) = (std::mem::take(&mut prefix.keys), std::mem::take(&mut prefix.bytes));
            Some(Broadcast { clients: prefix.clients.clone(), keys: (bytes <= MOST_TOLD).then_some(keys) })
        };
        std::mem::take(&mut self.stirred).into_iter().filter_map(take).collect()
    }

    /// The numbers of keys, of clients remembered with them, and of prefixes, for `INFO`.
    pub fn sizes(&self) -> [usize; 3] {
        [self.readers.len(), self.items, self.prefixes.len()]
    }

    /// Records a key under every prefix that matches, with one lookup for each distinct prefix length.
    fn stir(&mut self, key: &[u8]) {
        for &length in self.lengths.keys() {
            let Some(head) = key.get(..length) else { break };
            let Some(prefix) = self.prefixes.get_mut(head) else { continue };
            self.stirred.insert(SmallBytes::new(head));
            if prefix.bytes > MOST_TOLD {
                continue;
            }
            let before = prefix.keys.insert(SmallBytes::new(key), self.writer);
            if before.is_none() {
                prefix.bytes += key.len() + KEY;
            }
            self.noted.note_stirred(head, key, before);
            if prefix.bytes > MOST_TOLD {
                prefix.keys.clear();
            }
        }
    }

    fn invalidate(&mut self, at: usize, writer: Option<ClientId>) {
        let Some((key, readers)) = self.readers.swap_remove_index(at) else { return };
        if let Some((_, remembered)) = &mut self.script {
            *remembered = false;
        }
        let taken = key.len() + KEY + readers.len() * READER;
        self.items -= readers.len();
        self.bytes -= taken;
        self.told += taken;
        if self.told <= MOST_TOLD {
            self.notices.push(Notice::Key(key, readers, writer));
            return;
        }
        if let Some(Notice::Lost(all)) = self.notices.last_mut() {
            all.extend(readers);
            return;
        }
        self.notices.push(Notice::Lost(readers));
    }

    fn forget_keys(&mut self) {
        (self.items, self.bytes) = (0, 0);
        let readers = std::mem::take(&mut self.readers);
        self.noted.keep_readers(readers);
        if let Some((_, remembered)) = &mut self.script {
            *remembered = false;
        }
    }
}

#[cfg(test)]
#[path = "tracking_tests.rs"]
mod tests;
