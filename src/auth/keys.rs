//! The keys that are trusted, and which of them a token is tried with.

use super::algorithm::Algorithm;
use super::key::Key;

/// The most keys that one token is tried with: each costs a signature's check.
const TRIED: usize = 16;

/// All keys that are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(pub Vec<Key>);

impl Keys {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key has this name.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Whether all are secrets, so that a check costs next to nothing.
    pub(super) fn are_secrets(&self) -> bool {
        self.0.iter().all(|key| key.as_secret().is_some())
    }

    /// The first secret, which tokens can be signed with.
    pub fn secret(&self) -> Option<&[u8]> {
        self.0.iter().find_map(Key::as_secret)
    }

    /// Whether a signature is that of one of these. A token that names its key is tried with that one, and
    /// with those that have no name; one that names none, with all.
    pub(super) fn verify(&self, algorithm: Algorithm, id: Option<&str>, message: &[u8], signed: &[u8]) -> bool {
        let meant = |key: &&Key| key.id.is_none() || id.is_none() || key.id.as_deref() == id;
        let mut candidates = self.0.iter().filter(|key| key.is_for(algorithm)).filter(meant).take(TRIED);
        candidates.any(|key| key.verifies(algorithm, message, signed))
    }
}
