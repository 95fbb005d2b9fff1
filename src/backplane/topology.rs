//! Which primary of a cluster owns which slot, and how to read a server's answer for a slot that it does not
//! own. No I/O: the answers are passed in.
//!
//! Several primaries are asked. A slot belongs to the server that most of them name, but servers that disclaim
//! the slot come last: when a slot moves, the two servers involved know first. This way, a primary that is cut
//! off and has an outdated view misleads nobody.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use redis::Value;

use super::slots::SLOTS;
use crate::config::HostPort;

/// The primaries that are out of reach.
pub type Away = Arc<HashSet<HostPort>>;

/// Marks a slot that nobody owns.
const NOBODY: u16 = u16::MAX;

/// One server's view of the slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    from: HostPort,
    /// The first and the last slot of each range, and its owner.
    ranges: Vec<(u16, u16, HostPort)>,
}

impl View {
    /// Reads the server's reply to CLUSTER SLOTS; None if it is malformed. A range without a host name, which may
    /// be the server's own, belongs to the host that was asked.
    pub fn read(reply: &Value, from: HostPort) -> Option<Self> {
        let Value::Array(ranges) = reply else { return None };
        if ranges.len() > usize::from(SLOTS) {
            return None;
        }
        let ranges = ranges.iter().map(|range| read_range(range, &from.0)).collect::<Option<_>>()?;
        Some(Self { from, ranges })
    }
}

fn read_range(range: &Value, asked: &str) -> Option<(u16, u16, HostPort)> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = parts.as_slice() else { return None };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let port = u16::try_from(*port).ok()?;
    (first <= last && last < SLOTS).then(|| (first, last, (host_of(host, asked), port)))
}

fn host_of(host: &Value, asked: &str) -> String {
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).unwrap_or_default(),
        Value::SimpleString(host) => host,
        _ => "",
    };
    if host.is_empty() || host == "?" { asked.to_owned() } else { host.to_owned() }
}

/// Which primary owns which slot.
#[derive(Clone, PartialEq, Eq)]
pub struct Topology {
    primaries: Vec<HostPort>,
    /// For each slot, the index of its owner in `primaries`.
    owners: Vec<u16>,
}

impl Default for Topology {
    fn default() -> Self {
        Self { primaries: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] }
    }
}

impl Topology {
    /// Combines these views slot by slot: the server that most views name wins. Servers that disclaim a slot come
    /// last, and among equals the owner in `before` wins.
    pub fn of(views: &[View], before: &Self) -> Self {
        // Usually all views agree.
        let same = views.windows(2).all(|pair| pair[0].ranges == pair[1].ranges);
        let views = if same { &views[..views.len().min(1)] } else { views };
        let mut candidates = before.clone();
        let votes: Vec<(u16, Vec<u16>)> = views.iter().map(|view| candidates.vote(view)).collect();
        let elect = |slot: usize| {
            let given = || votes.iter().map(|(_, owners)| owners[slot]);
            let disclaims = |place| votes.iter().any(|(from, owners)| *from == place && owners[slot] != place);
            let number = |place| given().filter(|given| *given == place).count();
            let was = before.owners[slot];
            given().chain([was]).max_by_key(|place| (!disclaims(*place), number(*place), *place == was))
        };
        candidates.owners = (0..usize::from(SLOTS)).map(|slot| elect(slot).unwrap_or(NOBODY)).collect();
        candidates.without_idle()
    }

    /// Returns the voter and its vote for each slot, as indices into `primaries`.
    fn vote(&mut self, view: &View) -> (u16, Vec<u16>) {
        let mut owners = vec![NOBODY; usize::from(SLOTS)];
        for (first, last, server) in &view.ranges {
            owners[usize::from(*first)..=usize::from(*last)].fill(self.place(server));
        }
        (self.place(&view.from), owners)
    }

    /// Returns the index of a server in `primaries`, adding it if it is new.
    fn place(&mut self, server: &HostPort) -> u16 {
        let place = self.primaries.iter().position(|known| known == server).unwrap_or_else(|| {
            self.primaries.push(server.clone());
            self.primaries.len() - 1
        });
        // Each view names at most as many servers as there are slots, and there are only a few views.
        u16::try_from(place).unwrap_or(NOBODY)
    }

    /// Returns a copy without the primaries that own nothing.
    fn without_idle(&self) -> Self {
        let mut kept = Self::default();
        for (slot, owner) in self.owners.iter().enumerate() {
            if let Some(server) = self.primaries.get(usize::from(*owner)) {
                kept.owners[slot] = kept.place(server);
            }
        }
        kept
    }

