//! One key, and the algorithms that it may be used with.

use std::fmt;

use ring::{hmac, signature};
use rustls::pki_types::alg_id;

use super::algorithm::Algorithm;
use super::der;

/// The shortest secret: RFC 7518, section 3.2, requires this length for HS256.
const SHORTEST_SECRET: usize = 32;
/// The length of an RSA modulus in bytes: 2,048 to 8,192 bits, the range that ring supports.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// The length of an RSA exponent in bytes, as ring supports it.
const EXPONENT: std::ops::RangeInclusive<usize> = 1..=5;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A secret that is short enough to be guessed.
    #[error("has a secret of fewer than 32 bytes; make one with: openssl rand -base64 48")]
    Short,
    /// Not a public key of a supported kind.
    #[error(
        "is not a PEM public key of RSA (2048 to 8192 bits), P-256, P-384 or Ed25519; such a file begins with \
         BEGIN PUBLIC KEY"
    )]
    NotPublic,
    /// Not a set of keys.
    #[error("is not a JSON Web Key Set: one JSON object with a list \"keys\"")]
    NotASet,
    /// A set without a key that can verify signatures.
    #[error("is a JSON Web Key Set without a key of a supported kind")]
    NoKeys,
    /// Too large to be a set of keys.
    #[error("is too large: a JSON Web Key Set has at most 256 KiB and 100 keys")]
    TooLarge,
}

/// The part of a key that verifies signatures.
#[derive(Clone, PartialEq, Eq)]
enum Material {
    Secret(Box<[u8]>),
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// An uncompressed point of P-256 or P-384, or an Ed25519 key.
    Public(Box<[u8]>),
}

/// A trusted key.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The id by which tokens refer to it, if it has one.
    pub(super) id: Option<Box<str>>,
    /// The algorithms that it may be used with, whatever a token says.
    algorithms: Vec<Algorithm>,
    material: Material,
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl TrustedKey {
    /// Makes a key from a secret that the signer has, too.
    ///
    /// # Errors
    /// [`BadKey::Short`]
    pub fn secret(secret: &[u8]) -> Result<Self, BadKey> {
        if secret.len() < SHORTEST_SECRET {
            return Err(BadKey::Short);
        }
        let algorithms = vec![Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
        Ok(Self { id: None, algorithms, material: Material::Secret(secret.into()) })
    }

    /// Makes a key from a SubjectPublicKeyInfo, the content of a PEM file.
    ///
    /// # Errors
    /// [`BadKey::NotPublic`]
    pub fn public(info: &[u8]) -> Result<Self, BadKey> {
        let (kind, key) = der::public_key(info).ok_or(BadKey::NotPublic)?;
        let found = match kind {
            _ if kind == alg_id::RSA_ENCRYPTION.as_ref() => {
                let (n, e) = der::rsa(key).ok_or(BadKey::NotPublic)?;
                Self::rsa(n, e)
            }
            _ if kind == alg_id::ECDSA_P256.as_ref() => Self::point(Algorithm::Es256, key),
            _ if kind == alg_id::ECDSA_P384.as_ref() => Self::point(Algorithm::Es384, key),
            _ if kind == alg_id::ED25519.as_ref() => Self::ed25519(key),
            _ => None,
        };
        found.ok_or(BadKey::NotPublic)
    }

    /// Makes an RSA key from its modulus and exponent, as unsigned numbers.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let [n, e] = [n, e].map(|number| &number[number.iter().take_while(|byte| **byte == 0).count()..]);
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !MODULUS.contains(&n.len()) || !EXPONENT.contains(&e.len()) || !odd(n) || !odd(e) || e == [1] {
            return None;
        }
        let algorithms = vec![Algorithm::Rs256, Algorithm::Ps256];
        Some(Self { id: None, algorithms, material: Material::Rsa { n: n.into(), e: e.into() } })
    }

    /// Makes a key from a point on an algorithm's curve.
    pub(super) fn point(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let length = if algorithm == Algorithm::Es256 { 65 } else { 97 };
        let whole = point.len() == length && point[0] == 4;
        whole.then(|| Self { id: None, algorithms: vec![algorithm], material: Material::Public(point.into()) })
    }

    /// Makes an Ed25519 key.
    pub(super) fn ed25519(key: &[u8]) -> Option<Self> {
        let material = Material::Public(key.into());
        (key.len() == 32).then(|| Self { id: None, algorithms: vec![Algorithm::EdDsa], material })
    }

    /// Gives the key an id, and restricts it to the algorithm `only`, if there is one.
    pub(super) fn named(mut self, id: Option<&str>, only: Option<Algorithm>) -> Self {
        self.id = id.map(Into::into);
        self.algorithms.retain(|algorithm| only.is_none_or(|only| only == *algorithm));
        self
    }

    /// Returns whether the key may be used with this algorithm.
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Returns the secret, if the key is one.
    pub(super) fn as_secret(&self) -> Option<&[u8]> {
        if let Material::Secret(secret) = &self.material { Some(secret) } else { None }
    }

    /// Returns whether this key made the signature `signed`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match &self.material {
            Material::Secret(secret) => {
                let digest = match algorithm {
                    Algorithm::Hs256 => hmac::HMAC_SHA256,
                    Algorithm::Hs384 => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                hmac::verify(&hmac::Key::new(digest, secret), message, signed).is_ok()
            }
            Material::Rsa { n, e } => {
                let scheme = match algorithm {
                    Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    _ => &signature::RSA_PSS_2048_8192_SHA256,
                };
                signature::RsaPublicKeyComponents { n, e }.verify(scheme, message, signed).is_ok()
            }
            Material::Public(key) => {
                let scheme: &dyn signature::VerificationAlgorithm = match algorithm {
                    Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => &signature::ED25519,
                };
                signature::UnparsedPublicKey::new(scheme, key).verify(message, signed).is_ok()
            }
        }
    }
}
