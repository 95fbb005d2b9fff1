//! Tracks on which feed each channel of a cluster is subscribed, and where it goes when its slot moves. No I/O:
//! feeds are just numbers here; acknowledgements go in, and orders for the feeds come out.
//!
//! A channel that moves is wanted on the new feed while it stays on the old one. Messages from the old feed are
//! delivered until the new one has acknowledged, and not after that. So duplicates are brief, only messages in
//! flight can be lost, and the move is reported.

use std::collections::HashMap;

use super::wishes::Ticket;

/// Identifies a feed. Never reused.
pub(super) type FeedId = u64;

/// An instruction to a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedOrder {
    /// Want this channel; the ticket identifies the wish on that feed.
    Want(FeedId, String, Ticket),
    /// Stop wanting this channel.
    Leave(FeedId, String),
}

/// A fulfilled wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fulfilled {
    /// The wish.
    pub ticket: Ticket,
    /// Whether the channel was live on another feed until now.
    pub moved: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    channels: HashMap<String, Assignment>,
    tickets: Ticket,
}

#[derive(Debug)]
struct Assignment {
    ticket: Ticket,
    slot: u16,
    /// The feed that delivers the channel, and the wish there; None before the first acknowledgement.
    at: Option<(FeedId, Ticket)>,
    /// Whether it is acknowledged on that feed's current connection.
    live: bool,
    /// The feed that takes over once it acknowledges, and the wish there.
    next: Option<(FeedId, Ticket)>,
}

impl Assignments {
    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// Wants a channel. `feed` is the feed of its slot, if there is one.
    pub fn want(&mut self, name: String, slot: u16, feed: Option<FeedId>) -> (Ticket, Vec<FeedOrder>) {
        let mut orders = self.leave(&name);
        let ticket = self.ticket();
        let next = feed.map(|feed| (feed, self.ticket()));
        orders.extend(next.map(|(feed, ticket)| FeedOrder::Want(feed, name.clone(), ticket)));
        self.channels.insert(name, Assignment { ticket, slot, at: None, live: false, next });
        (ticket, orders)
    }

    /// Stops wanting a channel.
    pub fn leave(&mut self, name: &str) -> Vec<FeedOrder> {
        let Some(assignment) = self.channels.remove(name) else { return Vec::new() };
        [assignment.at, assignment.next]
            .into_iter()
            .flatten()
            .map(|(feed, _)| FeedOrder::Leave(feed, name.to_owned()))
            .collect()
    }

    /// Moves the channels whose slots have another feed by now.
    pub fn follow(&mut self, feed_of: impl Fn(u16) -> Option<FeedId>) -> Vec<FeedOrder> {
        let mut orders = Vec::new();
        for (name, assignment) in &mut self.channels {
            let bound = assignment.next.or(assignment.at).map(|(feed, _)| feed);
            let Some(feed) = feed_of(assignment.slot).filter(|feed| Some(*feed) != bound) else { continue };
            if let Some((before, _)) = assignment.next.take() {
                orders.push(FeedOrder::Leave(before, name.clone()));
            }
            if assignment.at.is_some_and(|(at, _)| at == feed) {
                continue;
            }
            if let Some((dead, _)) = assignment.at.take_if(|_| !assignment.live) {
                orders.push(FeedOrder::Leave(dead, name.clone()));
            }
            self.tickets += 1;
            assignment.next = Some((feed, self.tickets));
            orders.push(FeedOrder::Want(feed, name.clone(), self.tickets));
        }
        orders
    }

    /// Handles a feed's report that its wish with this ticket is fulfilled.
    pub fn acknowledged(&mut self, feed: FeedId, name: &str, ticket: Ticket) -> Option<(Fulfilled, Vec<FeedOrder>)> {
        let assignment = self.channels.get_mut(name)?;
        let mut orders = Vec::new();
        let mut moved = false;
        if assignment.next == Some((feed, ticket)) {
            if let Some((before, _)) = assignment.at {
                (moved, orders) = (assignment.live, vec![FeedOrder::Leave(before, name.to_owned())]);
            }
            (assignment.at, assignment.next) = (assignment.next.take(), None);
        } else if assignment.at != Some((feed, ticket)) {
            return None;
        }
        assignment.live = true;
        Some((Fulfilled { ticket: assignment.ticket, moved }, orders))
    }

    /// Whether messages from this feed on a channel should be delivered.
    pub fn hears(&self, feed: FeedId, name: &str) -> bool {
        self.channels
            .get(name)
            .is_some_and(|assignment| assignment.live && assignment.at.is_some_and(|(at, _)| at == feed))
    }

    /// Notes that a feed lost its connection. Returns the channels that were live on it.
    pub fn lost(&mut self, feed: FeedId) -> Vec<String> {
        let here = |assignment: &Assignment| assignment.at.is_some_and(|(at, _)| at == feed);
        let heard = self.channels.iter_mut().filter(|(_, assignment)| here(assignment) && assignment.live);
        heard
            .map(|(name, assignment)| {
                assignment.live = false;
                name.clone()
            })
            .collect()
    }

