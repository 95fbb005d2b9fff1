//! A byte string that needs no allocation while it is short.
//!
//! Keys, members, fields and values are mostly a few bytes long. A `SmallBytes` keeps up to 22 bytes
//! within its own 24 and puts longer strings on the heap, at their exact size. It is read as a slice
//! and never grows in place.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The longest byte string that needs no allocation.
pub const INLINE: usize = 22;

/// An immutable byte string that takes 24 bytes and, if longer than [`INLINE`], a copy on the heap.
#[derive(Clone)]
pub enum SmallBytes {
    /// The number of bytes in use, and the bytes.
    Inline(u8, [u8; INLINE]),
    /// A longer string.
    Heap(Box<[u8]>),
}

impl SmallBytes {
    /// Copies `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            Self::Inline(bytes.len() as u8, inline)
        } else {
            Self::Heap(bytes.into())
        }
    }

    /// How many bytes it takes on the heap, including the allocator's overhead.
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Heap(bytes) => bytes.len() + 16,
        }
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for SmallBytes {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= INLINE { Self::new(&bytes) } else { Self::Heap(bytes.into_boxed_slice()) }
    }
}

impl Borrow<[u8]> for SmallBytes {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Hash for SmallBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SmallBytes {}

impl PartialOrd for SmallBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SmallBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_three_words_and_equals_its_bytes() {
        assert_eq!(size_of::<SmallBytes>(), 24);
        for len in [0, 1, 22, 23, 1000] {
            let bytes = vec![b'x'; len];
            assert_eq!(&*SmallBytes::new(&bytes), &bytes[..]);
            assert_eq!(SmallBytes::from(bytes.clone()), SmallBytes::new(&bytes));
        }
    }
}
