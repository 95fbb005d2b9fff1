//! Members as others see them, and lists of members. No I/O.

use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::visitor_id::VisitorId;

/// The longest name and info that are shown, in bytes. Those in tokens are shorter.
const MAX_NAME: usize = 1024;
const MAX_INFO: usize = 4096;

/// What a token says of a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The public name; None if a handle is drawn instead.
    pub name: Option<Box<str>>,
    /// One JSON value.
    pub info: Option<Box<str>>,
    /// When the token was made; of several tokens, the newest counts.
    pub made: u64,
}

impl Profile {
    /// What the store has of a visitor, without the time of arrival that comes first.
    pub(super) fn entry(profile: Option<&Self>) -> String {
        let Some(Self { name, info, made }) = profile else { return String::from("0") };
        let (name, info) = (name.as_deref().unwrap_or_default(), info.as_deref().unwrap_or_default());
        format!("{made} {} {name}{info}", name.len())
    }
}

/// Somebody who is here.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    arrived: u64,
    /// The public handle as a JSON string, and the whole member as a JSON object.
    id: String,
    json: String,
}

impl Member {
    /// Reads the store's entry for a visitor. A visitor without a name gets a handle that is drawn with the channel's
    /// secret, so that all nodes agree on it and nobody can tell whose it is. Unreadable info is left out.
    pub fn read(visitor: VisitorId, entry: &[u8], secret: &str) -> Self {
        let entry = String::from_utf8_lossy(entry);
        let mut words = entry.splitn(4, ' ');
        let arrived = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
        let length = words.nth(1).and_then(|word| word.parse::<usize>().ok()).filter(|length| *length <= MAX_NAME);
        let (name, info) = match (length, words.next()) {
            (Some(length), Some(rest)) if rest.is_char_boundary(length) => rest.split_at(length),
            _ => ("", ""),
        };
        let drawn = || format!("~{}", handle(visitor, secret));
        let id = serde_json::Value::from(if name.is_empty() { drawn() } else { name.to_owned() }).to_string();
        let is_json = info.len() <= MAX_INFO && serde_json::from_str::<IgnoredAny>(info).is_ok();
        let info = if is_json { format!(r#","info":{}"#, info.trim()) } else { String::new() };
        Self { arrived, json: format!(r#"{{"id":{id}{info}}}"#), id }
    }

    /// How many bytes the member adds to a list.
    pub fn bytes(&self) -> usize {
        self.json.len() + 1
    }
}

/// Sixteen hexadecimal digits that do not reveal whose they are.
fn handle(visitor: VisitorId, secret: &str) -> String {
    let hash = Sha256::new().chain_update(secret).chain_update([0]).chain_update(visitor.0).finalize();
    hash[..8].iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The members who are here at one time.
#[derive(Debug, Default)]
pub struct MemberList {
    /// Sorted by visitor.
    all: Vec<(VisitorId, Arc<Member>)>,
    bytes: usize,
    json: OnceLock<String>,
}

impl MemberList {
    /// Makes a list of these members, which must be sorted by visitor.
    pub fn of(all: impl Iterator<Item = (VisitorId, Arc<Member>)>) -> Self {
        let all: Vec<_> = all.collect();
        let bytes = all.iter().map(|(_, member)| member.bytes()).sum::<usize>() + 2;
        Self { all, bytes, json: OnceLock::new() }
    }

    /// All members as a JSON array, in the order in which they came.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let mut all: Vec<&Member> = self.all.iter().map(|(_, member)| &**member).collect();
            all.sort_by_key(|member| member.arrived);
            array(all.iter().map(|member| &*member.json))
        })
    }

    /// The most bytes that the list takes as JSON.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What changed since an earlier list, as the fields of a JSON object; None if nothing did.
    pub fn changes(&self, before: &Self) -> Option<String> {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        let (mut old, mut new) = (before.all.iter().peekable(), self.all.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some((old, _)), Some((new, _))) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let gone = old.next_if(|_| order.is_le()).map(|(_, member)| member);
            let here = new.next_if(|_| order.is_ge()).map(|(_, member)| member);
            match (gone, here) {
                (Some(gone), None) => left.push(gone),
                (Some(gone), Some(here)) if gone.json == here.json => {}
                (Some(gone), Some(here)) if gone.id != here.id => {
                    left.push(gone);
                    joined.push(here);
                }
                (_, Some(here)) => joined.push(here),
                (None, None) => {}
            }
        }
        joined.sort_by_key(|member| member.arrived);
        let joined = (!joined.is_empty()).then(|| array(joined.iter().map(|member| &*member.json)));
        let left = (!left.is_empty()).then(|| array(left.iter().map(|member| &*member.id)));
        match (joined, left) {
            (Some(joined), Some(left)) => Some(format!(r#""joined":{joined},"left":{left}"#)),
            (Some(joined), None) => Some(format!(r#""joined":{joined}"#)),
            (None, Some(left)) => Some(format!(r#""left":{left}"#)),
            (None, None) => None,
        }
    }
}

fn array<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// What can be shown of who is here.
#[derive(Debug, Clone, Default)]
pub enum Listing {
    /// Nobody knows yet.
    #[default]
    Unknown,
    /// Nothing: there are too many, or the list cannot be read.
    Hidden,
    /// These members.
    Shown(Arc<MemberList>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(number: u8) -> VisitorId {
        VisitorId([number; 16])
    }

    fn entry(profile: &Profile) -> Vec<u8> {
        format!("17 {}", Profile::entry(Some(profile))).into_bytes()
    }

    fn list(of: &[(u8, &str)]) -> MemberList {
        let read = |(number, name): &(u8, &str)| {
            let profile = Profile { name: Some((*name).into()), info: None, made: 1 };
            (visitor(*number), Arc::new(Member::read(visitor(*number), &entry(&profile), "")))
        };
        MemberList::of(of.iter().map(read))
    }

    #[test]
    fn a_member_is_what_its_token_says_or_has_a_handle_that_says_nothing() {
        let named = Profile { name: Some("ann \"3\" é".into()), info: Some(r#"{"a": 1}"#.into()), made: 5 };
        let member = Member::read(visitor(1), &entry(&named), "s");
        assert_eq!(member.json, r#"{"id":"ann \"3\" é","info":{"a": 1}}"#);
        let unnamed = Member::read(visitor(1), &entry(&Profile { name: None, ..named }), "s");
        assert!(unnamed.json.starts_with(r#"{"id":"~"#) && unnamed.json.ends_with(r#"","info":{"a": 1}}"#));
        let drawn = Member::read(visitor(1), b"17 0", "s");
        assert_eq!((drawn.arrived, drawn.id.len()), (17, 19));
        assert_eq!(drawn, Member::read(visitor(1), b"17 0", "s"));
        assert_ne!(drawn.id, Member::read(visitor(2), b"17 0", "s").id);
        assert_ne!(drawn.id, Member::read(visitor(1), b"17 0", "t").id);
    }

    #[test]
    fn whatever_the_store_has_becomes_a_member_and_json() {
        let mut draw = fastrand::Rng::with_seed(1);
        let pieces = ["17 0", " ", "3", "99999999999999999999", "é", "{\"a\":", "1}", "\u{0}", "-", "ab", "\""];
        for _ in 0..20_000 {
            let mut entry: Vec<u8> =
                (0..draw.usize(..8)).flat_map(|_| draw.choice(pieces).unwrap_or_default().bytes()).collect();
            if draw.bool() {
                entry.push(draw.u8(..));
            }
            let member = Member::read(visitor(1), &entry, "s");
            assert!(serde_json::from_str::<serde_json::Value>(&member.json).is_ok(), "{}", entry.escape_ascii());
        }
    }

    #[test]
    fn changes_lead_from_one_list_to_the_next() {
        let (before, after) = (list(&[(1, "a"), (2, "b"), (4, "d")]), list(&[(2, "b"), (3, "c"), (4, "D")]));
        let told = after.changes(&before).unwrap();
        assert_eq!(told, r#""joined":[{"id":"c"},{"id":"D"}],"left":["a","d"]"#);
        assert_eq!(after.changes(&after), None);
        assert_eq!(list(&[]).changes(&list(&[(1, "a")])).unwrap(), r#""left":["a"]"#);
        assert_eq!(after.json(), r#"[{"id":"b"},{"id":"c"},{"id":"D"}]"#);
        assert_eq!(after.json().len() + 1, after.bytes());
    }
}
