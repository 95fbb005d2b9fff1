//! Tracks which channels are wanted, and what the current connection knows of that. No I/O.
//!
//! A channel may be left and wanted again while the store is still answering earlier commands. So each
//! wish has a ticket, and an acknowledgement counts only if it answers the last command that was sent
//! about the channel.

use std::collections::{HashMap, HashSet};

use crate::memory;

/// Distinguishes successive wishes for the same channel.
pub type Ticket = u64;

/// The wanted channels, and what the store was told and has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    channels: HashMap<String, Channel>,
    /// Channels whose state on the connection may not match the wish yet.
    changed: HashSet<String>,
    /// Channels that the store does not let us subscribe to.
    denied: HashSet<String>,
    /// How many subscriptions are acknowledged.
    live: usize,
}

#[derive(Debug, Default)]
struct Channel {
    wanted: Option<Ticket>,
    /// Whether the last command sent about it is SUBSCRIBE.
    told: bool,
    /// Commands about it that the store has not answered yet.
    unanswered: u32,
    /// Whether the store acknowledged the last SUBSCRIBE.
    live: bool,
}

/// What to tell the store next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WishChanges {
    pub join: Vec<String>,
    pub leave: Vec<String>,
    /// Wishes that are fulfilled already, by a subscription that never ended.
    pub fulfilled: Vec<(String, Ticket)>,
}

impl Wishes {
    /// Wants a channel. Each wish must have its own ticket.
    pub fn want(&mut self, channel: String, ticket: Ticket) {
        self.channels.entry(channel.clone()).or_default().wanted = Some(ticket);
        self.changed.insert(channel);
    }

    pub fn leave(&mut self, channel: &str) {
        if let Some(known) = self.channels.get_mut(channel) {
            known.wanted = None;
            self.denied.remove(channel);
            self.changed.insert(channel.to_owned());
        }
    }

    /// Starts over for a new connection, on which every wanted channel has to be subscribed.
    pub fn begin_anew(&mut self) {
        self.channels.retain(|_, channel| channel.wanted.is_some());
        for channel in self.channels.values_mut() {
            (channel.told, channel.unanswered, channel.live) = (false, 0, false);
        }
        self.denied.clear();
        self.live = 0;
        self.changed = self.channels.keys().cloned().collect();
    }

    /// Returns the next changes, at most `most`; wishes that came and went in between are left out.
    pub fn next(&mut self, most: usize) -> WishChanges {
        let mut changes = WishChanges::default();
        let some: Vec<String> = self.changed.iter().take(most).cloned().collect();
        for name in some {
            self.changed.remove(&name);
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            match (channel.wanted, channel.told) {
                (Some(_), false) => {
                    channel.told = true;
                    channel.unanswered += 1;
                    changes.join.push(name);
                }
                (None, true) => {
                    self.live -= usize::from(std::mem::take(&mut channel.live));
                    channel.told = false;
                    channel.unanswered += 1;
                    changes.leave.push(name);
                }
                // Left and wanted again before the store was told.
                (Some(ticket), true) if channel.live => changes.fulfilled.push((name, ticket)),
                // The acknowledgement is on its way.
                (Some(_), true) => {}
                (None, false) => self.forget(&name),
            }
        }
        changes
    }

    /// Notes that the store acknowledged SUBSCRIBE or UNSUBSCRIBE. Returns the wish that this fulfils, if any.
    pub fn answered(&mut self, name: &str, subscribed: bool) -> Option<Ticket> {
        let channel = self.channels.get_mut(name)?;
        // An acknowledgement that nobody asked for is ignored.
        channel.unanswered = channel.unanswered.checked_sub(1)?;
        if channel.unanswered == 0 && channel.told && subscribed && !channel.live {
            channel.live = true;
            self.live += 1;
            return channel.wanted;
        }
        self.forget(name);
        None
    }

