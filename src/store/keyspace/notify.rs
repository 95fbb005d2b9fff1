//! Who is told of a key's change: transactions that watch it, and clients that wait for it.

use super::Keyspace;
use crate::store::small_bytes::SmallBytes;

impl Keyspace {
    /// Notes that a command has changed a key of the selected database.
    pub fn changed(&mut self, key: &[u8]) {
        self.changes += 1;
        let selected = self.selected;
        self.touch(selected, key);
        let db = &self.dbs[selected];
        if !db.awaited.is_empty() && db.awaited.contains_key(key) {
            self.ready.push((selected, SmallBytes::new(key)));
        }
    }

    /// Starts to watch a key; the version to compare later.
    pub fn watch(&mut self, key: &[u8]) -> u64 {
        self.find(key);
        let watch = self.dbs[self.selected].watched.entry(SmallBytes::new(key)).or_default();
        watch.watchers += 1;
        self.version
    }

    /// Stops watching a key; says whether it has changed or expired since `version`.
    pub fn unwatch(&mut self, db: usize, key: &[u8], version: u64) -> bool {
        let selected = std::mem::replace(&mut self.selected, db);
        self.find(key);
        self.selected = selected;
        let Some(watch) = self.dbs[db].watched.get_mut(key) else {
            return false;
        };
        let changed = watch.version > version;
        watch.watchers -= 1;
        if watch.watchers == 0 {
            self.dbs[db].watched.remove(key);
        }
        changed
    }

    /// Asks for (or no longer for) a key's changes to be listed in `ready`.
    pub fn await_key(&mut self, db: usize, key: &[u8], wanted: bool) {
        let awaited = &mut self.dbs[db].awaited;
        if wanted {
            *awaited.entry(SmallBytes::new(key)).or_default() += 1;
        } else if let Some(count) = awaited.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(key);
            }
        }
    }

    pub(super) fn touch(&mut self, db: usize, key: &[u8]) {
        self.version += 1;
        let watched = &mut self.dbs[db].watched;
        if !watched.is_empty()
            && let Some(watch) = watched.get_mut(key)
        {
            watch.version = self.version;
        }
    }

    pub(super) fn touch_all(&mut self, existed: impl Fn(&[u8]) -> bool) {
        self.version += 1;
        let version = self.version;
        for (key, watch) in &mut self.dbs[self.selected].watched {
            if existed(key) {
                watch.version = version;
            }
        }
    }
}
