//! Reads `[auth]`, and the keys in the files that it names.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::auth::Auth;
use super::files;
use super::reader::Reader;
use super::{redact, value};
use crate::auth::{Algorithm, BadKey, KeySet, Policy, TrustedKey, Verifier};

const SECRETS: &str = "auth.secret_files";
const PUBLIC: &str = "auth.public_key_files";
const JWKS: &str = "auth.jwks";
const ALGORITHMS: &str = "auth.algorithms";
/// The maximum number of keys that are read from files.
const MOST: usize = 100;

pub fn auth(reader: &mut Reader) -> Auth {
    let mut keys = token_secrets(reader);
    keys.extend(public_keys(reader));
    let jwks = jwks(reader, &mut keys);
    if keys.len() > MOST {
        reader.reject(PUBLIC, &format!("makes more than {MOST} keys together with the others"));
    }
    let max_age = reader.duration("auth.max_age");
    let policy = Policy {
        algorithms: algorithms(reader),
        issuer: Some(reader.plain("auth.issuer")).filter(|text| !text.is_empty()),
        audience: Some(reader.plain("auth.audience")).filter(|text| !text.is_empty()),
        leeway: reader.duration("auth.leeway"),
        max_age: Some(max_age).filter(|age| *age > Duration::ZERO),
    };
    let verifier = Verifier { keys: Arc::new(KeySet(keys)), policy: Arc::new(policy) };
    Auth { verifier, jwks, query: reader.boolean("auth.query") }
}

/// Reads each of the files that a key lists.
fn files(reader: &mut Reader, path: &'static str) -> Vec<Vec<u8>> {
    let Some(names) = reader.get(path, value::list) else {
        reader.reject(path, "must be a list of file names, such as [\"/etc/headcount/token-key\"]");
        return Vec::new();
    };
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let shown: Vec<String> = names.iter().map(|name| value::quoted(redact::accepted(name))).collect();
    reader.effective.insert(path, format!("[{}]", shown.join(", ")));
    names.into_iter().filter_map(|name| files::read(reader, path, PathBuf::from(name))).collect()
}

fn token_secrets(reader: &mut Reader) -> Vec<TrustedKey> {
    let mut keys = Vec::new();
    for bytes in files(reader, SECRETS) {
        let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        match TrustedKey::secret(secret.strip_suffix(b"\r").unwrap_or(secret)) {
            Ok(key) => keys.push(key),
            Err(why) => reader.reject(SECRETS, &why.to_string()),
        }
    }
    keys
}

fn public_keys(reader: &mut Reader) -> Vec<TrustedKey> {
    let mut keys = Vec::new();
    for pem in files(reader, PUBLIC) {
        let found: Result<Vec<TrustedKey>, BadKey> = SubjectPublicKeyInfoDer::pem_slice_iter(&pem)
            .map(|info| TrustedKey::public(info.map_err(|_| BadKey::NotPublic)?.as_ref()))
            .collect();
        match found {
            Ok(found) if !found.is_empty() => keys.extend(found),
            _ => reader.reject(PUBLIC, &BadKey::NotPublic.to_string()),
        }
    }
    keys
}

/// Returns the address of a key set. If the key names a file instead, its keys are read at once.
fn jwks(reader: &mut Reader, keys: &mut Vec<TrustedKey>) -> Option<Uri> {
    let text = reader.plain(JWKS);
    if text.contains("://") {
        let address = text.parse::<Uri>().ok().filter(|uri| {
            let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            uri.scheme_str() == Some("https") && plain
        });
        if address.is_none() {
            reader.reject(JWKS, "must be a file, or an address such as \"https://login.example.com/jwks.json\"");
        }
        return address;
    }
    if let Some(set) = (!text.is_empty()).then(|| files::read(reader, JWKS, PathBuf::from(text))).flatten() {
        match KeySet::from_jwks(&set, true) {
            Ok(found) => keys.extend(found.0),
            Err(why) => reader.reject(JWKS, &why.to_string()),
        }
    }
    None
}

fn algorithms(reader: &mut Reader) -> Vec<Algorithm> {
    let names = reader.get(ALGORITHMS, value::list).unwrap_or_default();
    let algorithms: Vec<Algorithm> = names.iter().filter_map(|name| Algorithm::named(name)).collect();
    if algorithms.is_empty() || algorithms.len() != names.len() {
        let all: Vec<_> = Algorithm::all().map(Algorithm::name).collect();
        reader.reject(ALGORITHMS, &format!("must be a list of some of {}", all.join(", ")));
    }
    let shown: Vec<_> = algorithms.iter().map(|algorithm| value::quoted(algorithm.name())).collect();
    reader.effective.insert(ALGORITHMS, format!("[{}]", shown.join(", ")));
    algorithms
}
