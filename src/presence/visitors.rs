//! Which visitors a node has on one channel, and what the store knows of them. No I/O, no clock.
//!
//! A visitor is stated once, however many sockets it has. The rule: what is in doubt is stated again explicitly, and
//! if the store turns out to have something else, everything is stated anew under another number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::Profile;
pub use super::visitor_id::VisitorId;
use crate::memory;

/// The most visitors in one batch: few enough that no store is busy with it for long, even where scripts have no
/// clock.
pub const BATCH: usize = 200;
/// The `COUNT` of each `HSCAN` in a sweep: Redis counts fields and values, so one step covers half as many visitors.
pub const PAGE: usize = 400;

/// What the store knows of a visitor under this node's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    No,
    Yes,
    /// Uncertain: its batch is unanswered or the reply was lost, or a newer token is not stated yet.
    Doubt,
}

#[derive(Debug, Clone)]
struct Visitor {
    here: bool,
    /// What its newest token says.
    profile: Option<Arc<Profile>>,
    stated: Stated,
    /// Whether it waits in `changed`.
    queued: bool,
    /// How many times it is in `lingering`.
    lingers: u32,
}

impl Visitor {
    /// Whether it is counted.
    fn counts(&self) -> bool {
        self.here || self.lingers > 0
    }

    /// Whether the store should have it. A visitor that only lingers stays in the store, but is not put back if it
    /// was lost.
    fn is_wanted(&self) -> bool {
        self.here || (self.lingers > 0 && self.stated != Stated::No)
    }

    fn unstated(&self) -> bool {
        self.stated != if self.is_wanted() { Stated::Yes } else { Stated::No }
    }
}

/// One change in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitorChange {
    /// The visitor.
    pub visitor: VisitorId,
    /// Whether the visitor came; if not, it left.
    pub here: bool,
    /// What others are told of the visitor.
    pub profile: Option<Arc<Profile>>,
    before: Stated,
}

/// What is stated in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The node's number on the channel.
    pub number: [u8; 2],
    /// The stamp that was last confirmed under that number; 0 if there is none.
    pub from: u64,
    /// This batch's own stamp.
    pub to: u64,
    /// The changes; those of visitors who left come first.
    pub changes: Vec<VisitorChange>,
}

/// What the store has of this node's visitors: their number and stamp, or None if there are none.
pub(crate) type Confirmed = Option<([u8; 2], u64)>;

/// See the module.
#[derive(Debug, Default)]
pub struct Visitors {
    all: HashMap<VisitorId, Visitor>,
    changed: VecDeque<VisitorId>,
    /// Visitors whose last socket left, in the order in which they stop being counted.
    lingering: VecDeque<(Instant, VisitorId)>,
    number: Option<[u8; 2]>,
    from: u64,
    /// The list of members that the stated visitors are on; empty if there is none.
    epoch: Box<str>,
    counted: usize,
    stated: usize,
    doubts: usize,
    /// Whether the store may have visitors of this node under another number.
    astray: bool,
}

impl Visitors {
    /// Records that a visitor's first socket came, or its last one left.
    pub fn note(&mut self, id: VisitorId, here: bool, now: Instant, linger: Duration) {
        let fresh = Visitor { here: false, profile: None, stated: Stated::No, queued: false, lingers: 0 };
        let visitor = self.all.entry(id).or_insert(fresh);
        let counted = visitor.counts();
        if visitor.here && !here && linger > Duration::ZERO {
            visitor.lingers += 1;
            self.lingering.push_back((now + linger, id));
        }
        visitor.here = here;
        self.counted = self.counted + usize::from(visitor.counts()) - usize::from(counted);
        self.look_at(id);
    }

    /// Applies what a token says of a visitor; if it is newer, the visitor is stated again.
    pub fn describe(&mut self, id: VisitorId, profile: Arc<Profile>) {
        let Some(visitor) = self.all.get_mut(&id) else { return };
        if visitor.profile.as_ref().is_some_and(|before| before.made >= profile.made) {
            return;
        }
        visitor.profile = Some(profile);
        if visitor.stated == Stated::Yes {
            self.mark(id, Stated::Doubt);
            self.look_at(id);
        }
    }

    /// Records that everybody's last socket left. Nobody lingers longer than those who leave now.
    pub fn leave(&mut self, now: Instant, linger: Duration) {
        for (at, _) in &mut self.lingering {
            *at = (*at).min(now + linger);
        }
        for id in self.sorted() {
            if self.all.get(&id).is_some_and(|visitor| visitor.here) {
                self.note(id, false, now, linger);
            }
        }
    }

    /// Extends lingering after a time in which the store could not be told anything. Lingering visitors may have come
    /// to other nodes meanwhile, which are about to say so.
    pub fn linger_on(&mut self, now: Instant, linger: Duration) {
        for (at, _) in &mut self.lingering {
            *at = (*at).max(now + linger);
        }
    }

