//! The claims of a token: those of RFC 7519, section 4, and our own, `headcount` and `info`.

use serde_json::{Map, Value};

use super::grant::Rights;

/// The longest `sub`, `jti` and pattern, in bytes.
const LONGEST_NAME: usize = 200;
/// The maximum number of patterns in one token.
const PATTERNS: usize = 100;
/// The longest `info`, as JSON.
const LONGEST_INFO: usize = 1 << 10;

/// The claims that are read. Others are ignored.
#[derive(Debug, Default)]
pub struct Claims {
    /// The name of the person who holds the token.
    pub sub: Option<Box<str>>,
    /// The token's id.
    pub jti: Option<Box<str>>,
    /// The issuer.
    pub iss: Option<String>,
    /// The intended audiences.
    pub aud: Vec<String>,
    /// When the token expires, becomes valid and was issued, in seconds since 1970.
    pub exp: Option<f64>,
    pub nbf: Option<f64>,
    pub iat: Option<f64>,
    /// What others may know about the person, as JSON.
    pub info: Option<Box<str>>,
    /// What the token allows on this server.
    pub rights: Rights,
}

impl Claims {
    /// Reads the claims. Returns `None` if one of them has the wrong type or is too long.
    pub fn read(object: &Map<String, Value>) -> Option<Self> {
        Some(Self {
            sub: name(object.get("sub"))?,
            jti: name(object.get("jti"))?,
            iss: match object.get("iss") {
                Some(iss) => Some(iss.as_str()?.to_owned()),
                None => None,
            },
            aud: match object.get("aud") {
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(all)) => {
                    all.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>()?
                }
                Some(_) => return None,
                None => Vec::new(),
            },
            exp: time(object.get("exp"))?,
            nbf: time(object.get("nbf"))?,
            iat: time(object.get("iat"))?,
            info: match object.get("info").map(ToString::to_string) {
                Some(info) if info.len() > LONGEST_INFO => return None,
                info => info.map(Into::into),
            },
            rights: match object.get("headcount") {
                Some(rights) => read_rights(rights.as_object()?)?,
                None => Rights::default(),
            },
        })
    }
}

/// Returns whether a name can be shown and stored: it is neither empty nor too long, and has no control
/// characters.
fn fits(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Reads a name. The outer `None` means that the claim is present but invalid.
fn name(claim: Option<&Value>) -> Option<Option<Box<str>>> {
    match claim {
        Some(name) => name.as_str().filter(|name| fits(name)).map(|name| Some(name.into())),
        None => Some(None),
    }
}

fn time(claim: Option<&Value>) -> Option<Option<f64>> {
    match claim {
        Some(time) => time.as_f64().filter(|time| time.is_finite()).map(Some),
        None => Some(None),
    }
}

fn read_rights(object: &Map<String, Value>) -> Option<Rights> {
    let mut count = 0;
    let mut list = |right: &str| -> Option<Vec<Box<str>>> {
        let Some(patterns) = object.get(right) else { return Some(Vec::new()) };
        let patterns = patterns.as_array()?;
        count += patterns.len();
        patterns.iter().map(|pattern| pattern.as_str().filter(|pattern| fits(pattern)).map(Into::into)).collect()
    };
    let rights = Rights { join: list("join")?, watch: list("watch")?, publish: list("publish")? };
    (count <= PATTERNS).then_some(rights)
}
