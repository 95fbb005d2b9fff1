//! Where the saving of a large value goes on.

use crate::store::small_bytes::SmallBytes;
use crate::store::stream::Id;

/// How far the state of a value is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Up to this element, or this byte of a string, or this node of a stream.
    Element(usize),
    /// All entries of a stream and, of this group, what was pending up to an id; `None` is all of it.
    Group(SmallBytes, Option<Id>),
}
