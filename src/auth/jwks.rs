//! JSON Web Key Sets, RFC 7517.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use super::key::{BadKey, TrustedKey};
use super::keys::KeySet;

/// The size of the largest set that is read.
pub const JWKS_BYTES: usize = 256 << 10;
/// The maximum number of keys in one set.
const KEYS: usize = 100;
/// The longest key id.
const LONGEST_ID: usize = 200;

impl KeySet {
    /// Reads the keys of a set that can verify signatures; other keys are skipped, as the RFC requires.
    /// `secrets`: whether the set may contain secrets, which only a file may.
    ///
    /// # Errors
    /// [`BadKey`]
    pub fn from_jwks(set: &[u8], secrets: bool) -> Result<Self, BadKey> {
        if set.len() > JWKS_BYTES {
            return Err(BadKey::TooLarge);
        }
        let set = json::object(set).ok_or(BadKey::NotASet)?;
        let Some(Value::Array(keys)) = set.get("keys") else { return Err(BadKey::NotASet) };
        if keys.len() > KEYS {
            return Err(BadKey::TooLarge);
        }
        let keys: Vec<TrustedKey> =
            keys.iter().filter_map(Value::as_object).filter_map(|jwk| key(jwk, secrets)).collect();
        if keys.is_empty() { Err(BadKey::NoKeys) } else { Ok(Self(keys)) }
    }
}

/// Reads one key, if it is for verifying and of a supported kind.
fn key(jwk: &Map<String, Value>, secrets: bool) -> Option<TrustedKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    if jwk.get("use").is_some_and(|its| its != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops")
        && !operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"))
    {
        return None;
    }
    let id = match jwk.get("kid") {
        Some(id) => Some(id.as_str().filter(|id| id.len() <= LONGEST_ID)?),
        None => None,
    };
    let only = match jwk.get("alg") {
        Some(name) => Some(Algorithm::named(name.as_str()?)?),
        None => None,
    };
    let found = match (text("kty")?, text("crv")) {
        ("RSA", _) => TrustedKey::rsa(&bytes("n")?, &bytes("e")?),
        ("EC", Some("P-256")) => TrustedKey::point(Algorithm::Es256, &point(bytes("x")?, bytes("y")?)),
        ("EC", Some("P-384")) => TrustedKey::point(Algorithm::Es384, &point(bytes("x")?, bytes("y")?)),
        ("OKP", Some("Ed25519")) => TrustedKey::ed25519(&bytes("x")?),
        ("oct", _) if secrets => TrustedKey::secret(&bytes("k")?).ok(),
        _ => None,
    };
    let key = found?.named(id, only);
    Algorithm::all().any(|algorithm| key.is_for(algorithm)).then_some(key)
}

fn point(x: Vec<u8>, y: Vec<u8>) -> Vec<u8> {
    [vec![4], x, y].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: Value) -> Result<usize, BadKey> {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), true).map(|keys| keys.0.len())
    }

    fn ed() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32]), "kid": "a" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn keys_for_other_ends_and_of_unknown_kinds_are_left_out() {
        assert_eq!(read(json!([ed()])), Ok(1));
        for other in [
            with(ed(), "use", json!("enc")),
            with(ed(), "key_ops", json!(["sign"])),
            with(ed(), "alg", json!("HS256")),
            with(ed(), "alg", json!("none")),
            with(ed(), "kid", json!(7)),
            with(ed(), "kid", json!("x".repeat(201))),
            with(ed(), "x", json!("AAAA")),
            with(ed(), "crv", json!("X25519")),
            with(ed(), "kty", json!("EC")),
            json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" }),
            json!({ "kty": "oct", "k": "c2hvcnQ" }),
            json!(7),
        ] {
            assert_eq!(read(json!([other, ed()])), Ok(1), "{other}");
            assert_eq!(read(json!([other])), Err(BadKey::NoKeys), "{other}");
        }
        let rsa = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB" });
        assert_eq!(read(json!([rsa])), Ok(1));
    }

    #[test]
    fn a_secret_comes_from_a_file_only() {
        let secret = json!({ "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]) }] }).to_string();
        assert!(KeySet::from_jwks(secret.as_bytes(), true).unwrap().secret().is_some());
        assert_eq!(KeySet::from_jwks(secret.as_bytes(), false), Err(BadKey::NoKeys));
    }

    #[test]
    fn a_set_that_is_none_or_too_large_is_refused() {
        assert_eq!(read(json!(vec![ed(); 10_000])), Err(BadKey::TooLarge));
        assert_eq!(read(json!(vec![ed(); 101])), Err(BadKey::TooLarge));
        assert_eq!(KeySet::from_jwks(&vec![b' '; 10 << 20], true), Err(BadKey::TooLarge));
        for none in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::from_jwks(none.as_bytes(), true), Err(BadKey::NotASet), "{none}");
        }
    }
}