    /// Notes that some server names `to` as the owner of a slot.
    pub fn moved(&mut self, slot: u16, to: &HostPort) {
        if slot < SLOTS {
            let place = self.place(to);
            self.owners[usize::from(slot)] = place;
        }
    }

    /// Returns the owner of a slot.
    pub fn owner(&self, slot: u16) -> Option<&HostPort> {
        self.primaries.get(usize::from(*self.owners.get(usize::from(slot))?))
    }

    /// All servers that own a slot, and perhaps some that once did.
    pub fn primaries(&self) -> &[HostPort] {
        &self.primaries
    }

    /// The slots of a primary, as ranges.
    pub fn ranges(&self, server: &HostPort) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in (0..SLOTS).filter(|slot| self.owner(*slot) == Some(server)) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == slot => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    /// The number of slots without an owner.
    pub fn uncovered(&self) -> usize {
        (0..SLOTS).filter(|slot| self.owner(*slot).is_none()).count()
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.primaries.iter().map(|server| (server, self.ranges(server)));
        f.debug_map().entries(ranges).finish()
    }
}

/// A server's answer to a command whose slot it does not serve, or cannot serve at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The slot belongs to this server.
    Moved(u16, HostPort),
    /// This server may have the key already; ask it just this once.
    Ask(HostPort),
    /// The keys of the slot are being moved.
    Later,
    /// Nobody serves the slot at the moment.
    Away,
}

impl Redirect {
    /// Reads an error from the server on host `asked`; None if it is not a redirect.
    pub fn read(error: &str, asked: &str) -> Option<Self> {
        let mut words = error.split_whitespace();
        match words.next()? {
            "MOVED" => slot_and_server(words, asked).map(|(slot, server)| Self::Moved(slot, server)),
            "ASK" => slot_and_server(words, asked).map(|(_, server)| Self::Ask(server)),
            "TRYAGAIN" => Some(Self::Later),
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => Some(Self::Away),
            _ => None,
        }
    }
}

