//! What a key holds: one of six types.
//!
//! Each type knows its name, the name of the representation that Redis would have chosen for it
//! (`OBJECT ENCODING`), and about how many bytes it takes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use indexmap::{IndexMap, IndexSet};

use super::number::parse_int;
use super::small_bytes::SmallBytes;
use super::stream::Stream;
use super::zset::Zset;

/// The value of a key.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string that is a canonical integer.
    Int(i64),
    /// Any other string.
    Text(SmallBytes),
    /// A string that is written to in place.
    #[expect(clippy::box_collection, reason = "a vector beside the box would make every value larger")]
    Growing(Box<Vec<u8>>),
    /// A list.
    List(Box<List>),
    /// A hash.
    Hash(Box<Hash>),
    /// A set.
    Set(Box<Set>),
    /// A sorted set.
    Zset(Box<Zset>),
    /// A stream.
    Stream(Box<Stream>),
}

impl Value {
    /// A string value, kept as an integer if it is one.
    pub fn string(bytes: &[u8]) -> Self {
        match parse_int(bytes) {
            Some(number) => Self::Int(number),
            None => Self::Text(SmallBytes::new(bytes)),
        }
    }

    /// The bytes of a string; `None` for other types.
    pub fn as_string(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Text(bytes) => Some(Cow::Borrowed(bytes)),
            Self::Growing(bytes) => Some(Cow::Borrowed(bytes)),
            _ => None,
        }
    }

    /// The name of the type, as `TYPE` tells it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) | Self::Text(_) | Self::Growing(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Zset(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// The name of Redis's representation of this value.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(bytes) if bytes.len() <= 44 => "embstr",
            Self::Text(_) | Self::Growing(_) => "raw",
            Self::List(_) => "quicklist",
            Self::Hash(hash) if hash.outgrown => "hashtable",
            Self::Hash(_) => "listpack",
            Self::Set(set) if set.outgrown => "hashtable",
            Self::Set(_) => "intset",
            Self::Zset(zset) => zset.encoding(),
            Self::Stream(_) => "stream",
        }
    }

    /// The number of elements of a collection; a string has one.
    pub fn elements(&self) -> usize {
        match self {
            Self::Int(_) | Self::Text(_) | Self::Growing(_) => 1,
            Self::List(list) => list.len(),
            Self::Hash(hash) => hash.len(),
            Self::Set(set) => set.len(),
            Self::Zset(zset) => zset.len(),
            Self::Stream(stream) => stream.entries.len() as usize,
        }
    }

    /// An estimate of the bytes that the value takes beside its slot in the table.
    pub fn footprint(&self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Text(bytes) => bytes.heap_size(),
            Self::Growing(bytes) => bytes.capacity() + 40,
            Self::List(list) => list.footprint(),
            Self::Hash(hash) => hash.footprint(),
            Self::Set(set) => set.footprint(),
            Self::Zset(zset) => zset.footprint(),
            Self::Stream(stream) => stream.footprint(),
        }
    }
}

/// A collection type, so that lookups can be written once for all of them.
pub trait Collection: Default {
    /// Wraps the collection as a value.
    fn into_value(self) -> Value;
    /// The collection, if the value is of this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The collection to be changed, if the value is of this type.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// See [`Value::footprint`].
    fn footprint(&self) -> usize;
}

macro_rules! collection {
    ($type:ident) => {
        impl Collection for $type {
            fn into_value(self) -> Value {
                Value::$type(Box::new(self))
            }
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$type(inner) = value { Some(inner) } else { None }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$type(inner) = value { Some(inner) } else { None }
            }
            fn footprint(&self) -> usize {
                $type::footprint(self)
            }
        }
    };
}

collection!(List);
collection!(Hash);
collection!(Set);
collection!(Zset);
collection!(Stream);

/// A sequence of strings with two ends.
#[derive(Debug, Default, Clone)]
pub struct List {
    /// The elements, read and written by position.
    pub items: VecDeque<SmallBytes>,
    heap: usize,
}

impl List {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Adds an element in front or at the end.
    pub fn push(&mut self, front: bool, item: SmallBytes) {
        self.heap += item.heap_size();
        if front {
            self.items.push_front(item);
        } else {
            self.items.push_back(item);
        }
    }

    /// Takes the first or the last element.
    pub fn pop(&mut self, front: bool) -> Option<SmallBytes> {
        let item = if front { self.items.pop_front() } else { self.items.pop_back() }?;
        self.heap -= item.heap_size();
        Some(item)
    }

    /// Replaces the element at a position, which must be there.
    pub fn set(&mut self, index: usize, item: SmallBytes) {
        self.heap = self.heap + item.heap_size() - self.items[index].heap_size();
        self.items[index] = item;
    }