    /// Stops counting visitors who have lingered long enough.
    pub fn tick(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.lingering.pop_front() else { return };
            if let Some(visitor) = self.all.get_mut(&id) {
                visitor.lingers -= 1;
                self.counted -= usize::from(!visitor.counts());
                self.look_at(id);
            }
        }
    }

    /// When the next visitor will have lingered long enough.
    pub fn next_tick(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }

    /// Queues a visitor whose state in the store is outdated, and forgets one that is gone.
    fn look_at(&mut self, id: VisitorId) {
        let Some(visitor) = self.all.get_mut(&id) else { return };
        if visitor.queued {
            return;
        }
        if visitor.unstated() {
            visitor.queued = true;
            self.changed.push_back(id);
        } else if !visitor.counts() {
            self.all.remove(&id);
            memory::shrink(&mut self.all);
        }
    }

    /// Whether the store must be told something.
    pub fn unstated(&self) -> bool {
        self.astray || !self.changed.is_empty()
    }

    /// Whether the store may have visitors of this node under another number.
    pub fn is_astray(&self) -> bool {
        self.astray
    }

    /// Whether nobody is here and the store has nobody.
    pub fn is_settled(&self) -> bool {
        self.all.is_empty() && !self.astray
    }

    /// How many visitors are counted.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// What the store has, if that is certain.
    pub fn confirmed(&self) -> Option<Confirmed> {
        let certain = self.doubts == 0 && !self.astray;
        certain.then(|| self.number.filter(|_| self.stated > 0).map(|number| (number, self.from)))
    }

    /// Makes the next batch, under the number `drawn` if there is none yet. `to` is a stamp that this node has not
    /// used before. One of the methods below must be told what became of the batch.
    pub fn batch(&mut self, drawn: [u8; 2], to: u64) -> Batch {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        while came.len() + went.len() < BATCH {
            let Some(id) = self.changed.pop_front() else { break };
            let Some(visitor) = self.all.get_mut(&id) else { continue };
            visitor.queued = false;
            if !visitor.unstated() {
                self.look_at(id);
                continue;
            }
            let (here, profile) = (visitor.is_wanted(), visitor.profile.clone());
            let change = VisitorChange { visitor: id, here, profile, before: visitor.stated };
            if change.here {
                came.push(change)
            } else {
                went.push(change)
            }
            self.mark(id, Stated::Doubt);
        }
        memory::shrink_queue(&mut self.changed);
        went.append(&mut came);
        Batch { number: *self.number.get_or_insert(drawn), from: self.from, to, changes: went }
    }

    fn mark(&mut self, id: VisitorId, stated: Stated) {
        let Some(visitor) = self.all.get_mut(&id) else { return };
        for (was, change) in [(visitor.stated, -1), (stated, 1)] {
            let counter = match was {
                Stated::No => continue,
                Stated::Yes => &mut self.stated,
                Stated::Doubt => &mut self.doubts,
            };
            *counter = counter.saturating_add_signed(change);
        }
        visitor.stated = stated;
    }

    /// Records that the first `done` changes were made, and that the store has `count` visitors under the number.
    /// Returns false if that is impossible; then everything is stated anew, as with [`Visitors::lost`].
    pub fn made(&mut self, batch: &Batch, done: usize, count: usize) -> bool {
        for (index, change) in batch.changes.iter().enumerate() {
            let stated = if change.here { Stated::Yes } else { Stated::No };
            self.settle(change, if index < done { stated } else { change.before });
        }
        (self.from, self.astray) = (batch.to, false);
        if count < self.stated || count > self.stated + self.doubts {
            self.lost();
            return false;
        }
        if count == 0 {
            (self.number, self.from) = (None, 0);
        }
        true
    }

    /// Records what the store knows of a visitor since a batch was answered.
    fn settle(&mut self, change: &VisitorChange, stated: Stated) {
        // A token that came meanwhile must still be stated.
        let outdated = stated == Stated::Yes && self.is_outdated(change);
        self.mark(change.visitor, if outdated { Stated::Doubt } else { stated });
        self.look_at(change.visitor);
    }

    /// Whether a newer token has come since a change was made.
    fn is_outdated(&self, change: &VisitorChange) -> bool {
        let made = |profile: &Option<Arc<Profile>>| profile.as_ref().map(|profile| profile.made);
        self.all.get(&change.visitor).is_some_and(|visitor| made(&visitor.profile) > made(&change.profile))
    }

    /// The list of members that the stated visitors are on; empty if there is none.
    pub fn epoch(&self) -> &str {
        if self.number.is_some() { &self.epoch } else { "" }
    }

    /// Records the epoch of the list that the last batch was put on.
    pub fn listed(&mut self, epoch: &str) {
        if *self.epoch != *epoch {
            self.epoch = epoch.into();
        }
    }

    /// Records that the outcome of a batch is unknown.
    pub fn in_doubt(&mut self, batch: &Batch) {
        batch.changes.iter().for_each(|change| self.look_at(change.visitor));
    }

    /// Records that nothing of a batch was carried out.
    pub fn not_made(&mut self, batch: &Batch) {
        batch.changes.iter().for_each(|change| self.settle(change, change.before));
    }

    /// Records that nothing of a batch was carried out, because the number belongs to another node.
    pub fn taken(&mut self, batch: &Batch) {
        self.not_made(batch);
        (self.number, self.from) = (None, 0);
    }

    /// Resets everything to be stated anew under another number, as the store differs from what this node has stated.
    /// The store then gives up what it has under any other number.
    pub fn lost(&mut self) {
        (self.number, self.from, self.stated, self.doubts, self.astray) = (None, 0, 0, 0, true);
        self.epoch = Box::default();
        self.all.values_mut().for_each(|visitor| visitor.stated = Stated::No);
        self.sorted().into_iter().for_each(|id| self.look_at(id));
    }

    /// All visitors, in an order that a run with the same seed repeats.
    fn sorted(&self) -> Vec<VisitorId> {
        let mut ids: Vec<VisitorId> = self.all.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: VisitorId = VisitorId([1; 16]);
    const LINGER: Duration = Duration::from_secs(1);

    fn state(visitors: &mut Visitors) -> Vec<(VisitorId, bool)> {
        let batch = visitors.batch([0, 1], visitors.from + 1);
        let count = batch.changes.iter().filter(|change| change.here).count();
        assert!(visitors.made(&batch, batch.changes.len(), count));
        batch.changes.iter().map(|change| (change.visitor, change.here)).collect()
    }

    #[test]
    fn whoever_went_while_the_store_was_away_is_withdrawn_a_linger_after_it_is_back() {
        let (mut visitors, start) = (Visitors::default(), Instant::now());
        visitors.note(ANN, true, start, LINGER);
        assert_eq!(state(&mut visitors), [(ANN, true)]);
        visitors.note(ANN, false, start, LINGER);
        let back = start + LINGER * 5;
        visitors.linger_on(back, LINGER);
        visitors.tick(back);
        assert!(!visitors.unstated() && visitors.counted() == 1);
        visitors.tick(back + LINGER);
        assert_eq!(state(&mut visitors), [(ANN, false)]);
        assert!(visitors.is_settled());
    }

    #[test]
    fn whoever_only_lingers_is_not_stated_again_where_all_was_lost() {
        let (mut visitors, start) = (Visitors::default(), Instant::now());
        let back = start + LINGER * 5;
        for went in [start, back] {
            visitors.note(ANN, true, start, LINGER);
            assert_eq!(state(&mut visitors), [(ANN, true)]);
            visitors.note(ANN, false, went, LINGER);
            visitors.linger_on(back, LINGER);
            visitors.lost();
            assert_eq!(state(&mut visitors), []);
            visitors.tick(back + LINGER);
            assert_eq!(state(&mut visitors), []);
            assert!(visitors.is_settled());
        }
        visitors.note(ANN, true, start, LINGER);
        assert_eq!(state(&mut visitors), [(ANN, true)]);
        visitors.note(ANN, false, back, LINGER);
        visitors.lost();
        visitors.note(ANN, true, back, LINGER);
        assert_eq!(state(&mut visitors), [(ANN, true)], "it has come back");
    }

    #[test]
    fn a_token_that_comes_while_a_batch_is_under_way_is_stated_with_the_next_whatever_became_of_it() {
        let (mut visitors, id, now) = (Visitors::default(), ANN, Instant::now());
        let profile = |made| Arc::new(Profile { name: Some("ann".into()), info: None, made });
        visitors.note(id, true, now, Duration::ZERO);
        visitors.describe(id, profile(1));
        let first = visitors.batch(*b"ab", 1);
        visitors.describe(id, profile(2));
        assert!(visitors.made(&first, 1, 1) && visitors.unstated());
        let second = visitors.batch(*b"ab", 2);
        assert_eq!(second.changes[0].profile, Some(profile(2)));
        assert!(visitors.made(&second, 1, 1) && !visitors.unstated());
        assert_eq!(visitors.confirmed(), Some(Some((*b"ab", 2))));
        visitors.note(id, false, now, Duration::ZERO);
        let in_vain = visitors.batch(*b"ab", 3);
        visitors.note(id, true, now, Duration::ZERO);
        visitors.describe(id, profile(3));
        visitors.not_made(&in_vain);
        assert_eq!(visitors.batch(*b"ab", 3).changes[0].profile, Some(profile(3)));
    }
}
