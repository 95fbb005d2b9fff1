//! The list of who is on one channel, as this node follows it. No I/O, no clock.
//!
//! The store publishes each change with its turn and the mark of the turn before, so a gap is noticed, and then the
//! whole list is read. After a loss of data, members who are missing or who leave meanwhile stay on the list until
//! every node has had time to state its visitors again. A loss of data must not announce the departure of a thousand
//! people, nor that of somebody whose node has not stated them yet.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::member::{Listing, Member, MemberList};
use super::roster_news::{Head, RosterChange, RosterNews};
use super::visitor_id::VisitorId;
use crate::config::channels::MembersRule;

/// The pause between two readings of the list.
const BETWEEN: Duration = Duration::from_millis(100);
/// The pause after a reading that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a list that was too long stays hidden, and how often it is read again meanwhile.
const REST: Duration = Duration::from_secs(10);
/// How many bytes of messages may wait while the list is read.
const WAITING: usize = 1 << 20;

/// What a reading of the list returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roll {
    /// There is no list.
    None,
    /// There are more members than can be shown.
    Long,
    /// How the list stands, the secret from which handles are made, and who is on the list.
    All(Head, Box<str>, Vec<(VisitorId, Vec<u8>)>),
}

/// How far this node has followed the list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// It has read nothing yet.
    Nothing,
    /// There was no list.
    NoList,
    At(Head),
}

type Members = BTreeMap<VisitorId, Arc<Member>>;

/// See the module.
#[derive(Debug)]
pub struct Roster {
    rule: MembersRule,
    known: Known,
    members: Members,
    /// Members from before a loss of data that no node has stated again yet.
    missing: Members,
    /// After a loss of data: until when to wait for missing members.
    hold: Option<Instant>,
    /// Set while the list is too long: when it is read again.
    long: Option<Instant>,
    /// Whether changes arrive.
    subscribed: bool,
    /// Set when changes stopped arriving: the store may by now be another one, or have older data.
    torn: bool,
    due: bool,
    reading: bool,
    not_before: Instant,
    /// The messages that arrived while the list was read.
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    /// Whether the first reading failed, so that nothing can be shown.
    failed: bool,
    changed: bool,
}

impl Roster {
    /// Makes a list that has not been read yet.
    pub fn new(rule: MembersRule, now: Instant) -> Self {
        Self {
            rule,
            known: Known::Nothing,
            members: Members::new(),
            missing: Members::new(),
            hold: None,
            long: None,
            subscribed: false,
            torn: false,
            due: false,
            reading: false,
            not_before: now,
            waiting: Vec::new(),
            waiting_bytes: 0,
            failed: false,
            changed: false,
        }
    }

    /// Applies new limits on what is shown.
    pub fn configure(&mut self, rule: MembersRule) {
        if mem::replace(&mut self.rule, rule) != rule {
            (self.due, self.long) = (true, None);
        }
    }

    /// Records that every change arrives from now on, so the list must be read.
    pub fn subscribed(&mut self) {
        (self.subscribed, self.due) = (true, true);
    }

    /// Records that nothing arrives any more. Missing members are kept until the list has been read again.
    pub fn unsubscribed(&mut self) {
        (self.subscribed, self.hold) = (false, None);
        self.waiting.clear();
        self.tear();
    }

    /// Records that the next reading may come from another store, or from one with older data: even if it has the
    /// same list, it may not have all of it.
    pub fn tear(&mut self) {
        self.torn = true;
    }

    /// The epoch of the list in the store, as far as this node has followed; empty without a list, None if it is
    /// unknown.
    pub fn epoch(&self) -> Option<&str> {
        match &self.known {
            Known::Nothing => None,
            Known::NoList => Some(""),
            Known::At(head) => Some(&head.epoch),
        }
    }

    /// Makes the list due to be read if a repair found it different.
    pub fn found(&mut self, head: Option<Head>) {
        let found = head.map_or(Known::NoList, Known::At);
        self.due |= self.long.is_none() && found != self.known && !self.reading;
    }

    /// How many members can be shown: fewer, once there were too many.
    pub fn most(&self) -> u32 {
        // Nine tenths, and at least one fewer even if the limit is small.
        if self.long.is_some() { self.rule.most - self.rule.most.div_ceil(10) } else { self.rule.most }
    }

