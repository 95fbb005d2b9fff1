//! Tokens: who a client is and what it may do, signed by an issuer that the configuration trusts.
//!
//! In: a JSON Web Token (RFC 7519) from a client, and the time. Out: a [`Grant`], or a short reason for the
//! rejection. The module does no I/O; slow checks run on a thread of its own. It knows neither sockets nor the
//! store, so any layer may call it. The rules: the key and the configuration decide which algorithm a key is
//! used with, never the token alone; no part of a token or a key appears in an error or in debug output.
//!
//! The signatures are checked by ring, which TLS needs anyway.

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
pub(crate) use jwks::JWKS_BYTES;
pub use key::{BadKey, TrustedKey};
pub use keys::KeySet;
pub use revoked::Revoked;
pub(crate) use revoked::is_name;
pub use sign::sign;
pub use tokens::{Tokens, now, now_ms};
pub(crate) use verification::{Verdict, Verification};
pub use verifier::{Denied, Policy, Verifier};