    /// Notes that the store refused SUBSCRIBE for these channels. It will be sent again.
    pub fn refused(&mut self, names: &[String]) {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            channel.told = false;
            channel.unanswered = channel.unanswered.saturating_sub(1);
            self.changed.insert(name.clone());
            self.forget(name);
        }
    }

    /// Notes that the store denies this channel. It is left out until [`Wishes::retry_one`] or
    /// [`Wishes::retry_all`].
    pub fn deny(&mut self, name: &str) {
        self.refused(&[name.to_owned()]);
        if self.channels.contains_key(name) {
            self.changed.remove(name);
            self.denied.insert(name.to_owned());
        }
    }

    /// Notes that the store refused UNSUBSCRIBE for these channels, which stay subscribed. It will be sent again.
    pub fn kept(&mut self, names: &[String]) {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            channel.unanswered = channel.unanswered.saturating_sub(1);
            self.live += usize::from(!channel.live);
            (channel.told, channel.live) = (true, true);
            self.changed.insert(name.clone());
        }
    }

    /// Schedules one denied channel for a retry. Any one will do, because a permission usually covers many.
    pub fn retry_one(&mut self) -> Option<String> {
        let name = self.denied.iter().next().cloned()?;
        self.denied.remove(&name);
        self.changed.insert(name.clone());
        Some(name)
    }

    /// Schedules all denied channels for a retry.
    pub fn retry_all(&mut self) {
        self.changed.extend(self.denied.drain());
    }

    /// Whether this channel is denied.
    pub fn is_denied(&self, name: &str) -> bool {
        self.denied.contains(name)
    }

    /// Whether the store has been told of all changes.
    pub fn is_settled(&self) -> bool {
        self.changed.is_empty()
    }

    /// How many channels are denied.
    pub fn denied(&self) -> usize {
        self.denied.len()
    }

    /// Whether at least one channel is denied and none is live.
    pub fn all_are_denied(&self) -> bool {
        !self.denied.is_empty() && self.live == 0
    }

    /// How many subscriptions are acknowledged.
    pub fn live(&self) -> usize {
        self.live
    }

    fn forget(&mut self, name: &str) {
        let over = |channel: &Channel| channel.wanted.is_none() && !channel.told && channel.unanswered == 0;
        if self.channels.get(name).is_some_and(over) {
            self.channels.remove(name);
            self.changed.remove(name);
            memory::shrink(&mut self.channels);
            memory::shrink_set(&mut self.changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn names(changes: &[&str]) -> Vec<String> {
        changes.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_acknowledgement_from_before_does_not_fulfil_a_wish_that_came_after() {
        let mut wishes = Wishes::default();
        wishes.want("a".into(), 1);
        assert_eq!(wishes.next(9).join, names(&["a"]));
        wishes.leave("a");
        assert_eq!(wishes.next(9).leave, names(&["a"]));
        wishes.want("a".into(), 2);
        assert_eq!(wishes.next(9).join, names(&["a"]));
        assert_eq!(wishes.answered("a", true), None, "the first SUBSCRIBE");
        assert_eq!(wishes.answered("a", false), None, "the UNSUBSCRIBE");
        assert_eq!(wishes.answered("a", true), Some(2));
        assert_eq!(wishes.live(), 1);
    }

    #[test]
    fn a_wish_is_fulfilled_by_a_subscription_that_never_ended_but_not_before_it_is_acknowledged() {
        let mut wishes = Wishes::default();
        wishes.want("a".into(), 1);
        wishes.next(9);
        wishes.leave("a");
        wishes.want("a".into(), 2);
        assert_eq!(wishes.next(9), WishChanges::default(), "the acknowledgement is on its way");
        assert_eq!(wishes.answered("a", true), Some(2));
        wishes.leave("a");
        wishes.want("a".into(), 3);
        assert_eq!(wishes.next(9).fulfilled, [("a".to_owned(), 3)]);
    }

    #[test]
    fn what_is_denied_waits_and_what_is_left_is_forgotten() {
        let mut wishes = Wishes::default();
        wishes.want("a".into(), 1);
        wishes.want("b".into(), 2);
        let join = wishes.next(9).join;
        wishes.refused(&join);
        wishes.next(9);
        wishes.deny("a");
        assert_eq!((wishes.denied(), wishes.next(9)), (1, WishChanges::default()));
        wishes.retry_one();
        assert_eq!(wishes.next(9).join, names(&["a"]));
        wishes.deny("a");
        wishes.leave("a");
        wishes.answered("b", true);
        wishes.leave("b");
        assert_eq!(wishes.next(9).leave, names(&["b"]));
        wishes.answered("b", false);
        assert!(wishes.channels.is_empty() && wishes.changed.is_empty() && wishes.denied.is_empty());
    }

    /// A model of the store: its subscriptions, and the answers that it has not sent yet.
    #[derive(Default)]
    struct Store {
        /// For each answer, the channel and whether it is now subscribed.
        answers: VecDeque<(String, bool)>,
        subscribed: HashSet<String>,
    }

    proptest! {
        /// Whatever is wanted, left, told and acknowledged, in any order, a wish is reported as fulfilled only
        /// while the store has the channel, and in the end exactly the wanted channels are subscribed.
        #[test]
        fn a_fulfilled_wish_is_subscribed_and_in_the_end_all_are(
            steps in proptest::collection::vec((0..4_u8, 0..3_u8), 0..200)
        ) {
            let (mut wishes, mut store) = (Wishes::default(), Store::default());
            let (mut wanted, mut fulfilled) = (HashMap::new(), HashSet::new());
            let tell = |wishes: &mut Wishes, store: &mut Store, fulfilled: &mut HashSet<Ticket>| {
                let changes = wishes.next(2);
                for name in &changes.join {
                    store.subscribed.insert(name.clone());
                    store.answers.push_back((name.clone(), true));
                }
                for name in &changes.leave {
                    store.subscribed.remove(name);
                    store.answers.push_back((name.clone(), false));
                }
                for (name, ticket) in &changes.fulfilled {
                    prop_assert!(store.subscribed.contains(name));
                    fulfilled.insert(*ticket);
                }
                Ok(changes != WishChanges::default())
            };
            for (ticket, (what, channel)) in (1..).zip(steps) {
                let name = channel.to_string();
                match what {
                    0 => {
                        wanted.insert(name.clone(), ticket);
                        wishes.want(name, ticket);
                    }
                    1 => {
                        wanted.remove(&name);
                        wishes.leave(&name);
                    }
                    2 => drop(tell(&mut wishes, &mut store, &mut fulfilled)?),
                    _ => if let Some((name, on)) = store.answers.pop_front()
                        && let Some(ticket) = wishes.answered(&name, on) {
                        prop_assert!(store.subscribed.contains(&name), "told of an ended subscription");
                        fulfilled.insert(ticket);
                    }
                }
            }
            while !wishes.changed.is_empty() || !store.answers.is_empty() {
                tell(&mut wishes, &mut store, &mut fulfilled)?;
                if let Some((name, on)) = store.answers.pop_front()
                    && let Some(ticket) = wishes.answered(&name, on) {
                    fulfilled.insert(ticket);
                }
            }
            prop_assert_eq!(&store.subscribed, &wanted.keys().cloned().collect::<HashSet<_>>());
            prop_assert!(wanted.values().all(|ticket| fulfilled.contains(ticket)));
            prop_assert_eq!(wishes.live(), wanted.len());
            prop_assert_eq!(wishes.channels.len(), wanted.len());
        }
    }
}
