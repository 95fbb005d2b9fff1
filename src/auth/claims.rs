//! What a token says: the claims of RFC 7519, section 4, and `headcount` and `info`, which are ours.

use serde_json::{Map, Value};

use super::grant::Rights;

/// The longest `sub`, `jti` and pattern, in bytes.
const LONGEST_NAME: usize = 200;
/// The most patterns in all.
const PATTERNS: usize = 100;
/// The longest `info`, as JSON.
const LONGEST_INFO: usize = 1 << 10;

/// The claims that are read. Others are ignored.
#[derive(Debug, Default)]
pub struct Claims {
    /// Who it is.
    pub sub: Option<Box<str>>,
    /// The token's own name.
    pub jti: Option<Box<str>>,
    /// Who made it.
    pub iss: Option<String>,
    /// Whom it is for.
    pub aud: Vec<String>,
    /// When it ends, begins and was made, in seconds since 1970.
    pub exp: Option<f64>,
    pub nbf: Option<f64>,
    pub iat: Option<f64>,
    /// What others may know of somebody, as JSON.
    pub info: Option<Box<str>>,
    /// What it allows here.
    pub rights: Rights,
}

impl Claims {
    /// Reads the claims; None if one of them is of another kind, or longer, than it may be.
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

/// A name that can be shown and kept: neither empty nor long, and without control characters.
fn fits(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The outer None: it is there, and of no use.
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
