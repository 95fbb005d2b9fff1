//! The typed values of `[auth]`.

use hyper::Uri;

use crate::auth::Verifier;

/// `[auth]`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Auth {
    /// Verifies tokens with the keys from files.
    pub verifier: Verifier,
    /// The address from which further keys are fetched.
    pub jwks: Option<Uri>,
    /// Whether a token may be in the query.
    pub query: bool,
}

impl Auth {
    /// Returns whether tokens are accepted.
    pub fn is_on(&self) -> bool {
        self.jwks.is_some() || !self.verifier.keys.is_empty()
    }
}
