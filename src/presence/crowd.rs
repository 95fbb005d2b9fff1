//! The visitors of one channel on this node: how many sockets each has, and which of them are counted. The workers
//! share it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexSet;

use super::member::Profile;
use super::visitor_id::VisitorId;
use crate::memory;
use crate::net::household::Household;

/// See the module.
#[derive(Debug, Default)]
pub struct Crowd(Mutex<Inner>);

/// Where a visitor comes from, and how many visitors from there are counted; without a limit, all of them.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The part of the address that a client cannot choose.
    pub household: Household,
    /// The value of `limits.visitors_per_address`.
    pub limit: Option<u32>,
}

/// What became of a visitor who joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// It is counted.
    Counted,
    /// It is counted although its household has reached the limit, because a private household has none.
    Exempt,
    /// Its household has reached the limit. It is counted when a counted visitor of the household leaves.
    Waits,
}

#[derive(Debug, Default)]
struct Inner {
    visitors: HashMap<VisitorId, Visitor>,
    households: HashMap<Household, House>,
    /// Visitors who changed since the last look: counted, no longer counted, or with a newer token.
    changed: HashSet<VisitorId>,
    /// Visitors who left and must not linger.
    at_once: HashSet<VisitorId>,
}

#[derive(Debug)]
struct Visitor {
    sockets: u32,
    household: Household,
    counted: bool,
    profile: Option<Arc<Profile>>,
}

/// A visitor, whether it is counted now, and what others are told of it.
pub type Moved = (VisitorId, bool, Option<Arc<Profile>>);

#[derive(Debug, Default)]
struct House {
    counted: u32,
    waiting: IndexSet<VisitorId>,
}

impl Crowd {
    /// Adds a socket of a visitor. Returns whether there is anything to state, and what became of the visitor.
    pub fn join(&self, id: VisitorId, origin: Origin, profile: Option<Arc<Profile>>) -> (bool, Joined) {
        let inner = &mut *self.lock();
        if let Some(visitor) = inner.visitors.get_mut(&id) {
            visitor.sockets += 1;
            let joined = if visitor.counted { Joined::Counted } else { Joined::Waits };
            return (profile.is_some_and(|profile| describe(visitor, &mut inner.changed, id, profile)), joined);
        }
        let Origin { household, limit } = origin;
        let house = inner.households.entry(household).or_default();
        let full = limit.is_some_and(|limit| house.counted >= limit);
        let counted = !full || household.is_private();
        inner.visitors.insert(id, Visitor { sockets: 1, household, counted, profile });
        if !counted {
            house.waiting.insert(id);
            return (false, Joined::Waits);
        }
        house.counted += 1;
        inner.changed.insert(id);
        (true, if full { Joined::Exempt } else { Joined::Counted })
    }

    /// Applies what a token says of a visitor. Returns whether that is news.
    pub fn describe(&self, id: VisitorId, profile: Arc<Profile>) -> bool {
        let inner = &mut *self.lock();
        let Some(visitor) = inner.visitors.get_mut(&id) else { return false };
        describe(visitor, &mut inner.changed, id, profile)
    }

    /// Removes a socket of a visitor. Returns whether a counted visitor left.
    pub fn leave(&self, id: VisitorId) -> bool {
        let inner = &mut *self.lock();
        let Some(visitor) = inner.visitors.get_mut(&id) else { return false };
        visitor.sockets -= 1;
        if visitor.sockets > 0 {
            return false;
        }
        let (household, counted) = (visitor.household, visitor.counted);
        inner.visitors.remove(&id);
        memory::shrink(&mut inner.visitors);
        let Some(house) = inner.households.get_mut(&household) else { return false };
        if counted {
            inner.changed.insert(id);
            house.counted -= 1;
            // The next one in the household takes its place.
            if let Some(next) = house.waiting.swap_remove_index(0)
                && let Some(visitor) = inner.visitors.get_mut(&next)
            {
                visitor.counted = true;
                house.counted += 1;
                inner.changed.insert(next);
            }
        } else {
            house.waiting.swap_remove(&id);
        }
        if house.counted == 0 {
            inner.households.remove(&household);
            memory::shrink(&mut inner.households);
        }
        counted
    }

    /// As [`Crowd::leave`], for a visitor who must not linger.
    pub fn leave_at_once(&self, id: VisitorId) -> bool {
        let went = self.leave(id);
        if went {
            self.lock().at_once.insert(id);
        }
        went
    }

    /// Takes the visitors who left since the last look and must not linger.
    pub fn take_at_once(&self) -> Vec<VisitorId> {
        let inner = &mut *self.lock();
        let gone = |id: &VisitorId| !inner.visitors.contains_key(id);
        std::mem::take(&mut inner.at_once).into_iter().filter(gone).collect()
    }

