//! Which channels are wanted, and what the current connection knows of that. No I/O here.
//!
//! A channel may be left and wanted again while the store still answers to what came before. So each
//! wish has a ticket, and an acknowledgement counts only when it is the answer to the last thing that
//! the store was told about the channel.

use std::collections::{HashMap, HashSet};

use crate::memory;

/// Tells one wish for a channel from the next one for the same channel.
pub type Ticket = u64;

/// What is wanted, and how far the store knows.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    channels: HashMap<String, Channel>,
    /// Channels whose wish and connection may differ.
    changed: HashSet<String>,
    /// Channels to which the store does not let us subscribe.
    denied: HashSet<String>,
    /// How many subscriptions are acknowledged.
    live: usize,
}

#[derive(Debug, Default)]
struct Channel {
    wanted: Option<Ticket>,
    /// The last that the store was told is SUBSCRIBE.
    told: bool,
    /// Commands about it that the store has not answered yet.
    unanswered: u32,
    /// The store acknowledged the last SUBSCRIBE.
    live: bool,
}

/// What the store is to be told next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub join: Vec<String>,
    pub leave: Vec<String>,
    /// Wishes that a subscription fulfils that never ended.
    pub fulfilled: Vec<(String, Ticket)>,
}

impl Wishes {
    /// Wants a channel. No two wishes have the same ticket.
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

    /// A new connection knows nothing: everything wanted is a change.
    pub fn begin_anew(&mut self) {
        self.channels.retain(|_, channel| channel.wanted.is_some());
        for channel in self.channels.values_mut() {
            (channel.told, channel.unanswered, channel.live) = (false, 0, false);
        }
        self.denied.clear();
        self.live = 0;
        self.changed = self.channels.keys().cloned().collect();
    }

    /// The next changes, at most so many; what came and went in between is left out.
    pub fn next(&mut self, most: usize) -> Changes {
        let mut changes = Changes::default();
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

    /// The store acknowledged SUBSCRIBE (or UNSUBSCRIBE). Returns the wish that is fulfilled, if one is.
    pub fn answered(&mut self, name: &str, subscribed: bool) -> Option<Ticket> {
        let channel = self.channels.get_mut(name)?;
        // What nobody asked for, nobody takes for an answer.
        channel.unanswered = channel.unanswered.checked_sub(1)?;
        if channel.unanswered == 0 && channel.told && subscribed && !channel.live {
            channel.live = true;
            self.live += 1;
            return channel.wanted;
        }
        self.forget(name);
        None
    }

    /// The store refused SUBSCRIBE for these. They are to be told again.
    pub fn refused(&mut self, names: &[String]) {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            channel.told = false;
            channel.unanswered = channel.unanswered.saturating_sub(1);
            self.changed.insert(name.clone());
            self.forget(name);
        }
    }

    /// The store does not allow this one, whatever it thinks of others. It is left out until
    /// [`Wishes::retry`].
    pub fn deny(&mut self, name: &str) {
        self.refused(&[name.to_owned()]);
        if self.channels.contains_key(name) {
            self.changed.remove(name);
            self.denied.insert(name.to_owned());
        }
    }

    /// The store refused UNSUBSCRIBE for these: they are subscribed still, and to be told again.
    pub fn kept(&mut self, names: &[String]) {
        for name in names {
            let Some(channel) = self.channels.get_mut(name) else { continue };
            channel.unanswered = channel.unanswered.saturating_sub(1);
            self.live += usize::from(!channel.live);
            (channel.told, channel.live) = (true, true);
            self.changed.insert(name.clone());
        }
    }

    /// Has one of the denied tried again; any is as good, for a right comes for many at once.
    pub fn retry_one(&mut self) -> Option<String> {
        let name = self.denied.iter().next().cloned()?;
        self.denied.remove(&name);
        self.changed.insert(name.clone());
        Some(name)
    }

    /// Has all of the denied tried again.
    pub fn retry_all(&mut self) {
        self.changed.extend(self.denied.drain());
    }

    /// Whether this one is denied.
    pub fn is_denied(&self, name: &str) -> bool {
        self.denied.contains(name)
    }

    /// Whether the store was told everything that it is to be told now.
    pub fn is_settled(&self) -> bool {
        self.changed.is_empty()
    }

    /// How many channels are denied.
    pub fn denied(&self) -> usize {
        self.denied.len()
    }

    /// Whether some channel is denied, and none is live.
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
        assert_eq!(wishes.next(9), Changes::default(), "the acknowledgement is on its way");
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
        assert_eq!((wishes.denied(), wishes.next(9)), (1, Changes::default()));
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

    /// What the store has and has not said yet.
    #[derive(Default)]
    struct Store {
        /// For each answer: the channel, whether it is now subscribed, and the wish it was sent for.
        answers: VecDeque<(String, bool)>,
        subscribed: HashSet<String>,
    }

    proptest! {
        /// Whatever is wanted, left, told and acknowledged in whatever order: a wish is said to be
        /// fulfilled only while the store has the channel, and in the end exactly the wanted are.
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
                Ok(changes != Changes::default())
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
