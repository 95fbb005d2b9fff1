//! The part of a channel's state that concerns the list of its members, where one is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channel::{Change, flag};
use super::channel_state::{ChannelState, Step};
use super::effect::Effect;
use super::roster::{Roll, Roster};
use super::roster_news::Head;
use super::state::State;
use crate::config::channels::MembersRule;

impl ChannelState {
    /// From now on a list is kept, or none. With one, whoever is stated already is stated again.
    pub fn list_members(&mut self, rule: Option<MembersRule>, hold: Duration, now: Instant) {
        let before = std::mem::replace(&mut self.members, rule);
        self.hold = hold;
        if before.is_none()
            && rule.is_some()
            && let Some(visitors) = self.visitors.as_mut().filter(|visitors| !visitors.is_settled())
        {
            visitors.lost();
        }
        let released = self.released();
        match (rule, &mut self.roster) {
            (Some(rule), Some(roster)) => roster.configure(rule),
            (Some(rule), None) if !released => self.roster = Some(Box::new(Roster::new(rule, now))),
            (Some(_), None) => {}
            (None, _) => self.roster = None,
        }
    }

    /// Takes in what was published about the list.
    pub fn keep_roster(&mut self, change: &Change, now: Instant) {
        let Some(rule) = self.members.filter(|_| !self.released()) else { return };
        let roster = self.roster.get_or_insert_with(|| Box::new(Roster::new(rule, now)));
        if change.flags & flag::LISTED != 0 {
            roster.subscribed();
        }
        for message in &change.news {
            roster.heard(message.clone(), now, self.hold);
        }
        self.compare_lists(now);
    }

    /// How much of the list a step may bring.
    pub fn rule_for(&self, step: Step) -> Option<MembersRule> {
        match (&self.roster, self.members) {
            (Some(roster), Some(rule)) if step == Step::Members => Some(MembersRule { most: roster.most(), ..rule }),
            (_, rule) => rule,
        }
    }

    /// The list was read.
    pub fn rolled(&mut self, roll: Roll, now: Instant) {
        let hold = self.hold;
        self.roster.iter_mut().for_each(|roster| roster.read(roll.clone(), now, hold));
        self.compare_lists(now);
    }

    /// It could not be read.
    pub fn not_rolled(&mut self, refused: bool, now: Instant) {
        self.roster.iter_mut().for_each(|roster| roster.failed(refused, now));
    }

    /// A repair found it like this.
    pub fn found_list(&mut self, head: Option<Head>) {
        self.roster.iter_mut().for_each(|roster| roster.found(head.clone()));
    }

    /// If the list is not the one that this node's visitors were put on, a repair says so for certain, and
    /// then they are stated again. One for each list.
    fn compare_lists(&mut self, now: Instant) {
        let (Some(roster), Some(visitors)) = (&self.roster, &self.visitors) else { return };
        let Some(epoch) = roster.epoch().filter(|epoch| *epoch != visitors.epoch()) else { return };
        let stated = matches!(visitors.confirmed(), Some(Some(_)));
        if stated && *self.compared != *epoch {
            self.compared = epoch.into();
            self.repair_now(now);
        }
    }
}

impl State {
    /// How long those are waited for who are missing from a list after data were lost.
    pub(super) fn hold(&self) -> Duration {
        self.config.lease + self.config.grace + self.config.heartbeat
    }

    /// Hands on what is new of a channel's list.
    pub(super) fn show_members(&mut self, name: &Arc<str>, now: Instant) {
        let Some(roster) = self.channels.get_mut(name).and_then(|channel| channel.roster.as_mut()) else { return };
        roster.tick(now);
        if let Some(list) = roster.take_news() {
            self.effects.push(Effect::Members(name.clone(), list));
        }
    }
}
