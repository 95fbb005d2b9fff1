//! A node's sockets and visitors: what its hub and its router do, with numbers for sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use headcount::presence::{Crowd, HandleChange, Household, Listing, Origin, Profile, Reading, Value, VisitorId, flag};

use crate::client::Client;
use crate::node::{Asks, Node};
use crate::plan::{CHANNELS, LIST, ROOM};

/// What the hub knows of a channel.
#[derive(Default)]
pub struct Hub {
    pub sockets: u64,
    pub watchers: u64,
    pub total: Option<i64>,
    /// The tabs of each visitor, and who of them is counted and since when, where visitors are.
    tabs: BTreeMap<usize, u64>,
    counted: BTreeMap<VisitorId, u64>,
    /// When the newest token was made of whoever is here.
    pub made: BTreeMap<usize, u64>,
    /// What one who is on it has been told of who is here.
    pub client: Client,
    /// What was published about that.
    news: Vec<Bytes>,
    crowd: Crowd,
    handle: u64,
    heard: u64,
    subscribed: bool,
    live: bool,
}

/// Who somebody is. Two households share the visitors.
pub fn visitor(who: usize) -> VisitorId {
    VisitorId([who as u8 + 1; 16])
}

/// What a token says of somebody, that was made then. Not everybody has one.
fn profile(who: usize, made: u64) -> Option<Arc<Profile>> {
    let info = Some(format!("{made}").into());
    is_named(who).then(|| Arc::new(Profile { name: Some(name(who).into()), info, made }))
}

/// Whether somebody has a token.
pub fn is_named(who: usize) -> bool {
    !who.is_multiple_of(3)
}

/// The handle of one who has.
pub fn name(who: usize) -> String {
    format!("v{who}")
}

fn origin(who: usize, limit: Option<u32>) -> Origin {
    let address = if who.is_multiple_of(2) { "192.0.2.1" } else { "2001:db8::1" };
    Origin { household: Household::of(address.parse().ok()), limit }
}

impl Node {
    fn mark(&mut self, channel: usize, flags: u8, now: u64) {
        let Some(hub) = self.hubs.get_mut(&channel) else { return };
        let flags = self.mutation.map_or(flags, |mutation| mutation.flags(flags));
        let visitors = (channel == ROOM).then(|| hub.crowd.take_changes());
        for (id, counted, _) in visitors.iter().flatten() {
            if *counted {
                hub.counted.entry(*id).or_insert(now);
            } else {
                hub.counted.remove(id);
            }
        }
        let here = if channel == ROOM { 0 } else { hub.sockets };
        let (handle, heard) = (hub.handle, hub.heard);
        let (news, at_once) = (std::mem::take(&mut hub.news), Vec::new());
        let change =
            HandleChange { name: CHANNELS[channel].into(), handle, flags, here, visitors, at_once, news, heard };
        self.state.changed(change, self.at(now));
    }

    /// A socket joins a channel, or only watches it.
    pub fn join(&mut self, channel: usize, watch: bool, now: u64, asks: &mut Asks) {
        self.enter(channel, now, asks, |hub| {
            *(if watch { &mut hub.watchers } else { &mut hub.sockets }) += 1;
            !watch
        });
    }

    /// A tab of a visitor joins.
    pub fn visit(&mut self, who: usize, now: u64, asks: &mut Asks) {
        let limit = self.limit;
        self.enter(ROOM, now, asks, |hub| {
            hub.sockets += 1;
            *hub.tabs.entry(who).or_default() += 1;
            let made = *hub.made.entry(who).or_insert(1);
            hub.crowd.join(visitor(who), origin(who, limit), profile(who, made)).0
        });
    }

    /// Somebody who is here shows a token that was made then.
    pub fn describe(&mut self, who: usize, made: u64, now: u64) {
        let Some(hub) = self.hubs.get_mut(&ROOM) else { return };
        let (Some(before), Some(profile)) = (hub.made.get_mut(&who), profile(who, made)) else { return };
        *before = made.max(*before);
        if hub.crowd.describe(visitor(who), profile) {
            self.mark(ROOM, flag::TALLY, now);
        }
    }

    fn enter(&mut self, channel: usize, now: u64, asks: &mut Asks, work: impl FnOnce(&mut Hub) -> bool) {
        if self.stopping {
            return;
        }
        if !self.hubs.contains_key(&channel) {
            self.last_handle += 1;
            self.hubs.insert(channel, Hub { handle: self.last_handle, ..Hub::default() });
            asks.subscriptions.extend(self.topics(channel).map(|topic| (topic, true)));
        }
        let Some(hub) = self.hubs.get_mut(&channel) else { return };
        let due = hub.subscribed && !hub.live;
        if work(hub) {
            self.mark(channel, flag::TALLY, now);
        }
        if due {
            self.mark(channel, flag::LIVE, now);
        }
    }

