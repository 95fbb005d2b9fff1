//! Tokens by another library, PyJWT: the good ones are taken, and every known way to forge one is refused.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, SystemTime};

use headcount::auth::{Algorithm, Verifier};
use headcount::config::{Config, Overrides, load_from};
use serde_json::Value;

use crate::support::node::Scratch;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tests-python/bin/python");
const MAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/make.py");

fn make() -> Value {
    let made = Command::new(PYTHON).arg("-W").arg("ignore").arg(MAKE).output();
    let made = made.expect("target/tests-python is there; .ci/setup makes it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

fn config(keys: &[(&str, &str)]) -> Result<Config, String> {
    let env: HashMap<_, _> =
        keys.iter().map(|(key, value)| (format!("HEADCOUNT_AUTH__{key}"), value.to_string())).collect();
    load_from(&Overrides::default(), env).map(|loaded| loaded.config).map_err(|invalid| invalid.to_string())
}

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap()
}

fn path(file: &Scratch) -> &str {
    file.0.to_str().unwrap()
}

#[test]
fn every_algorithm_is_taken_and_every_forgery_is_refused_with_a_short_reason() {
    let made = make();
    let secret = Scratch::write("secret", &format!("{}\n", made["secret"].as_str().unwrap()));
    let pems: Vec<Scratch> =
        made["pems"].as_array().unwrap().iter().map(|pem| Scratch::write("key.pem", pem.as_str().unwrap())).collect();
    let pems = pems.iter().map(path).collect::<Vec<_>>().join(",");
    let jwks = Scratch::write("jwks.json", &made["jwks"].to_string());
    let by_files = config(&[("SECRET_FILES", path(&secret)), ("PUBLIC_KEY_FILES", &pems)]).unwrap().auth.verifier;
    let by_set = config(&[("JWKS", path(&jwks))]).unwrap().auth.verifier;
    let cases = made["cases"].as_array().unwrap();
    assert!(cases.len() > 200);
    for (what, verifier) in [("files", by_files), ("a set", by_set)] {
        for case in cases {
            check(what, &verifier, case);
        }
    }
}

fn check(what: &str, verifier: &Verifier, case: &Value) {
    let (name, token) = (case["name"].as_str().unwrap(), case["token"].as_str().unwrap());
    let verified = verifier.verify(token, now());
    match case["refused"].as_str().unwrap() {
        "" => {
            let grant = verified.unwrap_or_else(|why| panic!("{name} with {what}: {why}"));
            assert_eq!(grant.sub.as_deref(), Some("ann"), "{name} with {what}");
        }
        part => {
            let why = verified.map(drop).expect_err(&format!("{name} with {what} is taken")).to_string();
            assert!(why.contains(part) && why.len() < 120, "{name} with {what}: {why}");
        }
    }
}

#[test]
fn an_algorithm_that_the_configuration_leaves_out_is_not_taken_whatever_keys_there_are() {
    let made = make();
    let jwks = Scratch::write("jwks.json", &made["jwks"].to_string());
    for left in Algorithm::all() {
        let verifier = config(&[("JWKS", path(&jwks)), ("ALGORITHMS", left.name())]).unwrap().auth.verifier;
        for algorithm in Algorithm::all() {
            let case = made["cases"].as_array().unwrap().iter().find(|case| case["name"] == algorithm.name()).unwrap();
            let taken = verifier.verify(case["token"].as_str().unwrap(), now());
            assert_eq!(taken.is_ok(), algorithm == left, "{} with {}", algorithm.name(), left.name());
        }
    }
}

#[test]
fn a_key_file_of_no_use_is_a_mistake_that_shows_nothing_of_it() {
    let made = make();
    let weak: Vec<&str> = made["weak"].as_array().unwrap().iter().map(|pem| pem.as_str().unwrap()).collect();
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPrivateprivateprivateprivateprivatepriva\n-----END PRIVATE KEY-----\n";
    for (key, content, says) in [
        ("SECRET_FILES", "hunter2", "32 bytes"),
        ("SECRET_FILES", "hunter2hunter2hunter2hunter2hun\r\n", "32 bytes"),
        ("PUBLIC_KEY_FILES", weak[0], "2048"),
        ("PUBLIC_KEY_FILES", weak[1], "P-256"),
        ("PUBLIC_KEY_FILES", private, "BEGIN PUBLIC KEY"),
        ("PUBLIC_KEY_FILES", "hunter2", "BEGIN PUBLIC KEY"),
        ("JWKS", "hunter2", "Key Set"),
        ("JWKS", r#"{"keys":[{"kty":"oct","k":"hunter2"}]}"#, "without a key of a supported kind"),
    ] {
        let file = Scratch::write("bad", content);
        let why = config(&[(key, path(&file))]).expect_err(key);
        assert!(why.contains(says) && !why.contains("hunter2") && !why.contains("rivate"), "{key}: {why}");
    }
    for address in ["http://example.com/jwks.json", "https://me:hunter2@example.com/", "ftp://example.com/"] {
        let why = config(&[("JWKS", address)]).expect_err(address);
        assert!(why.contains("https") && !why.contains("hunter2"), "{address}: {why}");
    }
    assert!(config(&[("JWKS", "https://example.com/jwks.json")]).unwrap().auth.jwks.is_some());
}

#[test]
fn a_channel_that_wants_tokens_needs_a_key() {
    let secret = Scratch::write("secret", &"s".repeat(32));
    for table in ["access = \"token\"", "publish = \"token\""] {
        let text = format!("[[channels]]\npattern = \"lobby\"\ncount = \"none\"\ndeliver = \"every\"\n{table}\n");
        let load = |auth: &str| {
            let file = Scratch::write("channels.toml", &format!("{auth}{text}"));
            let overrides = Overrides { file: Some(file.0.clone()), ..Overrides::default() };
            load_from(&overrides, HashMap::new()).map(drop).map_err(|why| why.to_string())
        };
        let why = load("").unwrap_err();
        assert!(why.contains("secret_files"), "{why}");
        assert_eq!(load(&format!("[auth]\nsecret_files = [{:?}]\n", path(&secret))), Ok(()));
    }
}