    /// Whether any channel is on this feed or is moving to it.
    pub fn uses(&self, feed: FeedId) -> bool {
        let here = |assignment: &Assignment| {
            [assignment.at, assignment.next].into_iter().flatten().any(|(used, _)| used == feed)
        };
        self.channels.values().any(here)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn want(orders: &[FeedOrder]) -> (FeedId, Ticket) {
        match orders {
            [.., FeedOrder::Want(feed, _, ticket)] => (*feed, *ticket),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_channel_that_moves_is_heard_at_the_old_feed_until_the_new_one_has_acknowledged() {
        let mut assignments = Assignments::default();
        let (ticket, orders) = assignments.want("a".into(), 7, Some(1));
        let (_, first) = want(&orders);
        assert!(!assignments.hears(1, "a"), "it is not acknowledged");
        let fulfilled = Fulfilled { ticket, moved: false };
        assert_eq!(assignments.acknowledged(1, "a", first), Some((fulfilled, vec![])));
        assert!(assignments.hears(1, "a"));
        let (_, second) = want(&assignments.follow(|_| Some(2)));
        assert!(assignments.hears(1, "a") && !assignments.hears(2, "a"));
        assert_eq!(assignments.acknowledged(2, "a", first), None, "a wish from before");
        let moved = Fulfilled { ticket, moved: true };
        assert_eq!(assignments.acknowledged(2, "a", second), Some((moved, vec![FeedOrder::Leave(1, "a".into())])));
        assert!(!assignments.hears(1, "a") && assignments.hears(2, "a"));
        assert!(!assignments.uses(1) && assignments.uses(2));
    }

    #[test]
    fn a_channel_whose_feed_is_dead_goes_to_the_new_one_at_once() {
        let mut assignments = Assignments::default();
        let (ticket, orders) = assignments.want("a".into(), 7, Some(1));
        assignments.acknowledged(1, "a", want(&orders).1);
        assert_eq!(assignments.lost(1), ["a"]);
        assert_eq!(assignments.lost(1), [""; 0], "told once");
        let orders = assignments.follow(|_| Some(2));
        assert_eq!(orders[0], FeedOrder::Leave(1, "a".into()));
        let fulfilled = Fulfilled { ticket, moved: false };
        assert_eq!(assignments.acknowledged(2, "a", want(&orders).1), Some((fulfilled, vec![])));
    }

    #[test]
    fn a_move_that_is_taken_back_leaves_the_channel_where_it_is() {
        let mut assignments = Assignments::default();
        let (_, orders) = assignments.want("a".into(), 7, Some(1));
        assignments.acknowledged(1, "a", want(&orders).1);
        assignments.follow(|_| Some(2));
        assert_eq!(assignments.follow(|_| Some(1)), [FeedOrder::Leave(2, "a".into())]);
        assert!(assignments.hears(1, "a"));
        assert_eq!(assignments.follow(|_| None), [], "nobody owns the slot");
    }

    proptest! {
        /// Whatever is wanted, moved, lost and acknowledged, a channel is heard on at most one feed, and only where
        /// it is subscribed. In the end exactly the wanted channels are subscribed, each on the feed of its slot.
        #[test]
        fn in_the_end_each_channel_is_heard_at_its_owner_and_nowhere_else(
            steps in proptest::collection::vec((0..5_u8, 0..3_u16, 1..4_u64), 0..100)
        ) {
            let (mut assignments, mut owners) = (Assignments::default(), HashMap::from([(0_u16, 1), (1, 2), (2, 3)]));
            // What each feed was told to want.
            let mut feeds: HashMap<(FeedId, String), Ticket> = HashMap::new();
            let mut wanted: HashSet<u16> = HashSet::new();
            let tell = |feeds: &mut HashMap<(FeedId, String), Ticket>, orders: Vec<FeedOrder>| {
                for order in orders {
                    match order {
                        FeedOrder::Want(feed, name, ticket) => drop(feeds.insert((feed, name), ticket)),
                        FeedOrder::Leave(feed, name) => drop(feeds.remove(&(feed, name))),
                    }
                }
            };
            for (what, slot, feed) in steps {
                let name = slot.to_string();
                match what {
                    0 => {
                        let (_, orders) = assignments.want(name, slot, owners.get(&slot).copied());
                        wanted.insert(slot);
                        tell(&mut feeds, orders);
                    }
                    1 => {
                        wanted.remove(&slot);
                        let orders = assignments.leave(&name);
                        tell(&mut feeds, orders);
                    }
                    2 => {
                        owners.insert(slot, feed);
                        let orders = assignments.follow(|slot| owners.get(&slot).copied());
                        tell(&mut feeds, orders);
                    }
                    3 => drop(assignments.lost(feed)),
                    _ => if let Some(ticket) = feeds.get(&(feed, name.clone())).copied()
                        && let Some((_, orders)) = assignments.acknowledged(feed, &name, ticket) {
                        tell(&mut feeds, orders);
                    }
                }
                for slot in 0..3_u16 {
                    let heard = (1..4).filter(|feed| assignments.hears(*feed, &slot.to_string())).collect::<Vec<_>>();
                    prop_assert!(heard.len() <= 1);
                    prop_assert!(heard.iter().all(|feed| feeds.contains_key(&(*feed, slot.to_string()))));
                }
            }
            for ((feed, name), ticket) in feeds.clone() {
                if let Some((_, orders)) = assignments.acknowledged(feed, &name, ticket) {
                    tell(&mut feeds, orders);
                }
            }
            let at: HashSet<(FeedId, String)> = feeds.keys().cloned().collect();
            let owned: HashSet<_> = wanted.iter().map(|slot| (owners[slot], slot.to_string())).collect();
            prop_assert_eq!(&at, &owned);
            prop_assert!(owned.iter().all(|(feed, name)| assignments.hears(*feed, name)));
        }
    }
}
