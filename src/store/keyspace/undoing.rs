//! Running a script so that it can be undone: its changes are recorded from the start, and at the end they are kept
//! or undone, together with the log entries and notifications that they caused.

use super::undo::{Before, KeyPosition, UndoStep, put_key, undo_collection};
use super::{Item, Keyspace, SLOT};
use crate::store::value::Value;

/// Starts to record changes.
pub fn begin_script(keys: &mut Keyspace) {
    keys.undo.begin(keys.used);
    keys.tracking.begin_noting();
    keys.undo.before = Before { journal: keys.journal.mark(), ready: keys.ready.len() };
}

/// Keeps the script's changes, and forgets how to undo them.
pub fn keep_changes(keys: &mut Keyspace) {
    keys.tracking.keep_changes();
    let mut steps = keys.undo.end();
    for step in steps.drain(..) {
        match step {
            UndoStep::PutKey(_, _, Item { value, .. }, true) | UndoStep::SetValue(_, value) => keys.trash.throw(value),
            UndoStep::Unflush(_, flushed) => {
                let values = flushed.items.into_iter().map(|(key, item)| (key, item.value));
                keys.trash.throw_all(values.collect());
            }
            _ => {}
        }
    }
    keys.undo.clear(steps);
}

/// Undoes the recorded changes, and discards what would be logged and published about them.
pub fn undo_changes(keys: &mut Keyspace) {
    let mut steps = keys.undo.end();
    let mut taken = None;
    while let Some(step) = steps.pop() {
        take_back(keys, step, &mut taken);
    }
    keys.undo.clear(steps);
    keys.tracking.undo_changes();
    keys.events.take();
    keys.journal.undo(&keys.undo.before.journal);
    keys.ready.truncate(keys.undo.before.ready);
}

/// Undoes one change. `taken` is the value that was removed last, for the step that puts its key back.
fn take_back(keys: &mut Keyspace, step: UndoStep, taken: &mut Option<Value>) {
    match step {
        UndoStep::PopKey(db) => {
            let Some((key, item)) = keys.dbs[db].items.pop() else { return };
            keys.used -= SLOT + key.heap_size() + item.value.footprint();
            if item.expires != 0 {
                keys.dbs[db].expiring.remove(&(item.expires, key));
            }
            *taken = Some(item.value);
        }
        UndoStep::PutKey((db, index), key, mut item, is_here) => {
            if !is_here && let Some(value) = taken.take() {
                item.value = value;
            }
            keys.used += put_key(&mut keys.dbs[db], index, key, item);
        }
        UndoStep::SetValue(position, value) => *taken = change(keys, position, |now| std::mem::replace(now, value)),
        UndoStep::SetBytes(position, length, at, old) => {
            change(keys, position, |value| {
                if let Value::Growing(bytes) = value {
                    bytes.resize(length, 0);
                    bytes[at..at + old.len()].copy_from_slice(&old);
                }
            });
        }
        UndoStep::SetExpiry((db, index), at) => {
            let db = &mut keys.dbs[db];
            let Some((key, item)) = db.items.get_index_mut(index) else { return };
            let now = std::mem::replace(&mut item.expires, at);
            if now != 0 {
                db.expiring.remove(&(now, key.clone()));
            }
            if at != 0 {
                db.expiring.insert((at, key.clone()));
            }
        }
        UndoStep::Collection(position, kind, count) => {
            let mut logs = std::mem::take(&mut keys.undo.logs);
            change(keys, position, |value| undo_collection(value, kind, &mut logs, count));
            keys.undo.logs = logs;
        }
        UndoStep::Unflush(db, flushed) => keys.unflush(db, *flushed),
        UndoStep::Swap(one, other) => keys.exchange(one, other),
        UndoStep::SetVersion(db, key, version) => keys.dbs[db].watchers.set_version(&key, version),
    }
}

/// Changes a value of any type, and updates the memory count.
fn change<T>(keys: &mut Keyspace, (db, index): KeyPosition, change: impl FnOnce(&mut Value) -> T) -> Option<T> {
    let (_, item) = keys.dbs[db].items.get_index_mut(index)?;
    keys.used -= item.value.footprint();
    let outcome = change(&mut item.value);
    keys.used += item.value.footprint();
    Some(outcome)
}
