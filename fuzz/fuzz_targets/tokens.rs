//! Tokens, key sets and public keys of any content: no panic, nothing granted that nobody has signed, and
//! nothing granted beyond the bounds.
#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headcount::auth::{Grant, KeySet, Policy, Right, TrustedKey, Verifier, sign};
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"a secret of thirty-two bytes, at least";
const NOW: Duration = Duration::from_secs(1_800_000_000);

/// One that has a key of every kind.
fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let point = |x: &str, y: &str, curve: &str| format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}"#);
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let set = format!(
            r#"{{"keys":[{},{},{},{},{}]}}"#,
            format_args!(r#"{{"kty":"oct","k":"{}"}}"#, base64(SECRET)),
            format_args!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"e","x":"{}"}}"#, base64(&[7; 32])),
            format_args!(r#"{{"kty":"RSA","kid":"r","n":"{}","e":"AQAB"}}"#, base64(&[0xff; 256])),
            point(&base64(&[1; 32]), &base64(&[2; 32]), "P-256"),
            point(&base64(&[1; 48]), &base64(&[2; 48]), "P-384"),
        );
        let keys = KeySet::from_jwks(set.as_bytes(), true).unwrap();
        assert_eq!(keys.0.len(), 5);
        Verifier { keys: Arc::new(keys), policy: Arc::new(Policy::default()) }
    })
}

/// What a grant may be at most.
fn check(grant: &Grant) {
    let short = |name: &Option<Box<str>>| name.as_ref().is_none_or(|name| (1..=200).contains(&name.len()));
    assert!(short(&grant.sub) && short(&grant.jti));
    assert!(grant.info.as_ref().is_none_or(|info| info.len() <= 1024 && !info.contains(['\n', '\r'])));
    assert!(u128::from(grant.ends) > NOW.as_millis());
    for right in [Right::Join, Right::Watch, Right::Publish] {
        let _ = grant.allows(right, "room:1", 0);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % 5 {
        // Nobody has signed it.
        0 => assert!(verifier().verify(&text, NOW).is_err()),
        // Header and claims that are at least base64.
        1 => {
            let (header, claims) = rest.split_at(rest.len() / 2);
            let parts = [header, claims, &rest[..rest.len().min(64)]].map(|part| URL_SAFE_NO_PAD.encode(part));
            assert!(verifier().verify(&parts.join("."), NOW).is_err());
        }
        // Claims that somebody trusted has signed.
        2 => {
            let Ok(claims) = serde_json::from_slice(rest) else { return };
            if let Ok(grant) = verifier().verify(&sign(&claims, SECRET), NOW) {
                check(&grant);
            }
        }
        3 => {
            for secrets in [false, true] {
                if let Ok(keys) = KeySet::from_jwks(rest, secrets) {
                    assert!(!keys.0.is_empty() && keys.0.len() <= 100 && (secrets || keys.secret().is_none()));
                    let all = Verifier { keys: Arc::new(keys), policy: Arc::new(Policy::default()) };
                    let other = sign(&serde_json::json!({ "exp": 1e10 }), b"another secret, of thirty-two bytes too");
                    let _ = all.verify(&other, NOW);
                }
            }
        }
        _ => {
            if let Ok(key) = TrustedKey::public(rest) {
                let all = Verifier { keys: Arc::new(KeySet(vec![key])), policy: Arc::new(Policy::default()) };
                let claims = serde_json::json!({ "exp": 1e10 });
                assert!(all.verify(&sign(&claims, rest), NOW).is_err(), "a public key taken for a secret");
            }
        }
    }
});
