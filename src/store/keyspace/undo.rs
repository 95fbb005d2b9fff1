//! The changes that a script has made to the databases, so that they can be undone.
//!
//! While a script runs, each change leaves a step here that undoes it. Removed keys and values move here instead of
//! being dropped, and a collection records its own changes, so a change costs about the same whether or not it is
//! recorded. They are undone from the last to the first, each on the databases as its change left them, so positions
//! in tables are enough to identify keys.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use indexmap::IndexMap;

use super::db::{Db, Item, SLOT};
use super::snapshot::Begun;
use crate::store::journal::Mark;
use crate::store::lazyfree::LazyFree;
use crate::store::small_bytes::SmallBytes;
use crate::store::stream::Stream;
use crate::store::value::{Collection, CollectionKind, Hash, List, Logs, Set, Value};
use crate::store::zset::Zset;

/// A database and the position of a key in its table.
pub type KeyPosition = (usize, usize);

/// A step that undoes one change.
#[derive(Debug)]
pub enum UndoStep {
    /// Removes the last key of a database.
    PopKey(usize),
    /// Puts a key back where it was. The flag says whether the item holds the value; if not, the value is the last
    /// one that was removed while undoing.
    PutKey(KeyPosition, SmallBytes, Item, bool),
    /// Replaces the value of a key.
    SetValue(KeyPosition, Value),
    /// Restores the length of a string and its bytes from a position on.
    SetBytes(KeyPosition, usize, usize, Vec<u8>),
    /// Restores when a key expires.
    SetExpiry(KeyPosition, u64),
    /// Undoes the last changes of a collection.
    Collection(KeyPosition, CollectionKind, usize),
    /// Puts back all keys of a database.
    Unflush(usize, Box<Flushed>),
    /// Swaps two databases.
    Swap(usize, usize),
    /// Restores the version of a watched key.
    SetVersion(usize, SmallBytes, u64),
}

/// The contents of a flushed database.
#[derive(Debug)]
pub struct Flushed {
    pub items: IndexMap<SmallBytes, Item>,
    pub expiring: BTreeSet<(u64, SmallBytes)>,
    /// The value that a running rewrite had partly saved.
    pub begun: Option<Begun>,
}

/// A string that is longer than this many bytes is recorded as a whole only once.
const SHORT: usize = 64;
/// The largest capacity, in steps, that is kept for the next script.
const KEPT: usize = 64;
/// The most bytes of changes that a script may make, besides what it removes.
const MOST: usize = 256 << 20;

/// The state of other things when a script began.
#[derive(Debug, Default)]
pub struct Before {
    /// How far the current unit of the journal had been recorded.
    pub journal: Mark,
    /// How many changed keys that clients wait for had been collected.
    pub ready: usize,
}

/// The undo log of a script.
#[derive(Debug, Default)]
pub struct Undo {
    /// Whether changes are being recorded.
    pub on: bool,
    /// The recorded changes of collections.
    pub logs: Logs,
    /// The state of other things when the script began.
    pub before: Before,
    steps: Vec<UndoStep>,
    /// The strings recorded as a whole since positions last changed; further changes to them need no record.
    whole: HashSet<KeyPosition>,
    bytes: usize,
    used: usize,
}

impl Undo {
    /// Starts to record changes.
    pub fn begin(&mut self, used: usize) {
        self.on = true;
        self.used = used;
    }

    /// Records the step that undoes a change, if changes are being recorded.
    pub fn note(&mut self, step: impl FnOnce() -> UndoStep) {
        if self.on {
            self.add(step(), 0);
        }
    }

    /// Adds a step; `held` is about how many bytes it holds besides its own size.
    fn add(&mut self, step: UndoStep, held: usize) {
        if !self.whole.is_empty()
            && !matches!(step, UndoStep::SetBytes(..) | UndoStep::SetExpiry(..) | UndoStep::SetVersion(..))
        {
            self.whole.clear();
        }
        self.steps.push(step);
        self.bytes += held;
    }

