//! When the tokens of a worker's clients expire. Pure: the time comes in as an argument.

use std::collections::BTreeSet;

use super::keepalive::SocketKey;

/// When each client's token needs attention, in milliseconds since 1970. A client is here at most once.
#[derive(Debug, Default)]
pub struct Expiries(BTreeSet<(u64, SocketKey)>);

impl Expiries {
    /// Sets when a client is due, in place of `before`, which is 0 if nothing was due.
    pub fn set(&mut self, key: SocketKey, before: u64, at: u64) {
        self.forget(key, before);
        self.0.insert((at, key));
    }

    /// Forgets that a client is due at `at`; 0 if nothing is.
    pub fn forget(&mut self, key: SocketKey, at: u64) {
        if at != 0 {
            self.0.remove(&(at, key));
        }
    }

    /// Takes the next client that is due at `now`, if there is one.
    pub fn due(&mut self, now: u64) -> Option<SocketKey> {
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
        all.set((1, 0), 0, 10);
        all.set((2, 0), 0, 10);
        all.set((1, 0), 10, 20);
        assert_eq!((all.due(9), all.due(10), all.due(19), all.due(20)), (None, Some((2, 0)), None, Some((1, 0))));
        all.set((1, 0), 20, 30);
        all.forget((1, 0), 30);
        assert_eq!(all.due(u64::MAX), None);
    }
}
