//! Up to a hundred entries of a stream in one block of bytes, in the same form as in Redis.
//!
//! The block is a listpack. It begins with the numbers of live and of deleted entries and the names of the first
//! entry's fields, so that an entry with the same fields need not repeat them. The entries follow: flags, the
//! difference between the entry's id and the node's, the fields, and the number of elements.

use crate::store::listpack::{self, Element, HEADER};
use crate::store::resp::Args;

use super::id::Id;

/// The most entries in a node, including deleted ones.
const MOST_ENTRIES: u64 = 100;
/// A node of this many bytes accepts no more entries.
const MOST_BYTES: usize = 4096;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// A run of entries.
#[derive(Debug, Clone)]
pub struct Node {
    /// The id of its first entry, even after that entry is deleted.
    pub first: Id,
    block: Vec<u8>,
}

/// A view of an entry of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: Id,
    block: &'a [u8],
    /// Where its fields and values begin, or only its values.
    at: usize,
    fields: usize,
    /// Where the names of its fields begin, if it shares them with the node.
    names: Option<usize>,
}

/// An entry and where it is in its node.
#[derive(Debug, Clone, Copy)]
pub struct EntryInNode<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where it begins in the block.
    pub at: usize,
    /// Where the next entry begins.
    pub next: usize,
}

impl<'a> Entry<'a> {
    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// The fields with their values.
    pub fn pairs(self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> {
        let (mut at, mut names) = (self.at, self.names);
        let read = move |from: &mut usize| {
            let (element, next) = listpack::read(self.block, *from)?;
            *from = next;
            Some(element)
        };
        (0..self.fields).map_while(move |_| {
            let name = match &mut names {
                Some(names) => read(names),
                None => read(&mut at),
            }?;
            Some((name, read(&mut at)?))
        })
    }
}

impl Node {
    /// Creates a node with the field names of its first entry, but without the entry itself.
    pub fn new(first: Id, fields: &Args) -> Self {
        let mut block = listpack::empty();
        listpack::push_int(&mut block, 0);
        listpack::push_int(&mut block, 0);
        listpack::push_int(&mut block, (fields.len() / 2) as i64);
        fields.iter().step_by(2).for_each(|name| listpack::push(&mut block, name));
        listpack::push_int(&mut block, 0);
        Self { first, block }
    }

    /// Makes a node of a block from outside the store, if the block is valid and its ids are higher than `after`.
    pub fn from_block(first: Id, block: Vec<u8>, after: Option<Id>) -> Option<Self> {
        let node = Self { first, block };
        if !listpack::is_valid(&node.block) || after.is_some_and(|after| first <= after) {
            return None;
        }
        let (mut at, mut last, mut live, mut deleted) = (node.body()?, after, 0, 0);
        while at < node.block.len() - 1 {
            let place = node.place(at)?;
            if last.is_some_and(|last| place.entry.id <= last) || place.entry.pairs().count() != place.entry.len() {
                return None;
            }
            *(if place.deleted { &mut deleted } else { &mut live }) += 1;
            (at, last) = (place.next, Some(place.entry.id));
        }
        (live == node.live() && deleted == node.deleted() && live > 0).then_some(node)
    }

    /// Its bytes.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// The memory that its block takes, in bytes.
    pub fn heap(&self) -> usize {
        self.block.capacity() + 16
    }

    /// Frees spare memory, since no more entries are added.
    pub fn finish(&mut self) {
        self.block.shrink_to_fit();
    }

    /// Whether the node has room for an entry of this many bytes.
    pub fn takes(&self, bytes: usize) -> bool {
        self.block.len() + bytes < MOST_BYTES && self.live() + self.deleted() < MOST_ENTRIES
    }

    /// Appends an entry.
    pub fn push(&mut self, id: Id, fields: &Args) {
        let same = self.has_names(fields);
        let count = (fields.len() / 2) as i64;
        let block = &mut self.block;
        listpack::push_int(block, if same { SAME_FIELDS } else { 0 });
        listpack::push_int(block, id.ms.wrapping_sub(self.first.ms) as i64);
        listpack::push_int(block, id.seq.wrapping_sub(self.first.seq) as i64);
        if same {
            fields.iter().skip(1).step_by(2).for_each(|value| listpack::push(block, value));
            listpack::push_int(block, count + 3);
        } else {
            listpack::push_int(block, count);
            fields.iter().for_each(|text| listpack::push(block, text));
            listpack::push_int(block, 2 * count + 4);
        }
        self.count(1, 0);
    }

