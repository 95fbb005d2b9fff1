//! Which channels are subscribed: those that somebody here wants, or wanted a moment ago.

use std::time::{Duration, Instant};

use super::registry::Registry;
use super::router::Router;
use crate::memory;

/// How long a channel that nobody here has is kept subscribed. Whoever leaves and joins in a loop so sets
/// off nothing in the store, and a visitor who goes from one page to the next and back is served at once.
const LINGER: Duration = Duration::from_secs(1);

/// Subscribes to what is wanted, and remembers what nobody wants any more.
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

/// Leaves what nobody has wanted for a while.
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
                // Every worker has left it, and with it the handle from before.
                if let Some((before, _)) = inner.retired.remove(&name) {
                    before.release();
                }
            }
        }
        router.metrics.channels.set(inner.channels.len() as i64);
    });
}
