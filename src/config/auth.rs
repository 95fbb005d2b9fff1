//! Whose tokens are taken, typed.

use hyper::Uri;

use crate::auth::Verifier;

/// `[auth]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Auth {
    /// Checks tokens with the keys from files.
    pub verifier: Verifier,
    /// Where further keys are fetched from.
    pub jwks: Option<Uri>,
    /// Whether a token may be in the address.
    pub query: bool,
}

impl Auth {
    /// Whether tokens are taken.
    pub fn is_on(&self) -> bool {
        self.jwks.is_some() || !self.verifier.keys.is_empty()
    }
}
