//! Running a script so that it can be undone: from its begin on changes are noted, and at its end they are
//! forgotten or taken back, together with what is to be written and told of them.

use std::ops::Range;

use super::edit::Edit;
use super::undo::{Before, Place, Step, put_key, undo_changes};
use super::{Item, Keyspace, SLOT};
use crate::store::error::CommandError;
use crate::store::value::Value;

impl Keyspace {
    /// Begins to note changes.
    pub fn begin_script(&mut self) {
        self.undo.begin(self.used);
        self.tracking.begin_noting();
        self.undo.before = Before { journal: self.journal.mark(), ready: self.ready.len() };
    }

    /// Keeps what has changed since.
    pub fn keep_changes(&mut self) {
        self.tracking.keep_changes();
        let mut steps = self.undo.end();
        for step in steps.drain(..) {
            match step {
                Step::PutKey(_, _, Item { value, .. }, true) | Step::SetValue(_, value) => self.trash.throw(value),
                Step::Unflush(_, flushed) => {
                    let values = flushed.items.into_iter().map(|(key, item)| (key, item.value));
                    self.trash.throw_all(values.collect());
                }
                _ => {}
            }
        }
        self.undo.clear(steps);
    }

    /// Takes back what has changed since, and what is to be written and told of it.
    pub fn undo_changes(&mut self) {
        let mut steps = self.undo.end();
        let mut taken = None;
        while let Some(step) = steps.pop() {
            self.take_back(step, &mut taken);
        }
        self.undo.clear(steps);
        self.tracking.undo_changes();
        self.events.take();
        self.journal.undo(&self.undo.before.journal);
        self.ready.truncate(self.undo.before.ready);
    }

    /// Whether a script has changed so much that it must change no more.
    pub fn is_script_full(&self) -> bool {
        self.undo.is_full(self.used)
    }

    /// Replaces the value of a key by what is made of it; it ends when it did. Says whether the key is there.
    pub fn update(
        &mut self,
        key: &[u8],
        make: impl FnOnce(&Value) -> Result<Value, CommandError>,
    ) -> Result<bool, CommandError> {
        let Some(index) = self.find(key) else { return Ok(false) };
        self.touch_usage(index);
        self.preserve(self.selected, index);
        let Some((_, item)) = self.dbs[self.selected].items.get_index_mut(index) else { return Ok(false) };
        let value = make(&item.value)?;
        let new = value.footprint();
        let old = std::mem::replace(&mut item.value, value);
        self.used = self.used + new - old.footprint();
        self.replaced((self.selected, index), old);
        Ok(true)
    }

    /// The string at a key, to be changed in these ranges of its bytes or made longer.
    pub fn edit(&mut self, key: &[u8], ranges: &[Range<usize>]) -> Option<Edit<'_, Value>> {
        let index = self.find(key)?;
        self.touch_usage(index);
        self.preserve(self.selected, index);
        let item = self.dbs[self.selected].items.get_index_mut(index)?.1;
        if self.undo.on {
            self.undo.note_string((self.selected, index), &item.value, ranges);
        }
        Some(Edit::string(&mut self.used, &mut item.value))
    }

    /// Lets go of a value in whose place there is another now.
    pub(super) fn replaced(&mut self, place: Place, old: Value) {
        if self.undo.on {
            let held = old.footprint();
            self.undo.note(Step::SetValue(place, old), held);
        } else {
            self.trash.throw(old);
        }
    }

    /// Lets go of a value that was just taken out.
    pub(super) fn discard(&mut self, value: Value) {
        if let Some(value) = self.undo.keep(value) {
            self.trash.throw(value);
        }
    }

    /// Notes, if that is wanted, what takes a change of the databases back.
    pub(super) fn note(&mut self, step: impl FnOnce() -> Step) {
        if self.undo.on {
            self.undo.note(step(), 0);
        }
    }

    /// Takes one change back. `taken`: the value that was last taken out, for the key that it came from.
    fn take_back(&mut self, step: Step, taken: &mut Option<Value>) {
        match step {
            Step::PopKey(db) => {
                let Some((key, item)) = self.dbs[db].items.pop() else { return };
                self.used -= SLOT + key.heap_size() + item.value.footprint();
                if item.expires != 0 {
                    self.dbs[db].expiring.remove(&(item.expires, key));
                }
                *taken = Some(item.value);
            }
            Step::PutKey((db, index), key, mut item, is_here) => {
                if !is_here && let Some(value) = taken.take() {
                    item.value = value;
                }
                self.used += put_key(&mut self.dbs[db], index, key, item);
            }
            Step::SetValue(place, value) => *taken = self.change(place, |now| std::mem::replace(now, value)),
            Step::SetBytes(place, length, at, old) => {
                self.change(place, |value| {
                    if let Value::Growing(bytes) = value {
                        bytes.resize(length, 0);
                        bytes[at..at + old.len()].copy_from_slice(&old);
                    }
                });
            }
            Step::SetExpiry((db, index), at) => {
                let db = &mut self.dbs[db];
                let Some((key, item)) = db.items.get_index_mut(index) else { return };
                let now = std::mem::replace(&mut item.expires, at);
                if now != 0 {
                    db.expiring.remove(&(now, key.clone()));
                }
                if at != 0 {
                    db.expiring.insert((at, key.clone()));
                }
            }
            Step::Collection(place, kind, count) => {
                let mut logs = std::mem::take(&mut self.undo.logs);
                self.change(place, |value| undo_changes(value, kind, &mut logs, count));
                self.undo.logs = logs;
            }
            Step::Unflush(db, flushed) => self.unflush(db, *flushed),
            Step::Swap(one, other) => self.exchange(one, other),
            Step::SetVersion(db, key, version) => self.dbs[db].watchers.set_version(&key, version),
        }
    }

    /// Changes a value whatever it is, and the count of memory with it.
    fn change<T>(&mut self, (db, index): Place, change: impl FnOnce(&mut Value) -> T) -> Option<T> {
        let (_, item) = self.dbs[db].items.get_index_mut(index)?;
        self.used -= item.value.footprint();
        let outcome = change(&mut item.value);
        self.used += item.value.footprint();
        Some(outcome)
    }
}
