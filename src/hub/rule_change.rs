//! Changes of the rules while channels are open: first in the table of all workers, then in each worker.
//!
//! A channel that is no longer allowed loses its members, who are told. One that is counted differently
//! gets another handle, and each worker moves its members over. Which channels are initialized to 0 is up
//! to the presence, which gets the rules too.

use std::sync::Arc;
use std::time::Duration;

use super::SocketId;
use super::registry::{Inner, Registry, Snapshot};
use super::shard::Shard;
use super::{members, rights};
use crate::config::{Access, Config, Count, Deliver, Rules};
use crate::presence::{Joined, Listing, Origin};

impl Registry {
    /// Puts new rules into effect, before the workers learn of them.
    pub fn configure(&self, rules: Arc<Rules>, max_frame: usize, pace: Duration) {
        self.boards.set_pace(pace);
        self.with(|inner| {
            inner.rules = rules.clone();
            inner.max_frame = max_frame;
            let Inner { channels, retired, .. } = inner;
            let mut relisted = Vec::new();
            for (name, entry) in channels.iter_mut() {
                // A channel that no rule matches ends when the workers remove its members.
                let Some(rule) = rules.find(name) else { continue };
                if let (Some(now), Some(before)) = (rule.board, entry.board) {
                    if now != before {
                        entry.board = Some(now);
                        self.boards.want(name.clone(), now);
                    }
                    continue;
                }
                if rule.board.is_some() || entry.board.is_some() {
                    // The workers remove its members; the record itself is not converted.
                    continue;
                }
                entry.every = rule.deliver == Deliver::Every;
                if std::mem::replace(&mut entry.lists, rule.members.is_some()) != entry.lists {
                    (entry.list, entry.live) = (Listing::Unknown, entry.live && !entry.lists);
                    relisted.push(name.clone());
                }
                let before = entry.presence.take();
                let counts = before.as_ref().map_or(Count::None, |presence| presence.counts());
                if rule.count == counts {
                    entry.presence = before;
                    continue;
                }
                let mut back = None;
                if let Some(old) = retired.remove(name).map(|(old, _)| old) {
                    match old.counts() == rule.count {
                        true => back = Some(old),
                        // The workers that still have it are about to let go of it.
                        false => old.release(),
                    }
                }
                if let Some(before) = before {
                    retired.insert(name.clone(), (before, entry.shards));
                }
                if rule.counted() {
                    let presence = back.unwrap_or_else(|| self.presence.channel(name.clone(), rule.count));
                    if entry.subscribed {
                        presence.live();
                    }
                    (entry.presence, entry.live) = (Some(presence), false);
                } else {
                    (entry.value, entry.live) = (None, entry.subscribed);
                }
            }
            relisted.iter().for_each(|name| self.changed(inner, name));
            self.presence.configure(rules);
        });
    }

    /// Returns how a channel stands under the newest rules.
    fn look(&self, name: &str) -> Option<Snapshot> {
        self.with(|inner| {
            let entry = inner.channels.get(name)?;
            Some(entry.snapshot())
        })
    }
}

impl Inner {
    /// Notes that a worker no longer uses a channel's retired handle.
    pub fn let_go(&mut self, shard: u8, name: &str) {
        let Some((_, shards)) = self.retired.get_mut(name) else { return };
        *shards &= !(1 << shard);
        if *shards == 0
            && let Some((before, _)) = self.retired.remove(name)
        {
            before.release();
        }
    }
}

/// Applies a new configuration, to open channels too.
pub fn configure(shard: &mut Shard, config: &Config) {
    (shard.rules, shard.limits) = (config.channels.clone(), config.limits.clone());
    shard.sockets.set_limit(shard.limits.client_buffer);
    let open: Vec<(Arc<str>, u32)> = shard.by_name.iter().map(|(name, index)| (name.clone(), *index)).collect();
    for (name, index) in open {
        let board = shard.channels.get(index as usize).is_some_and(|channel| channel.board);
        match shard.rules.find(&name) {
            Some(rule) if rule.board.is_some() != board => {
                shard.expel(&name, "forbidden", "the channel is of another kind now; join it again");
            }
            Some(rule) => {
                let (every, access) = (rule.deliver == Deliver::Every, rule.access);
                if rule.members.is_none() {
                    members::end_list(shard, index);
                }
                follow(shard, &name, index, every);
                if access == Access::Token {
                    rights::expel_without_right(shard, &name, index);
                }
            }
            None => shard.expel(&name, "forbidden", "the server's [[channels]] do not allow this channel any more"),
        }
    }
}

/// Brings a channel in line with what the table says now.
fn follow(shard: &mut Shard, name: &str, index: u32, every: bool) {
    let (Some(channel), Some(now)) = (shard.channels.get_mut(index as usize), shard.registry.look(name)) else {
        return;
    };
    channel.every = every;
    let same = match (&channel.presence, &now.presence) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, now),
        (before, now) => before.is_none() && now.is_none(),
    };
    if same {
        return;
    }
    let before = std::mem::replace(&mut channel.presence, now.presence.clone());
    (channel.live, channel.value, channel.greeting) = (now.live, now.value, None);
    let members = channel.members.clone();
    let counted: Vec<SocketId> = members.iter().copied().filter(|id| counts(shard, *id, index)).collect();
    for id in counted {
        if let Some(socket) = shard.sockets.get_mut(id) {
            let earlier = socket.places.iter().any(|place| place.channel == index && place.earlier);
            before.as_ref().inspect(|presence| presence.leave(|| socket.on(name, earlier)));
            let origin = Origin { household: socket.household, limit: shard.limits.visitors_per_address };
            let joined = now.presence.as_ref().map(|presence| presence.join(origin, || socket.who(name, earlier)));
            shard.tell_of_limit(id, name, joined.unwrap_or(Joined::Counted));
        }
    }
    for id in members {
        shard.greet(index, id);
    }
    shard.registry.with(|inner| inner.let_go(shard.index, name));
}

fn counts(shard: &Shard, id: SocketId, channel: u32) -> bool {
    let places = shard.sockets.get(id).map(|socket| socket.places.as_slice()).unwrap_or_default();
    places.iter().any(|place| place.channel == channel && !place.watch)
}
