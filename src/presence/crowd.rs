//! The visitors of one channel on this node, and how many sockets each has. Workers share it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::visitors::VisitorId;
use crate::memory;

/// See the module.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sockets: HashMap<VisitorId, u32>,
    /// Those whose first socket came or whose last one went since the last look.
    changed: HashSet<VisitorId>,
}

impl Crowd {
    /// A socket of a visitor came. True if it is the first.
    pub fn join(&self, visitor: VisitorId) -> bool {
        let mut inner = self.lock();
        let sockets = inner.sockets.entry(visitor).or_default();
        *sockets += 1;
        *sockets == 1 && {
            inner.changed.insert(visitor);
            true
        }
    }

    /// A socket of a visitor went. True if it was the last.
    pub fn leave(&self, visitor: VisitorId) -> bool {
        let mut inner = self.lock();
        let Some(sockets) = inner.sockets.get_mut(&visitor) else { return false };
        *sockets -= 1;
        *sockets == 0 && {
            inner.sockets.remove(&visitor);
            memory::shrink(&mut inner.sockets);
            inner.changed.insert(visitor);
            true
        }
    }

    /// Who came and who went since the last look.
    pub fn take_changes(&self) -> Vec<(VisitorId, bool)> {
        let mut inner = self.lock();
        let changed = std::mem::take(&mut inner.changed);
        changed.into_iter().map(|visitor| (visitor, inner.sockets.contains_key(&visitor))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_and_a_last_socket_are_a_change() {
        let (crowd, ann) = (Crowd::default(), VisitorId([1; 16]));
        assert!(crowd.join(ann) && !crowd.join(ann) && !crowd.leave(ann));
        assert_eq!(crowd.take_changes(), [(ann, true)]);
        assert!(crowd.leave(ann) && crowd.join(ann) && crowd.leave(ann));
        assert_eq!(crowd.take_changes(), [(ann, false)]);
        assert!(!crowd.leave(ann) && crowd.take_changes().is_empty());
    }
}
