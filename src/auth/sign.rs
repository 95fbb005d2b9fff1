//! Makes tokens for people who want to try them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// Returns a token with these claims, signed with a secret as HS256.
///
/// ```
/// let claims = serde_json::json!({ "sub": "ann", "exp": 2_000_000_000 });
/// let token = headcount::auth::sign(&claims, b"thirty-two bytes, if not even more");
/// assert_eq!(token.split('.').count(), 3);
/// ```
pub fn sign(claims: &Value, secret: &[u8]) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}
