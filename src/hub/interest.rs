//! Which channels are subscribed: those that a client here wants, or wanted a moment ago.

use std::time::{Duration, Instant};

use super::registry::Registry;
use super::router::Router;
use crate::memory;

/// How long a channel stays subscribed after its last client here has left. So a client that leaves and
/// joins in a loop causes no work in the store, and a visitor who goes to the next page and back is served
/// at once.
const LINGER: Duration = Duration::from_secs(1);

/// Subscribes to the channels that are wanted, and notes those that nobody wants any more.
pub(super) fn follow(router: &mut Router) {
    let (feed, keys, unwanted) = (&router.feed, &router.keys, &mut router.unwanted);
    router.registry.with(|inner| {
        for name in Registry::take_changed(inner) {
            let Some(entry) = inner.channels.get_mut(&name) else { continue };
            if entry.shards != 0 {
                if entry.ticket.is_none() && entry.board.is_none() {
                    entry.ticket = Some(feed.want(keys.total(&name)));
                }
                match entry.list_ticket {
                    None if entry.lists => entry.list_ticket = Some(feed.want(keys.members(&name))),
                    Some(_) if !entry.lists => {
                        entry.list_ticket = None;
                        feed.leave(&keys.members(&name));
                    }
                    _ => {}
                }
            } else if !std::mem::replace(&mut entry.lingers, true) {
                unwanted.push_back((Instant::now() + LINGER, name));
            }
        }
        router.metrics.channels.set(inner.channels.len() as i64);
    });
}

/// Unsubscribes from channels that nobody has wanted for a while.
pub(super) fn leave_unwanted(router: &mut Router) {
    let (feed, keys, unwanted) = (&router.feed, &router.keys, &mut router.unwanted);
    let now = Instant::now();
    router.registry.with(|inner| {
        while unwanted.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = unwanted.pop_front() else { break };
            let Some(entry) = inner.channels.get_mut(&name) else { continue };
            entry.lingers = false;
            if entry.shards == 0 {
                match entry.board {
                    Some(_) => router.registry.boards.release(&name),
                    None => feed.leave(&keys.total(&name)),
                }
                if entry.list_ticket.is_some() {
                    feed.leave(&keys.members(&name));
                }
                if let Some(presence) = &entry.presence {
                    presence.release();
                    router.trending.left(&name);
                }
                inner.channels.remove(&name);
                memory::shrink(&mut inner.channels);
                // Every worker has left the channel, so none uses its retired handle any more.
                if let Some((before, _)) = inner.retired.remove(&name) {
                    before.release();
                }
            }
        }
        memory::shrink_queue(unwanted);
        router.metrics.channels.set(inner.channels.len() as i64);
    });
}
