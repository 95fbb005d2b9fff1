//! Running a script so that its changes to the tracking state can be undone.

use std::collections::BTreeSet;

use super::noted::Noted;
use super::{ClientId, KEY, MOST_TOLD, Notice, READER, Tracking};
use crate::store::small_bytes::SmallBytes;

impl Tracking {
    /// Starts to record what a script changes, if any client tracks.
    pub fn begin_noting(&mut self) {
        if self.clients > 0 {
            let (notices, told) = (self.notices.len(), self.told);
            self.noted = Noted { on: true, notices, told, ..Noted::default() };
        }
    }

    /// Keeps the script's changes, and forgets how to undo them.
    pub fn keep_changes(&mut self) {
        self.noted = Noted::default();
    }

    /// Undoes the recorded changes. Notices that were replaced by "everything" stay that way, which is always correct.
    pub fn undo_changes(&mut self) {
        let noted = std::mem::take(&mut self.noted);
        if !noted.on {
            return;
        }
        for (prefix, key, before) in noted.stirred.into_iter().rev() {
            self.calm(&prefix, &key, before);
        }
        self.told = noted.told;
        if let Some(readers) = noted.readers {
            let read_since = std::mem::replace(&mut self.readers, readers);
            self.items = self.readers.values().map(BTreeSet::len).sum();
            self.bytes = self.readers.iter().map(|(key, readers)| key.len() + KEY + readers.len() * READER).sum();
            read_since.into_iter().for_each(|(key, readers)| self.put_back(key, readers));
        }
        for notice in self.notices.split_off(noted.notices.min(self.notices.len())) {
            match notice {
                Notice::Key(key, readers, _) => self.put_back(key, readers),
                Notice::Lost(_) => self.notices.push(notice),
                Notice::Flushed => {}
            }
        }
    }

    /// Undoes the record of a change to a key under a prefix.
    fn calm(&mut self, name: &SmallBytes, key: &SmallBytes, before: Option<Option<ClientId>>) {
        let Some(prefix) = self.prefixes.get_mut(name) else { return };
        match before {
            Some(writer) => drop(prefix.keys.insert(key.clone(), writer)),
            None if prefix.keys.remove(key).is_some() => prefix.bytes -= key.len() + KEY,
            None => {}
        }
        if prefix.keys.is_empty() && prefix.bytes <= MOST_TOLD {
            self.stirred.remove(name);
        }
    }

    /// Adds readers to those remembered with a key.
    fn put_back(&mut self, key: SmallBytes, readers: BTreeSet<ClientId>) {
        let length = key.len();
        let entry = self.readers.entry(key);
        if matches!(entry, indexmap::map::Entry::Vacant(_)) {
            self.bytes += length + KEY;
        }
        let known = entry.or_default();
        let before = known.len();
        known.extend(readers);
        let more = known.len() - before;
        self.items += more;
        self.bytes += more * READER;
    }
}
