//! The value of a key: one of six types.
//!
//! Each type knows its name, the encoding that Redis would have chosen for it (`OBJECT ENCODING`), and
//! roughly how many bytes it takes.

use std::borrow::Cow;

use super::number::parse_int;
use super::small_bytes::SmallBytes;
use super::stream::Stream;
use super::undo::Changes;
use super::zset::Zset;

mod hash;
mod list;
mod logs;
mod set;

pub use hash::Hash;
pub use list::List;
pub use logs::{CollectionKind, Logs};
pub use set::Set;

/// The value of a key.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string that is a canonical integer.
    Int(i64),
    /// Any other string.
    Text(SmallBytes),
    /// A string that is edited in place.
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
    /// Creates a string value, kept as an integer if it is one.
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

    /// The name of the type, as `TYPE` reports it.
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

    /// The name of the encoding that Redis would use for this value.
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Text(bytes) if bytes.len() <= 44 => "embstr",
            Self::Text(_) | Self::Growing(_) => "raw",
            Self::List(_) => "quicklist",
            Self::Hash(hash) if !hash.is_compact() => "hashtable",
            Self::Hash(_) => "listpack",
            Self::Set(set) if !set.is_compact() => "hashtable",
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

    /// An estimate of the bytes that the value takes besides its slot in the table.
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
    /// The kind of the collection.
    const KIND: CollectionKind;
    /// Wraps the collection as a value.
    fn into_value(self) -> Value;
    /// Returns the collection, if the value is of this type.
    fn of(value: &Value) -> Option<&Self>;
    /// Returns the collection for editing, if the value is of this type.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// See [`Value::footprint`].
    fn footprint(&self) -> usize;
    /// Starts recording its changes, appending them to `logs`; returns how many `logs` holds so far.
    fn start_noting(&mut self, logs: &mut Logs) -> usize;
    /// Stops recording its changes; returns how many `logs` holds now.
    fn stop_noting(&mut self, logs: &mut Logs) -> usize;
    /// Undoes the last `count` changes.
    fn undo(&mut self, logs: &mut Logs, count: usize);
}

fn take<C>(log: &mut Option<Box<Changes<C>>>) -> (usize, Box<Changes<C>>) {
    let changes = log.take().unwrap_or_default();
    (changes.list.len(), changes)
}

macro_rules! collection {
    ($type:ident, $log:ident) => {
        collection!($type, $log, |value: &mut $type, changes| value.changes.start(changes), |value: &mut $type| value
            .changes
            .stop());
    };
    ($type:ident, $log:ident, $start:expr, $stop:expr) => {
        impl Collection for $type {
            const KIND: CollectionKind = CollectionKind::$type;
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
            fn start_noting(&mut self, logs: &mut Logs) -> usize {
                let (before, changes) = take(&mut logs.$log);
                ($start)(self, changes);
                before
            }
            fn stop_noting(&mut self, logs: &mut Logs) -> usize {
                logs.$log = ($stop)(self);
                logs.$log.as_ref().map_or(0, |changes| changes.list.len())
            }
            fn undo(&mut self, logs: &mut Logs, count: usize) {
                for _ in 0..count {
                    if let Some(change) = logs.$log.as_mut().and_then(|changes| changes.list.pop()) {
                        $type::undo(self, change);
                    }
                }
            }
        }
    };
}

collection!(List, list);
collection!(Hash, hash);
collection!(Set, set);
collection!(Zset, zset);
collection!(Stream, stream, Stream::start_noting, Stream::stop_noting);

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
