//! The supported algorithms of RFC 7518 and RFC 8037.

/// The algorithm of a token's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

use Algorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Rs256};

/// Every algorithm with its name in tokens, keys and the configuration.
const NAMES: [(&str, Algorithm); 8] = [
    ("HS256", Hs256),
    ("HS384", Hs384),
    ("HS512", Hs512),
    ("RS256", Rs256),
    ("PS256", Ps256),
    ("ES256", Es256),
    ("ES384", Es384),
    ("EdDSA", EdDsa),
];

impl Algorithm {
    /// Returns the algorithm of this name. Names are case-sensitive, as RFC 7515 requires.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].0
    }

    /// Returns every algorithm.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(_, algorithm)| *algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_is_found_by_its_name_to_the_letter() {
        for algorithm in Algorithm::all() {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        for none in ["none", "None", "hs256", "HS256 ", "RS384", "ES256K", ""] {
            assert_eq!(Algorithm::named(none), None, "{none}");
        }
    }
}