    /// Takes the visitors who changed since the last look.
    pub fn take_changes(&self) -> Vec<Moved> {
        let inner = &mut *self.lock();
        let counted = |id: VisitorId| match inner.visitors.get(&id) {
            Some(visitor) => (id, visitor.counted, visitor.profile.clone()),
            None => (id, false, None),
        };
        let mut changes: Vec<Moved> = std::mem::take(&mut inner.changed).into_iter().map(counted).collect();
        // Sorted, so that a run with the same seed repeats.
        changes.sort_unstable_by_key(|(id, ..)| *id);
        changes
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps what the newest token says. Returns whether that is news.
fn describe(visitor: &mut Visitor, changed: &mut HashSet<VisitorId>, id: VisitorId, profile: Arc<Profile>) -> bool {
    let news = visitor.profile.as_ref().is_none_or(|before| before.made < profile.made);
    if news {
        visitor.profile = Some(profile);
        changed.insert(id);
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str, limit: u32) -> Origin {
        Origin { household: Household::of(address.parse().ok()), limit: Some(limit) }
    }

    #[test]
    fn only_a_first_and_a_last_socket_are_a_change() {
        let (crowd, ann, home) = (Crowd::default(), VisitorId([1; 16]), from("192.0.2.1", 1));
        assert_eq!(
            [crowd.join(ann, home, None), crowd.join(ann, home, None)],
            [(true, Joined::Counted), (false, Joined::Counted)]
        );
        assert!(!crowd.leave(ann));
        assert_eq!(crowd.take_changes(), [(ann, true, None)]);
        assert!(crowd.leave(ann) && crowd.join(ann, home, None).0 && crowd.leave(ann));
        assert_eq!(crowd.take_changes(), [(ann, false, None)]);
        assert!(!crowd.leave(ann) && crowd.take_changes().is_empty());
        assert!(crowd.lock().households.is_empty());
    }

    #[test]
    fn whoever_goes_at_once_is_told_apart_unless_there_is_another_socket() {
        let (crowd, ann, home) = (Crowd::default(), VisitorId([1; 16]), from("192.0.2.1", 1));
        crowd.join(ann, home, None);
        crowd.join(ann, home, None);
        assert!(!crowd.leave_at_once(ann) && crowd.take_at_once().is_empty());
        assert!(crowd.leave_at_once(ann));
        assert_eq!((crowd.take_at_once(), crowd.take_at_once()), (vec![ann], vec![]));
        crowd.join(ann, home, None);
        crowd.leave_at_once(ann);
        crowd.join(ann, home, None);
        assert!(crowd.take_at_once().is_empty(), "it is here again");
    }

    #[test]
    fn whoever_comes_when_a_household_is_full_waits_for_a_place() {
        let (crowd, home) = (Crowd::default(), from("2001:db8::1", 2));
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| VisitorId([n; 16]));
        assert!(crowd.join(a, home, None).0 && crowd.join(b, home, None).0);
        assert_eq!(
            [crowd.join(c, home, None), crowd.join(d, home, None), crowd.join(c, home, None)],
            [(false, Joined::Waits); 3]
        );
        assert_eq!(crowd.join(VisitorId([9; 16]), from("2001:db8:0:1::1", 2), None), (true, Joined::Counted));
        crowd.take_changes();
        assert!(!crowd.leave(d) && crowd.leave(a));
        let changes: HashMap<_, _> = crowd.take_changes().into_iter().map(|(id, here, _)| (id, here)).collect();
        assert_eq!(changes, HashMap::from([(a, false), (c, true)]));
        assert!(crowd.leave(b) && !crowd.leave(c) && crowd.leave(c));
        assert_eq!(crowd.lock().households.len(), 1);
    }

    #[test]
    fn a_private_household_is_never_full_and_that_is_told() {
        let (crowd, proxy) = (Crowd::default(), from("10.0.0.1", 1));
        assert_eq!(crowd.join(VisitorId([1; 16]), proxy, None), (true, Joined::Counted));
        assert_eq!(crowd.join(VisitorId([2; 16]), proxy, None), (true, Joined::Exempt));
    }

    #[test]
    fn the_newest_token_says_who_somebody_is() {
        let (crowd, ann, home) = (Crowd::default(), VisitorId([1; 16]), from("192.0.2.1", 1));
        let profile = |made| Some(Arc::new(Profile { name: Some("ann".into()), info: None, made }));
        assert!(crowd.join(ann, home, profile(2)).0);
        assert!(!crowd.join(ann, home, profile(1)).0 && !crowd.join(ann, home, None).0);
        assert_eq!(crowd.take_changes(), [(ann, true, profile(2))]);
        assert!(crowd.join(ann, home, profile(3)).0);
        assert_eq!(crowd.take_changes(), [(ann, true, profile(3))]);
    }
}
