//! Which visitors a node has on one channel, and what the store knows of them. No I/O, no clock.
//!
//! A visitor is stated once, however many sockets it has. The rule: what is in doubt is stated again in
//! words, and where the store turns out to have something else, everything is stated anew under
//! another number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::member::Profile;
pub use super::visitor_id::VisitorId;
use crate::memory;

/// Visitors in one batch: few enough that no store is busy with it for long, even one whose scripts cannot tell the time.
pub const BATCH: usize = 200;
/// How much one step of a sweep looks at, as `HSCAN` takes it: Redis counts fields and values, so half as many visitors.
pub const PAGE: usize = 400;

/// What the store knows of a visitor under this node's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    No,
    Yes,
    /// A batch with it was sent, and its reply was lost.
    Doubt,
}

#[derive(Debug, Clone)]
struct Visitor {
    here: bool,
    /// What its newest token says of it.
    profile: Option<Arc<Profile>>,
    stated: Stated,
    /// Waits in `changed`.
    queued: bool,
    /// How often it stands in `lingering`.
    lingers: u32,
}

impl Visitor {
    /// Whether it is to be counted.
    fn counts(&self) -> bool {
        self.here || self.lingers > 0
    }

    /// Whether the store is to have it. Whoever only lingers stays there, and is not put there again where that was lost.
    fn is_wanted(&self) -> bool {
        self.here || (self.lingers > 0 && self.stated != Stated::No)
    }

    fn unstated(&self) -> bool {
        self.stated != if self.is_wanted() { Stated::Yes } else { Stated::No }
    }
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub visitor: VisitorId,
    /// Came, or went.
    pub here: bool,
    /// What others are told of it.
    pub profile: Option<Arc<Profile>>,
    before: Stated,
}

/// What is stated in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The node's number on the channel.
    pub number: [u8; 2],
    /// The stamp that was last confirmed under that number; 0 if none was.
    pub from: u64,
    /// This batch's own.
    pub to: u64,
    /// Those that went come first.
    pub changes: Vec<Change>,
}

/// What the store has of this node, where that is certain: its number and stamp, if it has visitors.
pub type Confirmed = Option<([u8; 2], u64)>;

/// See the module.
#[derive(Debug, Default)]
pub struct Visitors {
    all: HashMap<VisitorId, Visitor>,
    changed: VecDeque<VisitorId>,
    /// Those whose last socket went, in the order in which they stop being counted.
    lingering: VecDeque<(Instant, VisitorId)>,
    number: Option<[u8; 2]>,
    from: u64,
    /// The list of members that those who are stated are on; empty where there is none.
    epoch: Box<str>,
    counted: usize,
    stated: usize,
    doubts: usize,
    /// The store may have visitors of this node under another number.
    astray: bool,
}

impl Visitors {
    /// The first socket of a visitor came, or its last one went.
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

    /// A token says this of a visitor who is here; it is stated again if that is news.
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

    /// Everybody's last socket went. Those who linger already do so no longer than the others.
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

    /// The store can be told again, after a while in which it could not. Those who linger may have come to other nodes
    /// meanwhile, which are about to say so.
    pub fn linger_on(&mut self, now: Instant, linger: Duration) {
        for (at, _) in &mut self.lingering {
            *at = (*at).max(now + linger);
        }
    }

    /// Stops counting those who have lingered long enough.
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

    /// When the next one will have lingered long enough.
    pub fn next_tick(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }

    /// Queues a visitor that is not as the store knows it, and forgets one that is gone.
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

    /// Whether the store is to be told something.
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

    /// How many are to be counted.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// What the store has, if that is certain.
    pub fn confirmed(&self) -> Option<Confirmed> {
        let certain = self.doubts == 0 && !self.astray;
        certain.then(|| self.number.filter(|_| self.stated > 0).map(|number| (number, self.from)))
    }

    /// The next batch, under a number that is `drawn` if there is none. `to` is a stamp that this node has
    /// not used yet. Whatever becomes of the batch is told to one of the methods below.
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
            let change = Change { visitor: id, here, profile, before: visitor.stated };
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

    /// The first `done` changes were made, and the store has `count` visitors under the number. False if
    /// that cannot be: then it is as with [`Visitors::lost`].
    pub fn made(&mut self, batch: &Batch, done: usize, count: usize) -> bool {
        for (index, change) in batch.changes.iter().enumerate() {
            let stated = match change.here {
                // A token that came meanwhile is still to be stated.
                true if self.is_outdated(change) => Stated::Doubt,
                true => Stated::Yes,
                false => Stated::No,
            };
            self.mark(change.visitor, if index < done { stated } else { change.before });
            self.look_at(change.visitor);
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

    /// Whether a newer token has come since a change was made.
    fn is_outdated(&self, change: &Change) -> bool {
        let made = |profile: &Option<Arc<Profile>>| profile.as_ref().map(|profile| profile.made);
        self.all.get(&change.visitor).is_some_and(|visitor| made(&visitor.profile) > made(&change.profile))
    }

    /// The list that those who are stated are on; empty where there is none.
    pub fn epoch(&self) -> &str {
        if self.number.is_some() { &self.epoch } else { "" }
    }

    /// What was stated last is on this list.
    pub fn listed(&mut self, epoch: &str) {
        if *self.epoch != *epoch {
            self.epoch = epoch.into();
        }
    }

    /// Nobody knows what became of a batch.
    pub fn in_doubt(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.look_at(change.visitor);
        }
    }

    /// Nothing of a batch was carried out.
    pub fn not_made(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.mark(change.visitor, change.before);
            self.look_at(change.visitor);
        }
    }

    /// Nothing of a batch was carried out, because another node has the number.
    pub fn taken(&mut self, batch: &Batch) {
        self.not_made(batch);
        (self.number, self.from) = (None, 0);
    }

    /// The store has not what this node has stated: all of it is stated anew, under another number. With
    /// that, the store gives up what it has under any other.
    pub fn lost(&mut self) {
        (self.number, self.from, self.stated, self.doubts, self.astray) = (None, 0, 0, 0, true);
        self.epoch = Box::default();
        for id in self.sorted() {
            if let Some(visitor) = self.all.get_mut(&id) {
                visitor.stated = Stated::No;
            }
            self.look_at(id);
        }
    }

    /// Everybody, in an order that a run with the same seed repeats.
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
    fn a_token_that_comes_while_a_batch_is_under_way_is_stated_with_the_next() {
        let (mut visitors, id, now) = (Visitors::default(), VisitorId([1; 16]), Instant::now());
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
    }
}