    /// A socket leaves.
    pub fn leave(&mut self, channel: usize, watch: bool, now: u64, asks: &mut Asks) {
        self.exit(channel, now, asks, |hub| {
            let places = if watch { &mut hub.watchers } else { &mut hub.sockets };
            let before = *places;
            *places = before.saturating_sub(1);
            (before > 0).then_some(!watch)
        });
    }

    /// A tab of a visitor leaves.
    pub fn part(&mut self, who: usize, now: u64, asks: &mut Asks) {
        self.exit(ROOM, now, asks, |hub| {
            let tabs = hub.tabs.get_mut(&who)?;
            *tabs -= 1;
            if *tabs == 0 {
                hub.tabs.remove(&who);
                hub.made.remove(&who);
            }
            hub.sockets -= 1;
            Some(hub.crowd.leave(visitor(who)))
        });
    }

    fn exit(&mut self, channel: usize, now: u64, asks: &mut Asks, work: impl FnOnce(&mut Hub) -> Option<bool>) {
        let Some(hub) = self.hubs.get_mut(&channel) else { return };
        let Some(news) = work(hub) else { return };
        let empty = hub.sockets + hub.watchers == 0;
        if news {
            self.mark(channel, flag::TALLY, now);
        }
        if empty {
            self.mark(channel, flag::RELEASED, now);
            self.hubs.remove(&channel);
            asks.subscriptions.extend(self.topics(channel).map(|topic| (topic, false)));
        }
    }

    /// Everybody leaves a channel, or all who only watch it.
    pub fn leave_all(&mut self, channel: usize, watch: bool, now: u64, asks: &mut Asks) {
        let Some(hub) = self.hubs.get(&channel) else { return };
        if channel == ROOM && !watch {
            for (who, tabs) in hub.tabs.clone() {
                (0..tabs).for_each(|_| self.part(who, now, asks));
            }
            return;
        }
        let count = if watch { hub.watchers } else { hub.sockets };
        (0..count).for_each(|_| self.leave(channel, watch, now, asks));
    }

    /// The connection for messages came up or went down.
    pub fn subscription(&mut self, up: bool, now: u64) {
        if !up {
            self.hubs.values_mut().for_each(|hub| (hub.subscribed, hub.live) = (false, false));
        }
        self.state.subscription(up, self.at(now));
    }

    /// What is subscribed to for a channel.
    pub fn topics(&self, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let list = (channel == ROOM && self.lists).then_some(LIST);
        std::iter::once(channel).chain(list)
    }

    /// A subscription was acknowledged.
    pub fn subscribed(&mut self, topic: usize, now: u64) {
        if topic == LIST {
            return self.mark(ROOM, flag::LISTED, now);
        }
        let channel = topic;
        if let Some(hub) = self.hubs.get_mut(&channel) {
            hub.subscribed = true;
            self.mark(channel, flag::LIVE, now);
        }
    }

    /// An integer was published on a channel.
    pub fn heard(&mut self, channel: usize, number: i64, now: u64) {
        if let Some(hub) = self.hubs.get_mut(&channel) {
            hub.heard += 1;
            (hub.total, hub.live) = (Some(number), true);
            self.mark(channel, flag::HEARD, now);
        }
    }

    /// Something was published about the list of members.
    pub fn told(&mut self, message: &[u8], now: u64) {
        if let Some(hub) = self.hubs.get_mut(&ROOM) {
            hub.news.push(Bytes::copy_from_slice(message));
            self.mark(ROOM, flag::NEWS, now);
        }
    }

    /// There is something to show of who is on a channel.
    pub fn listed(&mut self, listing: Listing) {
        if let Some(hub) = self.hubs.get_mut(&ROOM) {
            hub.client.show(listing);
        }
    }

    pub fn value(&mut self, name: &str, value: &Value, now: u64, asks: &mut Asks) {
        let Some(channel) = CHANNELS.iter().position(|channel| *channel == name) else { return };
        let Some(hub) = self.hubs.get_mut(&channel) else { return };
        match value.reading {
            Reading::Refused => {
                self.expelled.push(channel);
                self.leave_all(channel, false, now, asks);
                return self.leave_all(channel, true, now, asks);
            }
            Reading::Total(total) if hub.heard == value.heard => hub.total = Some(total),
            Reading::Total(_) | Reading::Unknown | Reading::Away => {}
        }
        hub.live |= hub.subscribed;
    }

    /// How many are on a channel and counted.
    pub fn here(&self, channel: usize) -> u64 {
        let Some(hub) = self.hubs.get(&channel) else { return 0 };
        if channel == ROOM { hub.counted.len() as u64 } else { hub.sockets }
    }

    /// Which visitors are counted here.
    pub fn counted(&self) -> BTreeSet<VisitorId> {
        self.hubs.get(&ROOM).map(|hub| hub.counted.keys().copied().collect()).unwrap_or_default()
    }

    /// Since when a visitor is counted here.
    pub fn counted_since(&self, who: VisitorId) -> Option<u64> {
        self.hubs.get(&ROOM)?.counted.get(&who).copied()
    }
}
