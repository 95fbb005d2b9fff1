//! Where to resume saving a large value.

use crate::store::small_bytes::SmallBytes;
use crate::store::stream::Id;

/// How far a value has been saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// Up to this element, or this byte of a string, or this node of a stream.
    Element(usize),
    /// All entries of a stream and, for this group, the pending entries up to an id; `None` means all of them.
    Group(SmallBytes, Option<Id>),
}
