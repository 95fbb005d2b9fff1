//! Scripts by the SHA-1 of their sources.

use std::collections::HashMap;

use sha1::{Digest, Sha1};

use crate::store::number::hex;
use crate::store::small_bytes::SmallBytes;

/// More scripts than this are forgotten together, so that a client which sends a new one each time
/// does not fill the memory.
const MOST: usize = 10_000;
/// The same for their length in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Scripts by the lower case hexadecimal SHA-1 of their source.
#[derive(Debug, Default)]
pub struct Scripts {
    sources: HashMap<SmallBytes, SmallBytes>,
    bytes: usize,
}

impl Scripts {
    /// Keeps a script under its SHA-1.
    pub fn insert(&mut self, name: &[u8], source: &[u8]) {
        if self.sources.insert(SmallBytes::new(name), SmallBytes::new(source)).is_none() {
            self.bytes += source.len();
        }
    }

    /// The source of a script.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.sources.get(name).map(|source| &**source)
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether one more of this length is too much.
    pub fn is_full(&self, length: usize) -> bool {
        self.sources.len() >= MOST || self.bytes + length > MOST_BYTES.max(length)
    }
}

/// The SHA-1 of some bytes in lower case hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    hex(&Sha1::digest(bytes))
}
