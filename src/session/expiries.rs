//! When the tokens of a worker's clients expire. Pure: the time comes in as an argument.

use std::collections::BTreeSet;

use super::keepalive::Key;

/// When each client's token needs attention, in milliseconds since 1970. A client is here at most once.
#[derive(Debug, Default)]
pub struct Expiries(BTreeSet<(u64, Key)>);

/// What a client's slot records about the end of its token.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When something is due; 0 if nothing is.
    pub at: u64,
    /// Whether the client was told that its token has expired.
    pub told: bool,
}

impl Expiries {
    /// Sets when a client is due, in place of `before`.
    pub fn set(&mut self, key: Key, before: Expiry, at: u64) {
        self.forget(key, before);
        self.0.insert((at, key));
    }

    /// Forgets when a client is due.
    pub fn forget(&mut self, key: Key, before: Expiry) {
        if before.at != 0 {
            self.0.remove(&(before.at, key));
        }
    }

    /// Takes the next client that is due at `now`, if there is one.
    pub fn due(&mut self, now: u64) -> Option<Key> {
        let (at, key) = *self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_due_once_and_when_it_is_renewed_not_before() {
        let mut all = Expiries::default();
        let set = |all: &mut Expiries, key, before, at| {
            all.set(key, before, at);
            Expiry { at, told: false }
        };
        let first = set(&mut all, (1, 0), Expiry::default(), 10);
        set(&mut all, (2, 0), Expiry::default(), 10);
        let first = set(&mut all, (1, 0), first, 20);
        assert_eq!((all.due(9), all.due(10), all.due(19), all.due(20)), (None, Some((2, 0)), None, Some((1, 0))));
        let first = set(&mut all, (1, 0), first, 30);
        all.forget((1, 0), first);
        assert_eq!(all.due(u64::MAX), None);
    }
}
