//! Verifies tokens and reads what they grant.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::grant::Grant;
use super::json;
use super::keys::KeySet;

/// The longest token, in bytes.
const LONGEST: usize = 8 << 10;
/// The longest key id, in bytes.
const LONGEST_ID: usize = 200;

/// The requirements for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The allowed algorithms; each works only with keys that are for it.
    pub algorithms: Vec<Algorithm>,
    /// The required issuer.
    pub issuer: Option<String>,
    /// The required audience.
    pub audience: Option<String>,
    /// How far the clocks of both sides may differ.
    pub leeway: Duration,
    /// The largest allowed age of a token.
    pub max_age: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        let algorithms = Algorithm::all().collect();
        Self { algorithms, issuer: None, audience: None, leeway: Duration::ZERO, max_age: None }
    }
}

/// Why a token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The server has no key to verify tokens with.
    #[error("this server takes no tokens: its [auth] has no keys")]
    NoKeys,
    /// The token is too long.
    #[error("the token is longer than 8 KiB")]
    TooLong,
    /// The text is not a token.
    #[error("this is not a signed JSON Web Token")]
    Malformed,
    /// A header that must be understood is unknown here.
    #[error("the token has a critical header that this server does not know")]
    Critical,
    /// The configuration does not allow its algorithm.
    #[error("the token's algorithm is not one of those that this server takes")]
    Algorithm,
    /// It names an unknown key, and no other key has signed it.
    #[error("the token was signed with a key that this server does not know")]
    UnknownKey,
    /// None of our keys has signed it.
    #[error("the token was not signed with a key that this server trusts")]
    Signature,
    /// A claim has the wrong form.
    #[error("a claim of the token is malformed: one of sub, exp, nbf, iat, jti, iss, aud, info and headcount")]
    Claims,
    /// It has no expiry.
    #[error("the token has no exp")]
    NoEnd,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is too old, or does not say when it was issued.
    #[error("the token is older than this server takes, or has no iat")]
    TooOld,
    /// It has a different issuer.
    #[error("the token's iss is not the one that this server takes")]
    Issuer,
    /// It has a different audience.
    #[error("the token's aud is not this server")]
    Audience,
    /// It was revoked.
    #[error("the token was revoked")]
    Revoked,
}

/// Verifies tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verifier {
    /// The trusted keys.
    pub keys: Arc<KeySet>,
    /// The requirements for a token.
    pub policy: Arc<Policy>,
}

impl Verifier {
    /// Returns what a token grants at the time `now`, measured from 1970.
    ///
    /// # Errors
    /// [`Denied`]
    pub fn verify(&self, token: &str, now: Duration) -> Result<Grant, Denied> {
        if self.keys.is_empty() {
            return Err(Denied::NoKeys);
        }
        if token.len() > LONGEST {
            return Err(Denied::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Denied::Malformed)?;
        let (header, body) = message.split_once('.').ok_or(Denied::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Denied::Malformed);
        let (header, body, signature) = (decode(header)?, decode(body)?, decode(signature)?);
        let header = json::object(&header).ok_or(Denied::Malformed)?;
        // RFC 7515, section 4.1.11: a recipient that does not understand a critical header must reject the
        // token. We understand none.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Denied::Critical);
        }
        let text = |name: &str| header.get(name).map(|value| value.as_str().ok_or(Denied::Malformed)).transpose();
        let (name, id) = (text("alg")?.ok_or(Denied::Malformed)?, text("kid")?);
        if id.is_some_and(|id| id.len() > LONGEST_ID) {
            return Err(Denied::Malformed);
        }
        let algorithm = Algorithm::named(name).filter(|one| self.policy.algorithms.contains(one));
        let algorithm = algorithm.ok_or(Denied::Algorithm)?;
        if !self.keys.verify(algorithm, id, message.as_bytes(), &signature) {
            return Err(if id.is_some_and(|id| !self.keys.has(id)) { Denied::UnknownKey } else { Denied::Signature });
        }
        let claims = json::object(&body).and_then(|claims| Claims::read(&claims)).ok_or(Denied::Claims)?;
        self.policy.grant(claims, now.as_secs_f64())
    }
}

impl Policy {
    fn grant(&self, claims: Claims, now: f64) -> Result<Grant, Denied> {
        let leeway = self.leeway.as_secs_f64();
        let ends = claims.exp.ok_or(Denied::NoEnd)? + leeway;
        if ends <= now {
            return Err(Denied::Expired);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|from| from > now + leeway) {
            return Err(Denied::NotYet);
        }
        if let Some(most) = self.max_age
            && claims.iat.is_none_or(|made| made + most.as_secs_f64() + leeway <= now)
        {
            return Err(Denied::TooOld);
        }
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(Denied::Issuer);
        }
        if let Some(ours) = &self.audience
            && !claims.aud.contains(ours)
        {
            return Err(Denied::Audience);
        }
        let Claims { sub, jti, iat, info, rights, .. } = claims;
        // The cast saturates: a time beyond the range becomes the last one that fits.
        let (made, ends) = (iat.unwrap_or_default() as u64, (ends * 1000.0) as u64);
        Ok(Grant { sub, jti, info, made, ends, rights })
    }
}
