use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Denied, Grant, KeySet, Policy, Right, TrustedKey, Verifier, sign};

const SECRET: &[u8] = b"a secret of this test, and of no use elsewhere";
const NOW: u64 = 1_800_000_000;

fn verifier(policy: Policy) -> Verifier {
    let keys = KeySet(vec![TrustedKey::secret(SECRET).unwrap()]);
    Verifier { keys: keys.into(), policy: policy.into() }
}

fn verify(policy: Policy, claims: &Value) -> Result<Grant, Denied> {
    verifier(policy).verify(&sign(claims, SECRET), Duration::from_secs(NOW))
}

fn claims(more: Value) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": NOW + 60 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn a_good_token_grants_what_it_says() {
    let rights = json!({ "join": ["room:1"], "watch": ["room:*"], "publish": ["room:1"] });
    let more = json!({ "jti": "7", "iat": NOW - 5, "info": { "name": "Ann" }, "headcount": rights, "other": [1] });
    let grant = verify(Policy::default(), &claims(more)).unwrap();
    assert_eq!((grant.sub.as_deref(), grant.jti.as_deref()), (Some("ann"), Some("7")));
    assert_eq!(
        (grant.info.as_deref(), grant.made, grant.ends),
        (Some(r#"{"name":"Ann"}"#), NOW - 5, (NOW + 60) * 1000)
    );
    assert!(grant.allows(Right::Publish, "room:1", NOW * 1000));
    assert_eq!(grant.names().collect::<Vec<_>>(), ["sub:ann", "jti:7"]);
}

#[test]
fn times_hold_to_the_second_and_the_leeway_is_for_both_ends() {
    let slack = |seconds| Policy { leeway: Duration::from_secs(seconds), ..Policy::default() };
    for (more, leeway, is) in [
        (json!({ "exp": NOW }), 0, Err(Denied::Expired)),
        (json!({ "exp": NOW }), 1, Ok(())),
        (json!({ "exp": NOW + 1 }), 0, Ok(())),
        (json!({ "exp": NOW as f64 + 0.5 }), 0, Ok(())),
        (json!({ "exp": -1 }), 0, Err(Denied::Expired)),
        (json!({ "exp": 0 }), 10, Err(Denied::Expired)),
        (json!({ "exp": u64::MAX }), 0, Ok(())),
        (json!({ "exp": 1e300 }), 0, Ok(())),
        (json!({ "exp": "1900000000" }), 0, Err(Denied::Claims)),
        (json!({ "exp": null }), 0, Err(Denied::Claims)),
        (json!({ "nbf": NOW + 1 }), 0, Err(Denied::NotYet)),
        (json!({ "nbf": NOW + 1 }), 1, Ok(())),
        (json!({ "nbf": NOW }), 0, Ok(())),
        (json!({ "iat": NOW + 1 }), 0, Err(Denied::NotYet)),
    ] {
        assert_eq!(verify(slack(leeway), &claims(more.clone())).map(drop), is, "{more} {leeway}");
    }
    assert_eq!(verify(slack(0), &json!({ "sub": "ann" })), Err(Denied::NoEnd));
}

#[test]
fn what_the_configuration_asks_for_must_be_there() {
    let policy = Policy {
        issuer: Some("us".into()),
        audience: Some("headcount".into()),
        max_age: Some(Duration::from_secs(100)),
        ..Policy::default()
    };
    let good = json!({ "iss": "us", "aud": ["x", "headcount"], "iat": NOW - 99 });
    assert!(verify(policy.clone(), &claims(good.clone())).is_ok());
    for (name, value, is) in [
        ("iss", json!("them"), Denied::Issuer),
        ("iss", json!(["us"]), Denied::Claims),
        ("aud", json!("headcount2"), Denied::Audience),
        ("aud", json!([]), Denied::Audience),
        ("aud", json!([7]), Denied::Claims),
        ("iat", json!(NOW - 100), Denied::TooOld),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(verify(policy.clone(), &claims(bad)), Err(is), "{name}");
    }
    for (missing, is) in [("iss", Denied::Issuer), ("aud", Denied::Audience), ("iat", Denied::TooOld)] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(missing);
        assert_eq!(verify(policy.clone(), &claims(bad)), Err(is), "{missing}");
    }
}