    /// The number of live entries.
    pub fn live(&self) -> u64 {
        self.header().map_or(0, |(live, ..)| live)
    }

    /// The number of deleted entries, which still take up space.
    pub fn deleted(&self) -> u64 {
        self.header().map_or(0, |(_, deleted, _)| deleted)
    }

    /// All entries, including deleted ones.
    pub fn places(&self) -> impl Iterator<Item = EntryInNode<'_>> {
        let mut at = self.body();
        std::iter::from_fn(move || {
            let place = self.place(at?)?;
            at = Some(place.next);
            Some(place)
        })
    }

    /// The entry at a position; 0 means the first entry.
    pub fn place_at(&self, at: usize) -> Option<EntryInNode<'_>> {
        if at == 0 { self.place(self.body()?) } else { self.place(at) }
    }

    /// Marks the entry at a position as deleted.
    pub fn delete(&mut self, at: usize) {
        if let Some((Element::Int(flags), _)) = listpack::read(&self.block, at) {
            listpack::replace_int(&mut self.block, at, flags | DELETED);
            self.count(-1, 1);
        }
    }

    fn count(&mut self, live: i64, deleted: i64) {
        let Some((Element::Int(old), next)) = listpack::read(&self.block, HEADER) else { return };
        if deleted != 0
            && let Some((Element::Int(old), _)) = listpack::read(&self.block, next)
        {
            listpack::replace_int(&mut self.block, next, old + deleted);
        }
        listpack::replace_int(&mut self.block, HEADER, old + live);
    }

    /// The numbers of live and of deleted entries, and where the number of fields is.
    fn header(&self) -> Option<(u64, u64, usize)> {
        let (live, at) = listpack::read(&self.block, HEADER)?;
        let (deleted, at) = listpack::read(&self.block, at)?;
        Some((u64::try_from(live.int()?).ok()?, u64::try_from(deleted.int()?).ok()?, at))
    }

    /// The number of field names in the node, and where they begin.
    fn names(&self) -> Option<(usize, usize)> {
        let (_, _, at) = self.header()?;
        let (count, at) = listpack::read(&self.block, at)?;
        Some((usize::try_from(count.int()?).ok()?, at))
    }

    /// Where the first entry begins.
    fn body(&self) -> Option<usize> {
        let (count, at) = self.names()?;
        Some(listpack::read(&self.block, skip(&self.block, at, count)?)?.1)
    }

    fn has_names(&self, fields: &Args) -> bool {
        let Some((count, mut at)) = self.names() else { return false };
        count == fields.len() / 2
            && fields.iter().step_by(2).all(|name| {
                let Some((element, next)) = listpack::read(&self.block, at) else { return false };
                at = next;
                element.with(|known| known == *name)
            })
    }

    fn place(&self, at: usize) -> Option<EntryInNode<'_>> {
        let block = &self.block[..];
        let int = |at: usize| {
            let (element, next) = listpack::read(block, at)?;
            Some((element.int()?, next))
        };
        let (flags, next) = int(at)?;
        let (ms, next) = int(next)?;
        let (seq, next) = int(next)?;
        let id = Id { ms: self.first.ms.wrapping_add(ms as u64), seq: self.first.seq.wrapping_add(seq as u64) };
        let (fields, names, values) = if flags & SAME_FIELDS != 0 {
            let (fields, names) = self.names()?;
            (fields, Some(names), next)
        } else {
            let (fields, next) = int(next)?;
            (usize::try_from(fields).ok()?, None, next)
        };
        let elements = if names.is_some() { fields } else { fields.checked_mul(2)? };
        let (_, next) = int(skip(block, values, elements)?)?;
        let entry = Entry { id, block, at: values, fields, names };
        Some(EntryInNode { entry, deleted: flags & DELETED != 0, at, next })
    }
}

/// Returns the position after this many elements.
fn skip(block: &[u8], at: usize, elements: usize) -> Option<usize> {
    let mut at = at;
    for _ in 0..elements {
        at = listpack::read(block, at)?.1;
    }
    Some(at)
}
