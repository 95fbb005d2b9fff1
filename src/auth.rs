//! Tokens: who somebody is and what they may do, signed by somebody whom the configuration trusts.
//!
//! In: a JSON Web Token (RFC 7519) as a client shows it, and the time. Out: a [`Grant`], or in a few words
//! why not. No I/O but a thread of its own for what takes long, and no word of sockets or of the store, so that
//! any layer may ask. The rules: which algorithm a key is used with is decided by the key and by the
//! configuration, never by the token alone; nothing of a token, and nothing of a key, is in an error or in a
//! debug text.
//!
//! The signatures are ring's, which is here for TLS already.

mod algorithm;
mod claims;
mod der;
mod grant;
mod json;
mod jwks;
mod key;
mod keys;
mod revoked;
mod sign;
mod tokens;
mod verification;
mod verifier;
#[cfg(test)]
mod verifier_tests;

pub use algorithm::Algorithm;
pub use grant::{Grant, Right, Rights};
pub use jwks::JWKS_BYTES;
pub use key::{BadKey, Key};
pub use keys::Keys;
pub use revoked::{Revoked, is_name};
pub use sign::sign;
pub use tokens::{Tokens, now, now_ms};
pub use verification::{Verdict, Verification};
pub use verifier::{Denied, Policy, Verifier};
