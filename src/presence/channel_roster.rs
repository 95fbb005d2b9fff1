//! A channel's list of members, where one is kept, and what is told of it.

use std::time::{Duration, Instant};

use super::channel::{HandleChange, flag};
use super::member::Listing;
use super::roster::{Roll, Roster};
use super::roster_news::Head;
use super::step::Step;
use super::visitors::Visitors;
use crate::config::channels::MembersRule;

/// See the module.
#[derive(Debug)]
pub struct ChannelRoster {
    /// How members are listed; None where they are not.
    rule: Option<MembersRule>,
    /// The list, once somebody here wants it.
    list: Option<Box<Roster>>,
    /// How long the list waits for members who are missing after a loss of data.
    hold: Duration,
    /// The epoch of the list that last made a repair due.
    compared: Box<str>,
    /// The secret from which handles are made, as far as this node knows.
    pub secret: Box<str>,
}

impl ChannelRoster {
    /// Starts without a list.
    pub fn new() -> Self {
        Self { rule: None, list: None, hold: Duration::ZERO, compared: "?".into(), secret: Box::default() }
    }

    /// Whether members are listed.
    pub fn is_kept(&self) -> bool {
        self.rule.is_some()
    }

    /// Applies a rule: from now on a list is kept, or none. Returns true if visitors who are already stated must be
    /// stated again.
    pub fn configure(&mut self, rule: Option<MembersRule>, hold: Duration, released: bool, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.rule, rule);
        self.hold = hold;
        match (rule, &mut self.list) {
            (Some(rule), Some(list)) => list.configure(rule),
            (Some(rule), None) if !released => self.list = Some(Box::new(Roster::new(rule, now))),
            (Some(_), None) => {}
            (None, _) => self.list = None,
        }
        before.is_none() && rule.is_some()
    }

    /// Applies what was published about the list.
    pub fn hear(&mut self, change: &HandleChange, now: Instant) {
        let Some(rule) = self.rule else { return };
        let list = self.list.get_or_insert_with(|| Box::new(Roster::new(rule, now)));
        if change.flags & flag::LISTED != 0 {
            list.subscribed();
        }
        for message in &change.news {
            list.heard(message.clone(), now, self.hold);
        }
    }

    /// Drops the list, as nobody here wants it any more.
    pub fn release(&mut self) {
        self.list = None;
    }

    /// Records that what is published about the list no longer arrives.
    pub fn unsubscribed(&mut self) {
        self.list.iter_mut().for_each(|list| list.unsubscribed());
    }

    /// Records that the list's shard is gone, and may come back with other data.
    pub fn tear(&mut self) {
        self.list.iter_mut().for_each(|list| list.tear());
    }

    /// Whether the list should be read now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.list.as_ref().is_some_and(|list| list.is_due(now))
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.list.as_ref()?.next()
    }

    /// The rule for a step: how much of the list it may bring.
    pub fn rule_for(&self, step: Step) -> Option<MembersRule> {
        match (&self.list, self.rule) {
            (Some(list), Some(rule)) if step == Step::Members => Some(MembersRule { most: list.most(), ..rule }),
            (_, rule) => rule,
        }
    }

    /// Records that a reading has begun.
    pub fn begin(&mut self) {
        self.list.iter_mut().for_each(|list| list.begin());
    }

    /// Applies a reading.
    pub fn read(&mut self, roll: &Roll, now: Instant) {
        let hold = self.hold;
        self.list.iter_mut().for_each(|list| list.read(roll.clone(), now, hold));
    }

    /// Records that a reading failed.
    pub fn failed(&mut self, refused: bool, now: Instant) {
        self.list.iter_mut().for_each(|list| list.failed(refused, now));
    }

    /// Compares the list with what a repair found.
    pub fn found(&mut self, head: Option<Head>) {
        self.list.iter_mut().for_each(|list| list.found(head.clone()));
    }

    /// Whether the list differs from the one that this node's visitors were put on. A repair then makes sure, and
    /// they are stated again. True once for each list.
    pub fn is_news_to(&mut self, visitors: &Visitors) -> bool {
        let Some(epoch) = self.list.as_ref().and_then(|list| list.epoch()) else { return false };
        let stated = matches!(visitors.confirmed(), Some(Some(_)));
        let news = stated && epoch != visitors.epoch() && *self.compared != *epoch;
        if news {
            self.compared = epoch.into();
        }
        news
    }

    /// Returns what is new in the list for those who are here.
    pub fn news(&mut self, now: Instant) -> Option<Listing> {
        let list = self.list.as_mut()?;
        list.tick(now);
        list.take_news()
    }
}