#[test]
fn claims_that_are_too_long_or_of_another_kind_are_refused() {
    for more in [
        json!({ "sub": "x".repeat(10 << 10) }),
        json!({ "sub": "x".repeat(201) }),
        json!({ "sub": "" }),
        json!({ "sub": "a\u{0}b" }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": 7 }),
        json!({ "jti": {} }),
        json!({ "info": "x".repeat(1024) }),
        json!({ "headcount": [] }),
        json!({ "headcount": { "join": "room:1" } }),
        json!({ "headcount": { "join": [1] } }),
        json!({ "headcount": { "join": vec!["a"; 101] } }),
        json!({ "headcount": { "join": vec!["a"; 50], "watch": vec!["b"; 51] } }),
    ] {
        let long = sign(&claims(more.clone()), SECRET).len() > 8 << 10;
        let is = if long { Denied::TooLong } else { Denied::Claims };
        assert_eq!(verify(Policy::default(), &claims(more)), Err(is));
    }
    assert!(verify(Policy::default(), &claims(json!({ "info": "x".repeat(1022) }))).is_ok());
}

#[test]
fn a_token_that_names_a_key_is_tried_with_that_one_and_with_nameless_ones_only() {
    let named = |id: Option<&str>| Verifier {
        keys: KeySet(vec![TrustedKey::secret(SECRET).unwrap().named(id, None)]).into(),
        policy: Policy::default().into(),
    };
    let token = |kid: Value| {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&json!({ "alg": "HS256", "kid": kid })), part(&claims(json!({}))));
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let verify = |id, kid| named(id).verify(&token(kid), Duration::from_secs(NOW)).map(drop);
    assert_eq!(verify(Some("a"), json!("a")), Ok(()));
    assert_eq!(verify(None, json!("a")), Ok(()));
    for kid in ["b", "../../etc/passwd", "' OR 1=1 --", ""] {
        assert_eq!(verify(Some("a"), json!(kid)), Err(Denied::UnknownKey), "{kid}");
    }
    assert_eq!(verify(Some("a"), json!("a".repeat(201))), Err(Denied::Malformed));
    assert_eq!(verify(Some("a"), json!(["a"])), Err(Denied::Malformed));
}

#[test]
fn nothing_of_a_key_or_a_token_is_in_a_debug_text() {
    let grant = verify(Policy::default(), &claims(json!({ "jti": "of-this-token" }))).unwrap();
    let text = format!("{:?} {grant:?}", verifier(Policy::default()));
    assert!(!text.contains("of-this-token") && !text.contains("ann") && !text.contains("97, 32"), "{text}");
}

proptest! {
    #[test]
    fn whatever_a_token_is_the_answer_is_yes_or_no(token in r"([A-Za-z0-9_-]{0,20}\.){0,3}[A-Za-z0-9_.=+/-]{0,20}|.{0,60}") {
        prop_assert!(verifier(Policy::default()).verify(&token, Duration::from_secs(NOW)).is_err());
    }

    #[test]
    fn a_token_with_one_letter_changed_is_none(at in 0.0..1.0_f64, letter in "[A-Za-z0-9_.-]") {
        let good = sign(&claims(json!({})), SECRET);
        let at = (at * good.len() as f64) as usize;
        let mut bad = good.clone();
        bad.replace_range(at..=at, &letter);
        let verified = verifier(Policy::default()).verify(&bad, Duration::from_secs(NOW));
        prop_assert_eq!(verified.is_ok(), bad == good);
    }

    #[test]
    fn a_token_that_was_cut_is_none(at in 0.0..1.0_f64) {
        let good = sign(&claims(json!({})), SECRET);
        let cut = &good[..(at * good.len() as f64) as usize];
        prop_assert!(verifier(Policy::default()).verify(cut, Duration::from_secs(NOW)).is_err());
    }
}
