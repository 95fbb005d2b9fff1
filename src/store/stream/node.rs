//! Up to a hundred entries of a stream in one block of bytes, in the form in which Redis keeps them.
//!
//! The block is a listpack. It begins with how many entries live, how many are deleted, and the names of
//! the first entry's fields, so that an entry with the same fields need not repeat them. Then come the
//! entries: flags, the distance of the id from the node's, the fields, and how many elements that were.

use crate::store::listpack::{self, Element, HEADER};
use crate::store::resp::Args;

use super::id::Id;

/// Entries of a node, deleted ones included.
const MOST_ENTRIES: u64 = 100;
/// Bytes of a node that takes no more.
const MOST_BYTES: usize = 4096;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// A run of entries.
#[derive(Debug, Clone)]
pub struct Node {
    /// The id of its first entry, also after that was deleted.
    pub first: Id,
    block: Vec<u8>,
}

/// An entry of a stream, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: Id,
    block: &'a [u8],
    /// Where its fields and values are, or its values alone.
    at: usize,
    fields: usize,
    /// Where the names of its fields are, if they are the node's.
    names: Option<usize>,
}

/// An entry with what the node has to know of it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The entry.
    pub entry: Entry<'a>,
    /// Whether it is deleted.
    pub deleted: bool,
    /// Where it begins.
    pub at: usize,
    /// Where the next one begins.
    pub next: usize,
}

impl<'a> Entry<'a> {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields
    }

    /// Fields and values in turn.
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
    /// A node for an entry that is yet to be added.
    pub fn new(first: Id, fields: &Args) -> Self {
        let mut block = listpack::empty();
        listpack::push_int(&mut block, 0);
        listpack::push_int(&mut block, 0);
        listpack::push_int(&mut block, (fields.len() / 2) as i64);
        fields.iter().step_by(2).for_each(|name| listpack::push(&mut block, name));
        listpack::push_int(&mut block, 0);
        Self { first, block }
    }

    /// A node of a block that came from elsewhere, if it is one; its entries must be later than `after`.
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

    /// What it takes in memory beside its place among the nodes.
    pub fn heap(&self) -> usize {
        self.block.capacity() + 16
    }

    /// Gives back what it does not need, since nothing is added any more.
    pub fn finish(&mut self) {
        self.block.shrink_to_fit();
    }

    /// Whether an entry of this many bytes belongs here.
    pub fn takes(&self, bytes: usize) -> bool {
        self.block.len() + bytes < MOST_BYTES && self.live() + self.deleted() < MOST_ENTRIES
    }

    /// Adds an entry behind all others.
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

    /// How many entries live.
    pub fn live(&self) -> u64 {
        self.header().map_or(0, |(live, ..)| live)
    }

    /// How many are deleted and still take their place.
    pub fn deleted(&self) -> u64 {
        self.header().map_or(0, |(_, deleted, _)| deleted)
    }

    /// All entries, deleted ones included.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let mut at = self.body();
        std::iter::from_fn(move || {
            let place = self.place(at?)?;
            at = Some(place.next);
            Some(place)
        })
    }

    /// The entry at a position, and the first if it is 0.
    pub fn place_at(&self, at: usize) -> Option<Place<'_>> {
        if at == 0 { self.place(self.body()?) } else { self.place(at) }
    }

    /// Marks the entry at a position as deleted; says where the one behind it is.
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

    /// How many live, how many are deleted, and where the number of fields is.
    fn header(&self) -> Option<(u64, u64, usize)> {
        let (live, at) = listpack::read(&self.block, HEADER)?;
        let (deleted, at) = listpack::read(&self.block, at)?;
        Some((u64::try_from(live.int()?).ok()?, u64::try_from(deleted.int()?).ok()?, at))
    }

    /// How many fields the node names, and where.
    fn names(&self) -> Option<(usize, usize)> {
        let (_, _, at) = self.header()?;
        let (count, at) = listpack::read(&self.block, at)?;
        Some((usize::try_from(count.int()?).ok()?, at))
    }

    /// Where the first entry is.
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

    fn place(&self, at: usize) -> Option<Place<'_>> {
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
        Some(Place { entry, deleted: flags & DELETED != 0, at, next })
    }
}

/// Where one is after this many elements.
fn skip(block: &[u8], at: usize, elements: usize) -> Option<usize> {
    let mut at = at;
    for _ in 0..elements {
        at = listpack::read(block, at)?.1;
    }
    Some(at)
}