    /// Whether the list should be read now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due && self.subscribed && !self.reading && now >= self.not_before
    }

    /// When to look again, if nothing happens before.
    pub fn next(&self) -> Option<Instant> {
        let read = (self.due && self.subscribed && !self.reading).then_some(self.not_before);
        [read, self.hold, self.long].into_iter().flatten().min()
    }

    /// Records that a reading has begun.
    pub fn begin(&mut self) {
        (self.due, self.reading) = (false, true);
    }

    /// Records that a reading failed. `refused`: the store refused it, and may go on doing so.
    pub fn failed(&mut self, refused: bool, now: Instant) {
        (self.due, self.reading, self.not_before) = (true, false, now + AFTER_FAILURE);
        self.waiting.clear();
        if refused && self.known == Known::Nothing {
            self.changed |= !mem::replace(&mut self.failed, true);
        }
    }

    /// Gives up members who have been missing for long enough, and makes a list that was too long due to be read
    /// again.
    pub fn tick(&mut self, now: Instant) {
        if self.hold.is_some_and(|until| until <= now) {
            self.hold = None;
            self.changed |= !mem::take(&mut self.missing).is_empty();
        }
        if self.long.is_some_and(|at| at <= now) {
            (self.long, self.due) = (Some(now + REST), true);
        }
    }

    /// Applies what was published, or keeps it until the reading that is under way has ended.
    pub fn heard(&mut self, message: Bytes, now: Instant, hold: Duration) {
        if !self.reading {
            return self.take_in(&message, now, hold);
        }
        self.waiting_bytes = if self.waiting.is_empty() { 0 } else { self.waiting_bytes } + message.len();
        if self.waiting_bytes > WAITING {
            // After the gap, the next message triggers another reading.
            self.waiting.clear();
        }
        self.waiting.push(message);
    }

    fn take_in(&mut self, message: &[u8], now: Instant, hold: Duration) {
        if self.long.is_some() {
            return;
        }
        let Some(news) = RosterNews::parse(message) else {
            self.due = true;
            return;
        };
        match (&self.known, news.changes) {
            (Known::At(head), _) if head.epoch == news.head.epoch && news.head.turn <= head.turn => {}
            (Known::At(head), Some(changes)) if head.is_before(&news.head, news.before) => {
                self.known = Known::At(news.head);
                for change in changes {
                    self.change(change, news.secret);
                }
                self.fits(now);
            }
            // The first change of a list contains the whole list.
            (Known::NoList | Known::At(_), Some(changes)) if news.head.turn == 1 => {
                let read = |change: RosterChange<'_>| Some((change.visitor, change.entry?.to_vec()));
                let all = changes.into_iter().filter_map(read).collect();
                self.replace(Roll::All(news.head, news.secret.into(), all), now, hold);
            }
            _ => self.due = true,
        }
    }

    fn change(&mut self, change: RosterChange<'_>, secret: &str) {
        self.changed = true;
        match change.entry {
            Some(entry) => {
                let member = Member::read(change.visitor, entry, secret);
                self.missing.remove(&change.visitor);
                self.members.insert(change.visitor, Arc::new(member));
            }
            // A member who left one node may be on another, which is about to say so.
            None => {
                let gone = self.members.remove(&change.visitor).filter(|_| self.hold.is_some());
                self.missing.extend(gone.map(|member| (change.visitor, member)));
            }
        }
    }

    /// Applies a reading, and what arrived during it. `hold`: how long to wait for members who are missing because of
    /// a loss of data.
    pub fn read(&mut self, roll: Roll, now: Instant, hold: Duration) {
        (self.reading, self.not_before, self.failed) = (false, now + BETWEEN, false);
        self.replace(roll, now, hold);
        for message in mem::take(&mut self.waiting) {
            self.take_in(&message, now, hold);
        }
    }

    fn replace(&mut self, roll: Roll, now: Instant, hold: Duration) {
        let before = self.known.clone();
        let (known, members) = match roll {
            Roll::None => (Known::NoList, Members::new()),
            Roll::Long => return self.hide(now),
            Roll::All(head, secret, all) => {
                let read = |(visitor, entry): (VisitorId, Vec<u8>)| {
                    (visitor, Arc::new(Member::read(visitor, &entry, &secret)))
                };
                (Known::At(head), all.into_iter().map(read).collect())
            }
        };
        let mut held = mem::take(&mut self.members);
        let torn = mem::take(&mut self.torn);
        // A list ends with its last member, and with that nothing is lost.
        let ended = known == Known::NoList && held.is_empty();
        let lost = torn || !(ended || same_list(&before, &known));
        held.append(&mut self.missing);
        if lost && !held.is_empty() {
            self.hold = Some(now + hold);
        }
        held.retain(|visitor, _| self.hold.is_some() && !members.contains_key(visitor));
        (self.known, self.members, self.missing, self.changed) = (known, members, held, true);
        self.fits(now);
    }

    /// Hides a list that is too long to be shown, and shows it again once it is short enough.
    fn fits(&mut self, now: Instant) {
        let bytes: usize = self.members.values().chain(self.missing.values()).map(|member| member.bytes()).sum();
        let most_bytes = if self.long.is_some() { self.rule.bytes / 10 * 9 } else { self.rule.bytes };
        if self.members.len() + self.missing.len() > self.most() as usize || bytes > most_bytes as usize {
            return self.hide(now);
        }
        self.long = None;
    }

    fn hide(&mut self, now: Instant) {
        self.changed |= self.long.is_none();
        self.long = Some(now + REST);
        (self.members, self.missing, self.hold, self.known) = (Members::new(), Members::new(), None, Known::Nothing);
    }

    /// Returns what there is to show, if it has changed.
    pub fn take_news(&mut self) -> Option<Listing> {
        if !mem::take(&mut self.changed) {
            return None;
        }
        if self.long.is_some() || self.failed {
            return Some(Listing::Hidden);
        }
        if self.missing.is_empty() {
            let all = self.members.iter().map(|(visitor, member)| (*visitor, member.clone()));
            return Some(Listing::Shown(Arc::new(MemberList::of(all))));
        }
        let mut all = self.members.clone();
        all.extend(self.missing.iter().map(|(visitor, member)| (*visitor, member.clone())));
        Some(Listing::Shown(Arc::new(MemberList::of(all.into_iter()))))
    }
}

/// Whether nothing was lost between the two lists.
fn same_list(before: &Known, after: &Known) -> bool {
    match (before, after) {
        (Known::At(before), Known::At(after)) => before.epoch == after.epoch && before.turn <= after.turn,
        (before, after) => before == after,
    }
}
