//! When a node looks for what should not be in the store any more: its own, and that of nodes that are gone.

use std::sync::Arc;
use std::time::Instant;

use super::channel_state::{ChannelState, Listed};
use super::effect::{Effect, Job, News, Scrubbed};
use super::state::State;
use crate::backplane::Error;
use crate::config::Count;

/// Channels that one audit may bring.
const AUDITED: usize = 1024;

impl State {
    /// Compares its list in the store with what it knows: a store that came back with what it had a
    /// while ago may have a share that this node took out since, and nobody else would.
    pub(super) fn audit_if_due(&mut self, now: Instant) {
        if self.may_step() && !self.closing && now >= self.audit {
            self.audit = self.next_repair(now);
            self.effects.push(Effect::Run(Job::Audit(self.lease.id.clone())));
        }
    }

    /// The store has this node in so many channels. Those that it does not know are left as any other.
    pub(super) fn audited(&mut self, names: Vec<String>, now: Instant) {
        for name in &names {
            // One that is known and was taken off the list is on it again.
            if let Some(channel) = self.channels.get_mut(name.as_str()).filter(|channel| channel.listed == Listed::No) {
                channel.listed = Listed::Maybe;
                self.look_at(name.as_str().into(), now);
            }
        }
        let unknown = names.into_iter().filter(|name| !self.channels.contains_key(name.as_str()));
        for name in unknown.take(AUDITED).map(Arc::<str>::from).collect::<Vec<_>>() {
            let repair = self.next_repair(now);
            let mut channel = ChannelState::left_behind(self.rules.stands(&name), now, repair);
            if self.rules.find(&name).is_some_and(|rule| rule.count == Count::Visitors) {
                channel.leaves_visitors_behind();
            }
            self.channels.insert(name.clone(), channel);
            self.look_at(name, now);
        }
    }

    /// Looks at the next page of the store's keys. In a cluster, one look is not enough to tell who is dead.
    pub(super) fn scrub_if_due(&mut self, now: Instant) {
        let may = self.may_step() && !self.closing && !self.lease.sharded;
        let may = may && self.lease.may_reap(self.config.lease, now);
        if may && !self.scrub.under_way && now >= self.scrub.next {
            (self.scrub.under_way, self.scrub.next) = (true, self.next_repair(now));
            self.effects.push(Effect::Run(Job::Scrub(self.scrub.cursor.clone(), self.lease.id.clone())));
        }
    }

    /// A page was looked at.
    pub(super) fn scrubbed(&mut self, result: Result<Scrubbed, Error>, now: Instant) {
        self.scrub.under_way = false;
        match result {
            Ok(Scrubbed { next, shares }) => {
                self.scrub.cursor = next;
                // A share that came back just as its channel was taken off the list is in no list.
                self.audited(shares, now);
            }
            Err(error) => self.tell(News::NotYet("the store's keys are not scrubbed yet", error)),
        }
    }
}