fn slot_and_server<'a>(mut words: impl Iterator<Item = &'a str>, asked: &str) -> Option<(u16, HostPort)> {
    let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let host = if host.is_empty() || host == "?" { asked } else { host };
    Some((slot, (host.to_owned(), port.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(port: u16) -> HostPort {
        ("h".to_owned(), port)
    }

    /// The view of a server that owns nothing.
    fn view(ranges: &[(u16, u16, u16)]) -> View {
        view_of(0, ranges)
    }

    fn view_of(from: u16, ranges: &[(u16, u16, u16)]) -> View {
        let ranges = ranges.iter().map(|(first, last, port)| (*first, *last, server(*port))).collect();
        View { from: server(from), ranges }
    }

    fn reply(ranges: &[(i64, i64, &str, i64)]) -> Value {
        let text = |text: &str| Value::BulkString(text.into());
        let range = |(first, last, host, port): &(i64, i64, &str, i64)| {
            let primary = vec![text(host), Value::Int(*port), text("id"), Value::Array(vec![])];
            let replica = Value::Array(vec![text("r"), Value::Int(9), text("id")]);
            Value::Array(vec![Value::Int(*first), Value::Int(*last), Value::Array(primary), replica])
        };
        Value::Array(ranges.iter().map(range).collect())
    }

    #[test]
    fn the_answer_to_cluster_slots_is_read_and_nothing_else_is() {
        let read = |ranges: &[(i64, i64, &str, i64)]| View::read(&reply(ranges), server(0));
        assert_eq!(read(&[(0, 5, "h", 1), (6, 16_383, "", 2)]), Some(view(&[(0, 5, 1), (6, 16_383, 2)])));
        assert_eq!(read(&[(0, 5, "?", 1)]), Some(view(&[(0, 5, 1)])));
        assert_eq!(read(&[]), Some(view(&[])));
        for bad in [(5, 4, "h", 1), (0, 16_384, "h", 1), (-1, 4, "h", 1), (0, 4, "h", 65_536), (0, i64::MAX, "h", 1)] {
            assert_eq!(read(&[bad]), None, "{bad:?}");
        }
        for odd in [Value::Nil, Value::Int(1), Value::Array(vec![Value::Nil]), Value::Array(vec![Value::Array(vec![])])]
        {
            assert_eq!(View::read(&odd, server(0)), None, "{odd:?}");
        }
    }

    #[test]
    fn a_slot_belongs_to_whom_most_name_and_else_to_whom_it_did() {
        let (before, after) = (view(&[(0, 100, 1), (101, 200, 2)]), view(&[(0, 100, 3), (101, 200, 2)]));
        let first = Topology::of(std::slice::from_ref(&before), &Topology::default());
        assert_eq!((first.owner(100), first.owner(101), first.owner(201)), (Some(&server(1)), Some(&server(2)), None));
        let owner = |views: &[View]| Topology::of(views, &first).owner(50).cloned();
        assert_eq!(owner(&[before.clone(), after.clone(), after.clone()]), Some(server(3)));
        assert_eq!(owner(&[after.clone(), before.clone()]), Some(server(1)), "as many say one thing as another");
        assert_eq!(owner(std::slice::from_ref(&after)), Some(server(3)));
        assert_eq!(owner(&[]), Some(server(1)), "nobody answered");
        let second = Topology::of(&[after], &first);
        assert_eq!(second.primaries(), [server(3), server(2)], "who owns nothing is forgotten");
        assert_eq!(second.ranges(&server(3)), [(0, 100)]);
        assert_eq!(second.uncovered(), 16_384 - 201);
    }

    #[test]
    fn nobody_owns_a_slot_who_says_that_it_is_anothers() {
        let old = [(0, 16_383, 1)];
        let first = Topology::of(&[view_of(1, &old)], &Topology::default());
        let news = [(0, 9, 2), (10, 16_383, 1)];
        // Most servers have not heard of the move yet.
        let views = [view_of(3, &old), view_of(4, &old), view_of(5, &old), view_of(1, &news), view_of(2, &news)];
        assert_eq!(Topology::of(&views, &first).ranges(&server(2)), [(0, 9)]);
        // A server that is cut off still claims the slots.
        let views = [view_of(1, &old), view_of(2, &news), view_of(3, &news)];
        let second = Topology::of(&[view(&news)], &first);
        assert_eq!(Topology::of(&views, &second).ranges(&server(2)), [(0, 9)]);
    }

    #[test]
    fn a_slot_that_moved_is_the_others_at_once() {
        let mut topology = Topology::of(&[view(&[(0, 16_383, 1)])], &Topology::default());
        topology.moved(7, &server(2));
        topology.moved(u16::MAX, &server(9));
        assert_eq!(topology.ranges(&server(1)), [(0, 6), (8, 16_383)]);
        assert_eq!(topology.ranges(&server(2)), [(7, 7)]);
    }

    #[test]
    fn redirects_are_read_with_the_host_that_was_asked_where_none_is_named() {
        let read = |text| Redirect::read(text, "h");
        assert_eq!(read("MOVED 3999 h:7"), Some(Redirect::Moved(3_999, server(7))));
        assert_eq!(read("MOVED 3999 :7"), Some(Redirect::Moved(3_999, server(7))));
        assert_eq!(read("ASK 1 ::1:7"), Some(Redirect::Ask(("::1".to_owned(), 7))));
        assert_eq!(read("TRYAGAIN Multiple keys request during rehashing of slot"), Some(Redirect::Later));
        assert_eq!(read("CLUSTERDOWN The cluster is down"), Some(Redirect::Away));
        for other in ["MOVED", "MOVED x h:7", "MOVED 16384 h:7", "ASK 1 h", "ASK 1 h:x", "OOM no memory", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_error_of_a_server_breaks_the_reading(text in ".{0,80}") {
            let _ = Redirect::read(&text, "h");
            let _ = Redirect::read(&format!("MOVED {text}"), "h");
        }

        /// Whatever the views, each owner was named by some view or owned the slot before, and the primaries are
        /// exactly the owners.
        #[test]
        fn an_owner_was_named_by_somebody(
            views in proptest::collection::vec(proptest::collection::vec((0..40_u16, 0..40_u16, 0..4_u16), 0..5), 0..4)
        ) {
            let before = Topology::of(&[view(&[(0, 19, 9)])], &Topology::default());
            let sorted = |ranges: &Vec<(u16, u16, u16)>| {
                ranges.iter().map(|(a, b, port)| (*a.min(b), *a.max(b), *port)).collect::<Vec<_>>()
            };
            let views: Vec<View> = views.iter().map(|ranges| view(&sorted(ranges))).collect();
            let topology = Topology::of(&views, &before);
            for slot in 0..60 {
                let named = |server: &HostPort| views.iter().any(|view| {
                    view.ranges.iter().any(|(first, last, owner)| (*first..=*last).contains(&slot) && owner == server)
                });
                if let Some(owner) = topology.owner(slot) {
                    prop_assert!(named(owner) || before.owner(slot) == Some(owner));
                    prop_assert!(topology.primaries().contains(owner));
                }
            }
            for primary in topology.primaries() {
                prop_assert!(!topology.ranges(primary).is_empty());
            }
        }
    }
}