    /// Puts an element in front of a position.
    pub fn insert(&mut self, index: usize, item: SmallBytes) {
        self.heap += item.heap_size();
        self.items.insert(index, item);
    }

    /// Keeps the elements of a range alone.
    pub fn trim(&mut self, range: Range<usize>) {
        let outside = self.items.range(range.end..).chain(self.items.range(..range.start));
        self.heap -= outside.map(SmallBytes::heap_size).sum::<usize>();
        self.items.truncate(range.end);
        self.items.drain(..range.start);
    }

    /// Removes up to `left` elements that equal `wanted`, from the front or from the end.
    pub fn remove_equal(&mut self, wanted: &[u8], mut left: u64, front: bool) -> usize {
        let (before, mut freed) = (self.items.len(), 0);
        let keep = |item: &SmallBytes| {
            let hit = left > 0 && **item == *wanted;
            left -= u64::from(hit);
            freed += if hit { item.heap_size() } else { 0 };
            !hit
        };
        if front {
            self.items.retain(keep);
        } else {
            self.items.make_contiguous().reverse();
            self.items.retain(keep);
            self.items.make_contiguous().reverse();
        }
        self.heap -= freed;
        before - self.items.len()
    }

    fn footprint(&self) -> usize {
        64 + self.items.capacity() * 24 + self.heap
    }
}

/// Fields with values, in the order of their first insertion until one is removed.
#[derive(Debug, Default, Clone)]
pub struct Hash {
    fields: IndexMap<SmallBytes, SmallBytes>,
    heap: usize,
    outgrown: bool,
}

impl Hash {
    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field).map(|value| &**value)
    }

    /// A field by its position, which stays as long as nothing is removed.
    pub fn at(&self, position: usize) -> Option<(&[u8], &[u8])> {
        self.fields.get_index(position).map(|(field, value)| (&**field, &**value))
    }

    /// All fields with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(field, value)| (&**field, &**value))
    }

    /// Sets a field; returns whether it is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let value = SmallBytes::new(value);
        self.heap += value.heap_size();
        self.outgrown |= value.len() > 64 || field.len() > 64;
        if let Some(slot) = self.fields.get_mut(field) {
            self.heap -= slot.heap_size();
            *slot = value;
            return false;
        }
        let field = SmallBytes::new(field);
        self.heap += field.heap_size();
        self.fields.insert(field, value);
        self.outgrown |= self.fields.len() > 512;
        true
    }

    /// Takes a field out; returns whether it was there. A small hash keeps its order.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let removed =
            if self.outgrown { self.fields.swap_remove_entry(field) } else { self.fields.shift_remove_entry(field) };
        if let Some((field, value)) = &removed {
            self.heap -= field.heap_size() + value.heap_size();
        }
        removed.is_some()
    }

    /// Whether Redis would keep it in one block, which one `HSCAN` call returns whole.
    pub fn is_compact(&self) -> bool {
        !self.outgrown
    }

    fn footprint(&self) -> usize {
        120 + self.fields.len() * 70 + self.heap
    }
}

/// Strings, each once.
#[derive(Debug, Default, Clone)]
pub struct Set {
    members: IndexSet<SmallBytes>,
    heap: usize,
    outgrown: bool,
}

impl Set {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether this is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    /// A member by its position, which stays as long as nothing is removed.
    pub fn at(&self, position: usize) -> Option<&[u8]> {
        self.members.get_index(position).map(|member| &**member)
    }

    /// All members.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.members.iter().map(|member| &**member)
    }

    /// Adds a member; returns whether it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if self.members.contains(member) {
            return false;
        }
        self.outgrown |= self.members.len() >= 512 || parse_int(member).is_none();
        let member = SmallBytes::new(member);
        self.heap += member.heap_size();
        self.members.insert(member)
    }

    /// Takes a member out; returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.members.swap_take(member) {
            Some(member) => {
                self.heap -= member.heap_size();
                true
            }
            None => false,
        }
    }

    /// Takes the member at a position out.
    pub fn remove_at(&mut self, position: usize) -> Option<SmallBytes> {
        let member = self.members.swap_remove_index(position)?;
        self.heap -= member.heap_size();
        Some(member)
    }

    /// Whether Redis would keep it in one block, which one `SSCAN` call returns whole.
    pub fn is_compact(&self) -> bool {
        !self.outgrown
    }

    fn footprint(&self) -> usize {
        120 + self.members.len() * 45 + self.heap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn only_canonical_integers_become_integers() {
        assert!(matches!(Value::string(b"10"), Value::Int(10)));
        assert!(matches!(Value::string(b"010"), Value::Text(_)));
        assert_eq!(Value::string(b"10").as_string().as_deref(), Some(&b"10"[..]));
    }
}