    /// Records that a collection has recorded this many changes.
    pub fn note_changes(&mut self, position: KeyPosition, kind: CollectionKind, count: usize) {
        if count > 0 {
            self.steps.push(UndoStep::Collection(position, kind, count));
        }
    }

    /// Records how to undo a change to these ranges of a string, which may also become longer.
    pub fn note_string(&mut self, position: KeyPosition, value: &Value, ranges: &[Range<usize>]) {
        let Value::Growing(bytes) = value else {
            // An integer or a short text becomes another value; anything else is not a string and stays the same.
            if matches!(value, Value::Int(_) | Value::Text(_)) {
                self.add(UndoStep::SetValue(position, value.clone()), value.footprint());
            }
            return;
        };
        for range in ranges {
            let at = range.start.min(bytes.len());
            let old = &bytes[at..range.end.clamp(at, bytes.len())];
            if old.len() > SHORT && old.len() == bytes.len() && !self.whole.insert(position) {
                continue;
            }
            let old = old.to_vec();
            let held = old.len();
            self.add(UndoStep::SetBytes(position, bytes.len(), at, old), held);
        }
    }

    /// Takes a value that was replaced: keeps it if changes are being recorded, or else throws it away.
    pub fn replaced(&mut self, position: KeyPosition, old: Value, trash: &mut LazyFree) {
        if self.on {
            let held = old.footprint();
            self.add(UndoStep::SetValue(position, old), held);
        } else {
            trash.throw(old);
        }
    }

    /// Takes a value that was just removed: keeps it with the step that puts its key back, if there is one, or else
    /// throws it away.
    pub fn discard(&mut self, value: Value, trash: &mut LazyFree) {
        match self.steps.last_mut() {
            Some(UndoStep::PutKey(_, _, item, is_here @ false)) if self.on => {
                self.bytes += value.footprint();
                (item.value, *is_here) = (value, true);
            }
            _ => trash.throw(value),
        }
    }

    /// Whether the script has changed so much that it must not change more. What it has removed does not count,
    /// because it was there before. `used` is the memory that keys and values take now.
    pub fn is_full(&self, used: usize) -> bool {
        let held = || self.steps.len() * size_of::<UndoStep>() + self.bytes + self.logs.size();
        self.on && held() > MOST + self.used.saturating_sub(used)
    }

    /// Stops recording; returns the steps, which the caller undoes or drops.
    pub fn end(&mut self) -> Vec<UndoStep> {
        self.on = false;
        self.bytes = 0;
        self.whole.clear();
        std::mem::take(&mut self.steps)
    }

    /// Clears the recorded changes, and keeps a small buffer for the next script's steps.
    pub fn clear(&mut self, mut steps: Vec<UndoStep>) {
        self.logs.clear();
        if steps.capacity() <= KEPT {
            steps.clear();
            self.steps = steps;
        }
    }
}

/// Undoes the last `count` changes of a collection.
fn undo_in<T: Collection>(value: &mut Value, logs: &mut Logs, count: usize) {
    if let Some(collection) = T::of_mut(value) {
        collection.undo(logs, count);
    }
}

/// Undoes the last `count` changes of a collection of this kind.
pub fn undo_collection(value: &mut Value, kind: CollectionKind, logs: &mut Logs, count: usize) {
    match kind {
        CollectionKind::List => undo_in::<List>(value, logs, count),
        CollectionKind::Hash => undo_in::<Hash>(value, logs, count),
        CollectionKind::Set => undo_in::<Set>(value, logs, count),
        CollectionKind::Zset => undo_in::<Zset>(value, logs, count),
        CollectionKind::Stream => undo_in::<Stream>(value, logs, count),
    }
}

/// Puts a key back where it was, and moves the key there to the end; returns the memory that the restored key takes.
pub fn put_key(db: &mut Db, index: usize, key: SmallBytes, item: Item) -> usize {
    let taken = SLOT + key.heap_size() + item.value.footprint();
    if item.expires != 0 {
        db.expiring.insert((item.expires, key.clone()));
    }
    let (last, _) = db.items.insert_full(key, item);
    if index < last {
        db.items.swap_indices(index, last);
    }
    taken
}
