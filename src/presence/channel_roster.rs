//! The list of a channel's members, where one is kept, and what is told of it.

use std::time::{Duration, Instant};

use super::channel::{Change, flag};
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
    /// How long it waits for those who are missing after data were lost.
    hold: Duration,
    /// Which list a repair was last asked about.
    compared: Box<str>,
    /// What handles are made with, as far as this node knows.
    pub secret: Box<str>,
}

impl ChannelRoster {
    /// None is kept yet.
    pub fn new() -> Self {
        Self { rule: None, list: None, hold: Duration::ZERO, compared: "?".into(), secret: Box::default() }
    }

    /// Whether members are listed.
    pub fn is_kept(&self) -> bool {
        self.rule.is_some()
    }

    /// From now on a list is kept, or none. True if whoever is stated already is to be stated again.
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

    /// Takes in what was published about the list.
    pub fn hear(&mut self, change: &Change, now: Instant) {
        let Some(rule) = self.rule else { return };
        let list = self.list.get_or_insert_with(|| Box::new(Roster::new(rule, now)));
        if change.flags & flag::LISTED != 0 {
            list.subscribed();
        }
        for message in &change.news {
            list.heard(message.clone(), now, self.hold);
        }
    }

    /// Nobody here wants it any more.
    pub fn release(&mut self) {
        self.list = None;
    }

    /// What is published about it does not arrive any more.
    pub fn unsubscribed(&mut self) {
        self.list.iter_mut().for_each(|list| list.unsubscribed());
    }

    /// The shard that it is on is gone, and comes back as whatever it is then.
    pub fn tear(&mut self) {
        self.list.iter_mut().for_each(|list| list.tear());
    }

    /// Whether it is to be read.
    pub fn is_due(&self, now: Instant) -> bool {
        self.list.as_ref().is_some_and(|list| list.is_due(now))
    }

    /// When to look again.
    pub fn next(&self) -> Option<Instant> {
        self.list.as_ref()?.next()
    }

    /// How much of the list a step may bring.
    pub fn rule_for(&self, step: Step) -> Option<MembersRule> {
        match (&self.list, self.rule) {
            (Some(list), Some(rule)) if step == Step::Members => Some(MembersRule { most: list.most(), ..rule }),
            (_, rule) => rule,
        }
    }

    /// It is being read.
    pub fn begin(&mut self) {
        self.list.iter_mut().for_each(|list| list.begin());
    }

    /// It was read.
    pub fn read(&mut self, roll: &Roll, now: Instant) {
        let hold = self.hold;
        self.list.iter_mut().for_each(|list| list.read(roll.clone(), now, hold));
    }

    /// It could not be read.
    pub fn failed(&mut self, refused: bool, now: Instant) {
        self.list.iter_mut().for_each(|list| list.failed(refused, now));
    }

    /// A repair found it like this.
    pub fn found(&mut self, head: Option<Head>) {
        self.list.iter_mut().for_each(|list| list.found(head.clone()));
    }

    /// Whether it is not the list that this node's visitors were put on. A repair says so for certain, and then
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

    /// What is new of it to those who are here.
    pub fn news(&mut self, now: Instant) -> Option<Listing> {
        let list = self.list.as_mut()?;
        list.tick(now);
        list.take_news()
    }
}
