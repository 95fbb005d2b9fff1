//! The revoked tokens, as far as this server knows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use super::grant::Grant;

/// How long an announced name stays revoked until the set in the store is read, in milliseconds. The set has the
/// exact time.
const ANNOUNCED: u64 = 60_000;

/// The names (`sub:ann`, `jti:…`) whose tokens are revoked, and until when, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Revoked {
    names: RwLock<HashMap<Box<str>, Revocation>>,
    any: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Revocation {
    until: u64,
    /// The name was announced, but has not been found in the set yet.
    announced: bool,
}

/// Returns whether a text is a name that can be revoked.
pub fn is_name(name: &str) -> bool {
    let bare = name.strip_prefix("sub:").or_else(|| name.strip_prefix("jti:"));
    bare.is_some_and(|bare| (1..=200).contains(&bare.len()) && !bare.chars().any(char::is_control))
}

impl Revoked {
    /// Returns whether the token of a grant is revoked.
    pub fn holds(&self, grant: &Grant, now: u64) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        grant.names().any(|name| names.get(&*name).is_some_and(|entry| entry.until > now))
    }

    /// Revokes an announced name for a while. Returns whether the name is new.
    pub fn announce(&self, name: &str, now: u64) -> bool {
        self.change(|names| {
            let known = names.get(name).is_some_and(|entry| entry.until > now);
            if !known {
                names.insert(name.into(), Revocation { until: now + ANNOUNCED, announced: true });
            }
            !known
        })
    }

    /// Replaces the names with those in the set, and returns the new ones. Announced names stay for their time,
    /// because the announcement may have come while the set was being read.
    pub fn replace(&self, set: HashMap<Box<str>, u64>, now: u64) -> Vec<Box<str>> {
        self.change(|names| {
            let news = |name: &str| names.get(name).is_none_or(|entry| entry.until <= now || entry.announced);
            let found: Vec<_> = set.keys().filter(|name| news(name)).cloned().collect();
            names.retain(|_, entry| entry.announced && entry.until > now);
            let all = set.into_iter().filter(|(_, until)| *until > now);
            names.extend(all.map(|(name, until)| (name, Revocation { until, announced: false })));
            found
        })
    }

    fn change<T>(&self, work: impl FnOnce(&mut HashMap<Box<str>, Revocation>) -> T) -> T {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut names);
        self.any.store(!names.is_empty(), Ordering::Release);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::grant::Rights;
    use super::*;

    fn grant(sub: &str, jti: &str) -> Grant {
        let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Into::into);
        Grant { sub: text(sub), jti: text(jti), info: None, made: 0, ends: u64::MAX, rights: Rights::default() }
    }

    fn set(names: &[(&str, u64)]) -> HashMap<Box<str>, u64> {
        names.iter().map(|(name, until)| ((*name).into(), *until)).collect()
    }

    #[test]
    fn a_name_in_the_set_holds_until_its_time_and_what_left_the_set_is_free() {
        let revoked = Revoked::default();
        assert_eq!(revoked.replace(set(&[("sub:ann", 10), ("jti:7", 20), ("sub:old", 5)]), 5).len(), 3);
        assert!(revoked.holds(&grant("ann", ""), 9) && !revoked.holds(&grant("ann", ""), 10));
        assert!(revoked.holds(&grant("bob", "7"), 19) && !revoked.holds(&grant("7", "ann"), 6));
        assert!(!revoked.holds(&grant("old", ""), 5));
        assert!(revoked.replace(set(&[("sub:ann", 10)]), 6).is_empty(), "known already");
        assert!(!revoked.holds(&grant("bob", "7"), 7));
        revoked.replace(set(&[]), 8);
        assert!(!revoked.holds(&grant("ann", ""), 8));
    }

    #[test]
    fn what_was_announced_holds_though_a_reading_from_before_does_not_have_it() {
        let revoked = Revoked::default();
        assert!(revoked.announce("sub:ann", 5) && !revoked.announce("sub:ann", 6));
        revoked.replace(set(&[]), 7);
        assert!(revoked.holds(&grant("ann", ""), 8));
        assert!(!revoked.holds(&grant("ann", ""), 5 + ANNOUNCED));
        assert_eq!(revoked.replace(set(&[("sub:ann", 9)]), 8).len(), 1, "the set says until when");
        assert!(!revoked.holds(&grant("ann", ""), 9));
    }

    #[test]
    fn a_name_says_what_it_is_the_name_of() {
        assert!(is_name("sub:ann") && is_name("jti:a b") && is_name(&format!("sub:{}", "x".repeat(200))));
        for none in ["", "ann", "sub:", "jti:", "aud:x", "sub:a\nb", "SUB:ann", &format!("sub:{}", "x".repeat(201))] {
            assert!(!is_name(none), "{none:?}");
        }
    }
}
