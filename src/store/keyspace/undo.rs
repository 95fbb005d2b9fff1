//! What a script has changed in the databases, so that it can be undone.
//!
//! While a script runs, each change leaves a step here that takes it back. Keys and values that go move here
//! instead of being dropped, and a collection notes its own changes, so a change costs about the same whether
//! it is noted or not. The steps are taken from the last to the first, each on the databases as the change has
//! left them; that is why positions in tables are enough to say what is meant.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use indexmap::IndexMap;

use super::db::{Db, Item, SLOT};
use super::snapshot::Begun;
use crate::store::journal::Mark;
use crate::store::lazyfree::LazyFree;
use crate::store::small_bytes::SmallBytes;
use crate::store::stream::Stream;
use crate::store::value::{Collection, Hash, Kind, List, Logs, Set, Value};
use crate::store::zset::Zset;

/// A database and the position of a key in its table.
pub type Place = (usize, usize);

/// Takes one change back.
#[derive(Debug)]
pub enum Step {
    /// Takes out the last key of a database.
    PopKey(usize),
    /// Puts a key back where it was. Its value is here, or else it is what the step before has taken out.
    PutKey(Place, SmallBytes, Item, bool),
    /// Puts another value under a key.
    SetValue(Place, Value),
    /// Makes a string as long as it was and puts back what stood in it from a position on.
    SetBytes(Place, usize, usize, Vec<u8>),
    /// Sets when a key ends.
    SetExpiry(Place, u64),
    /// Takes back the last changes of a collection.
    Collection(Place, Kind, usize),
    /// Puts back all keys of a database.
    Unflush(usize, Box<Flushed>),
    /// Exchanges two databases.
    Swap(usize, usize),
    /// Sets when a watched key was last changed.
    SetVersion(usize, SmallBytes, u64),
}

/// A database that was emptied.
#[derive(Debug)]
pub struct Flushed {
    pub items: IndexMap<SmallBytes, Item>,
    pub expiring: BTreeSet<(u64, SmallBytes)>,
    /// The value of which a running rewrite had saved a part.
    pub begun: Option<Begun>,
}

/// A string that is longer than this is noted whole only once, in bytes.
const SHORT: usize = 64;
/// Room that is kept for the next script's steps.
const KEPT: usize = 64;
/// A script may not have changed more than this, in bytes, beside what it has removed.
const MOST: usize = 256 << 20;

/// Where things stood when a script began.
#[derive(Debug, Default)]
pub struct Before {
    /// What was to be written.
    pub journal: Mark,
    /// How many awaited keys had changed.
    pub ready: usize,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Undo {
    /// Whether changes are noted.
    pub on: bool,
    /// The changes of collections.
    pub logs: Logs,
    /// Where other things stood when the script began.
    pub before: Before,
    steps: Vec<Step>,
    /// The strings that are noted whole since keys have last changed places: what becomes of them is noted.
    whole: HashSet<Place>,
    bytes: usize,
    used: usize,
}

impl Undo {
    /// Notes changes from here on.
    pub fn begin(&mut self, used: usize) {
        self.on = true;
        self.used = used;
    }

    /// Notes what takes a change back, if changes are noted.
    pub fn note(&mut self, step: impl FnOnce() -> Step) {
        if self.on {
            self.add(step(), 0);
        }
    }

    /// Adds a step, and about how many bytes it holds beside its own size.
    fn add(&mut self, step: Step, held: usize) {
        if !self.whole.is_empty() && !matches!(step, Step::SetBytes(..) | Step::SetExpiry(..) | Step::SetVersion(..)) {
            self.whole.clear();
        }
        self.steps.push(step);
        self.bytes += held;
    }

    /// Notes that a collection has noted changes.
    pub fn note_changes(&mut self, place: Place, kind: Kind, count: usize) {
        if count > 0 {
            self.steps.push(Step::Collection(place, kind, count));
        }
    }

    /// Notes what takes back a change of a string in these ranges, which may also become longer.
    pub fn note_string(&mut self, place: Place, value: &Value, ranges: &[Range<usize>]) {
        let Value::Growing(bytes) = value else {
            // It becomes another value, or is no string and stays what it is.
            if matches!(value, Value::Int(_) | Value::Text(_)) {
                self.add(Step::SetValue(place, value.clone()), value.footprint());
            }
            return;
        };
        for range in ranges {
            let at = range.start.min(bytes.len());
            let old = &bytes[at..range.end.clamp(at, bytes.len())];
            if old.len() > SHORT && old.len() == bytes.len() && !self.whole.insert(place) {
                continue;
            }
            let old = old.to_vec();
            let held = old.len();
            self.add(Step::SetBytes(place, bytes.len(), at, old), held);
        }
    }

    /// Lets go of a value in whose place there is another now.
    pub fn replaced(&mut self, place: Place, old: Value, trash: &mut LazyFree) {
        if self.on {
            let held = old.footprint();
            self.add(Step::SetValue(place, old), held);
        } else {
            trash.throw(old);
        }
    }

    /// Lets go of a value that was just taken out. It is kept with the step that puts its key back, if there is
    /// one.
    pub fn discard(&mut self, value: Value, trash: &mut LazyFree) {
        match self.steps.last_mut() {
            Some(Step::PutKey(_, _, item, is_here @ false)) if self.on => {
                self.bytes += value.footprint();
                (item.value, *is_here) = (value, true);
            }
            _ => trash.throw(value),
        }
    }

    /// Whether so much was changed that the script must change no more. What it has removed does not count, for
    /// it was there before. `used`: the memory that keys and values take now.
    pub fn is_full(&self, used: usize) -> bool {
        let held = || self.steps.len() * size_of::<Step>() + self.bytes + self.logs.size();
        self.on && held() > MOST + self.used.saturating_sub(used)
    }

    /// Notes no more; the steps, if they are to be taken, and else what is to be dropped.
    pub fn end(&mut self) -> Vec<Step> {
        self.on = false;
        self.bytes = 0;
        self.whole.clear();
        std::mem::take(&mut self.steps)
    }

    /// Makes room for the next script's steps.
    pub fn clear(&mut self, mut steps: Vec<Step>) {
        self.logs.clear();
        if steps.capacity() <= KEPT {
            steps.clear();
            self.steps = steps;
        }
    }
}

/// Takes back changes of a collection; says how its size has changed.
fn undo_in<T: Collection>(value: &mut Value, logs: &mut Logs, count: usize) {
    if let Some(collection) = T::of_mut(value) {
        collection.undo(logs, count);
    }
}

/// Takes back changes of the collection under a key.
pub fn undo_collection(value: &mut Value, kind: Kind, logs: &mut Logs, count: usize) {
    match kind {
        Kind::List => undo_in::<List>(value, logs, count),
        Kind::Hash => undo_in::<Hash>(value, logs, count),
        Kind::Set => undo_in::<Set>(value, logs, count),
        Kind::Zset => undo_in::<Zset>(value, logs, count),
        Kind::Stream => undo_in::<Stream>(value, logs, count),
    }
}

/// Puts a key back where it was, and what is there now to the end; says what it takes.
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
