//! The keys that transactions watch, and those that clients wait for.

use std::collections::HashMap;

use crate::store::small_bytes::SmallBytes;

/// The watched and awaited keys of one database.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Keys under `WATCH`, each with the number of its watchers and the version of its last change.
    watched: HashMap<SmallBytes, Watch>,
    /// Keys that blocked clients wait for, each with the number of those clients.
    awaited: HashMap<SmallBytes, usize>,
}

#[derive(Debug, Default)]
struct Watch {
    watchers: usize,
    version: u64,
}

impl Watchers {
    /// Starts to watch a key.
    pub fn watch(&mut self, key: &[u8]) {
        self.watched.entry(SmallBytes::new(key)).or_default().watchers += 1;
    }

    /// Stops watching a key; returns whether it has changed since `version`.
    pub fn unwatch(&mut self, key: &[u8], version: u64) -> bool {
        let Some(watch) = self.watched.get_mut(key) else {
            return false;
        };
        let changed = watch.version > version;
        watch.watchers -= 1;
        if watch.watchers == 0 {
            self.watched.remove(key);
        }
        changed
    }

    /// Sets the version of a key that has changed; returns its old version if it is watched.
    pub fn touch(&mut self, key: &[u8], version: u64) -> Option<u64> {
        if self.watched.is_empty() {
            return None;
        }
        self.watched.get_mut(key).map(|watch| std::mem::replace(&mut watch.version, version))
    }

    /// Sets the version of all watched keys that existed, because they have changed; returns their old versions.
    pub fn touch_all(&mut self, version: u64, existed: impl Fn(&[u8]) -> bool) -> Vec<(SmallBytes, u64)> {
        let touched = self.watched.iter_mut().filter(|(key, _)| existed(key));
        touched.map(|(key, watch)| (key.clone(), std::mem::replace(&mut watch.version, version))).collect()
    }

    /// Restores the version of a key whose change is undone.
    pub fn set_version(&mut self, key: &[u8], version: u64) {
        if let Some(watch) = self.watched.get_mut(key) {
            watch.version = version;
        }
    }

    /// Starts or stops waiting for changes to a key.
    pub fn await_key(&mut self, key: &[u8], wanted: bool) {
        if wanted {
            *self.awaited.entry(SmallBytes::new(key)).or_default() += 1;
        } else if let Some(count) = self.awaited.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.awaited.remove(key);
            }
        }
    }

    /// Whether any client waits for a key.
    pub fn awaits(&self, key: &[u8]) -> bool {
        !self.awaited.is_empty() && self.awaited.contains_key(key)
    }

    /// The keys that clients wait for.
    pub fn awaited(&self) -> impl Iterator<Item = &SmallBytes> {
        self.awaited.keys()
    }
}
