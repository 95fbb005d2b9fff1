//! The trusted keys, and which of them a token is checked with.

use super::algorithm::Algorithm;
use super::key::TrustedKey;

/// The maximum number of keys that one token is checked with: each check costs a signature verification.
const TRIED: usize = 16;

/// All trusted keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(pub Vec<TrustedKey>);

impl KeySet {
    /// Returns whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a key has this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// Returns whether all keys are secrets, which makes a check cheap.
    pub(super) fn are_secrets(&self) -> bool {
        self.0.iter().all(|key| key.as_secret().is_some())
    }

    /// Returns the first secret, which can also sign tokens.
    pub fn secret(&self) -> Option<&[u8]> {
        self.0.iter().find_map(TrustedKey::as_secret)
    }

    /// Returns whether one of these keys made the signature. A token with a key id is checked with the key of
    /// that id and with the keys that have none; a token without one is checked with all keys.
    pub(super) fn verify(&self, algorithm: Algorithm, id: Option<&str>, message: &[u8], signed: &[u8]) -> bool {
        let meant = |key: &&TrustedKey| key.id.is_none() || id.is_none() || key.id.as_deref() == id;
        let mut candidates = self.0.iter().filter(|key| key.is_for(algorithm)).filter(meant).take(TRIED);
        candidates.any(|key| key.verifies(algorithm, message, signed))
    }
}
