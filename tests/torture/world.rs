//! Three nodes on one store, their visitors, and the model: who is where, and what others added.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::people::People;
use super::store::{Brand, Store};
use super::visitor::{Exit, Visitor};
use crate::support::kinds::Kinds;
use crate::support::link::{Link, Mode};
use crate::support::node::Node;
use crate::support::redis::free_port;
use crate::support::{SOON, same};

/// Named exactly in the configuration: it exists without anybody there.
pub const EXACT: &str = "users:count";
/// Channels of a pattern, which go with their last visitor.
pub const PATTERN: [&str; 3] = ["page:/a", "page:/b", ROOM];
/// The one of them that lists who is here.
pub const ROOM: &str = "room:c";
pub const CHANNELS: [&str; 4] = [EXACT, PATTERN[0], PATTERN[1], PATTERN[2]];

const NODES_KEY: &str = "headcount:v1:nodes";

/// How many nodes.
pub const NODES: usize = 3;
/// How many visitors a node has while nothing special happens.
const CROWD: usize = 8;
/// After this, what was done must have healed: a repair, and what a repair may wait for.
pub const DEADLINE: Duration = Duration::from_secs(12);
/// How long everything must be right without a break.
const HOLD: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(20);

/// A node's place: its address and its link stay while the process comes and goes.
pub struct Place {
    pub node: Option<Node>,
    pub link: Link,
    pub visitors: Vec<Visitor>,
    address: SocketAddr,
    /// Whether it can answer now: neither frozen nor away.
    pub awake: bool,
}

pub struct World {
    pub rng: Rng,
    pub store: Store,
    pub places: Vec<Place>,
    /// What other programs have added to the totals.
    pub foreign: BTreeMap<&'static str, i64>,
    pub people: People,
    /// What was done, for a report.
    pub story: Vec<String>,
    kinds: Kinds,
}

impl Place {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A key of the count beside a channel's total.
pub fn side(channel: &str, what: &str) -> String {
    format!("headcount:v1:{{{channel}}}:{what}")
}

/// `Ok` where this holds, else the complaint.
pub fn expect(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

impl World {
    pub async fn begin(brand: Brand, rng: Rng) -> World {
        let store = Store::start(brand).await;
        let (places, people, kinds) = (Vec::new(), People::default(), Kinds::new());
        let mut world = World { rng, store, places, foreign: BTreeMap::new(), people, story: Vec::new(), kinds };
        for _ in 0..NODES {
            let link = Link::to(world.store.port).await;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
            world.places.push(Place { node: None, link, visitors: Vec::new(), address, awake: false });
            world.start_node(world.places.len() - 1).await;
        }
        for place in 0..NODES {
            world.places[place].node.as_ref().unwrap().ready().await;
            world.come(place, CROWD).await;
        }
        world
    }

    pub fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if std::env::var_os("TORTURE_LOG").is_some() {
            eprintln!("    {what}");
        }
        self.story.push(what);
    }

    pub async fn start_node(&mut self, place: usize) {
        let place = &mut self.places[place];
        let node = self
            .kinds
            .at(&place.link.url())
            .set("PRESENCE__REPAIR", "3s")
            // A frozen test, or a busy machine, must not look like visitors that vanished.
            .set("SESSION__PING", "4s")
            .set("SESSION__PONG", "4s")
            .set("SERVER__DRAIN", "500ms")
            .set("LIMITS__CLIENTS_PER_ADDRESS", "0");
        place.node = Some(node.start_at(place.address).await);
        place.awake = true;
    }

    /// Kills a node. Its visitors are gone with it.
    pub async fn crash_node(&mut self, place: usize) {
        let place = &mut self.places[place];
        place.node.take().expect("the node runs").crash().await;
        place.visitors.clear();
        place.awake = false;
        self.recount();
    }

    /// Stops a node as its operator would, and waits for its end.
    pub async fn stop_node(&mut self, place: usize) {
        let place = &mut self.places[place];
        place.awake = false;
        place.visitors.clear();
        let mut node = place.node.take().expect("the node runs");
        self.recount();
        node.signal(Signal::TERM);
        assert!(node.exit(SOON).await.success(), "a stop ends well");
    }

    pub fn signal_node(&mut self, place: usize, signal: Signal) {
        let place = &mut self.places[place];
        place.node.as_ref().expect("the node runs").signal(signal);
        place.awake = signal != Signal::STOP;
    }

    /// The places whose nodes answer.
    pub fn awake(&self) -> Vec<usize> {
        (0..NODES).filter(|place| self.places[*place].awake).collect()
    }

    /// One of them.
    pub fn any_awake(&mut self) -> usize {
        let awake = self.awake();
        awake[self.rng.usize(..awake.len())]
    }

    pub fn any_channel(&mut self) -> &'static str {
        CHANNELS[self.rng.usize(..CHANNELS.len())]
    }

    /// So many visitors come to a place at once.
    pub async fn come(&mut self, place: usize, number: usize) {
        let plans: Vec<_> = (0..number).map(|_| self.plan()).collect();
        let to = self.places[place].address;
        let opened =
            join_all(plans.into_iter().map(|(who, joined, watching)| Visitor::come(to, who, joined, watching)));
        let opened = opened.await;
        for visitor in opened {
            match visitor {
                Ok(visitor) => self.places[place].visitors.push(visitor),
                Err(why) => panic!("node {place} does not let a visitor in: {why}"),
            }
        }
        self.recount();
    }

    /// Who a visitor is, and what it joins and watches.
    fn plan(&mut self) -> (u32, BTreeSet<&'static str>, BTreeSet<&'static str>) {
        let (mut joined, mut watching) = (BTreeSet::new(), BTreeSet::new());
        for channel in CHANNELS {
            match self.rng.u8(..10) {
                0..5 => drop(joined.insert(channel)),
                5..7 => drop(watching.insert(channel)),
                _ => {}
            }
        }
        if joined.is_empty() && watching.is_empty() {
            joined.insert(EXACT);
        }
        (self.next_person(), joined, watching)
    }

    /// One visitor of a place goes; false where nobody is there.
    pub async fn leave(&mut self, place: usize, exit: Exit) -> bool {
        let count = self.places[place].visitors.len();
        if count == 0 {
            return false;
        }
        let visitor = self.places[place].visitors.swap_remove(self.rng.usize(..count));
        visitor.go(exit).await;
        self.recount();
        true
    }

    /// Visitors come, go and change channels on every node that answers, for so long.
    pub async fn churn(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        loop {
            for place in self.awake() {
                self.stir(place).await;
            }
            if Instant::now() >= end {
                return;
            }
            sleep(Duration::from_millis(self.rng.u64(5..60))).await;
        }
    }

    async fn stir(&mut self, place: usize) {
        let here = self.places[place].visitors.len();
        match self.rng.usize(..10) {
            0..3 if here < 2 * CROWD => {
                let number = self.rng.usize(1..4);
                self.come(place, number).await;
            }
            3..6 if here > CROWD / 2 => {
                let exit = [Exit::Close, Exit::Hang, Exit::Reset][self.rng.usize(..3)];
                self.leave(place, exit).await;
            }
            6..8 if here > 0 => {
                let (one, channel) = (self.rng.usize(..here), self.any_channel());
                self.places[place].visitors[one].join(channel).await;
            }
            8 if here > 0 => {
                let (one, channel) = (self.rng.usize(..here), self.any_channel());
                self.places[place].visitors[one].leave(channel).await;
            }
            _ => {}
        }
        self.recount();
    }

    /// Every open socket, and the place that it is at.
    pub fn sockets(&self) -> impl Iterator<Item = (usize, &Visitor)> {
        self.places.iter().enumerate().flat_map(|(at, place)| place.visitors.iter().map(move |visitor| (at, visitor)))
    }

    /// How many sockets are joined to the channel, or people where those are counted.
    pub fn ours(&self, channel: &str) -> i64 {
        if channel != EXACT {
            return self.people_on(channel).len() as i64;
        }
        self.sockets().filter(|(_, visitor)| visitor.joined.contains(channel)).count() as i64
    }

    pub fn total(&self, channel: &str) -> i64 {
        self.ours(channel) + self.foreign.get(channel).copied().unwrap_or(0)
    }

    /// What everybody must agree on, or what is wrong.
    async fn agrees(&mut self) -> Result<(), String> {
        self.store.runs()?;
        for channel in CHANNELS {
            let total = self.total(channel);
            for (number, place) in self.places.iter().enumerate().filter(|(_, place)| place.awake) {
                for visitor in &place.visitors {
                    if visitor.joined.contains(channel) || visitor.watching.contains(channel) {
                        visitor.sees(channel, total).map_err(|why| format!("node {number}: {why}"))?;
                    }
                }
            }
            let text: Option<String> = self.store.run(&["GET", channel]).await?;
            let there =
                text.map(|text| text.parse::<i64>().map_err(|_| format!("{channel} holds {text:?}"))).transpose()?;
            same(&format!("GET {channel}"), there.unwrap_or(0), total)?;
        }
        Ok(())
    }

    /// `Ok` where the store's own accounts are whole: so that the next fault finds one thing wrong at a
    /// time, and nothing is left of nodes that are gone.
    async fn whole(&self) -> Result<(), String> {
        let mut nodes: Vec<String> = self.store.run(&["ZRANGE", NODES_KEY, "0", "-1"]).await?;
        let serving = usize::from(self.store.brand == Brand::Embedded);
        let running = self.places.iter().filter(|place| place.node.is_some()).count();
        same("how many nodes have a lease", nodes.len(), running + serving)?;
        let mut lists: Vec<String> = self.store.run(&["KEYS", "headcount:v1:node:*"]).await?;
        nodes.sort();
        lists.retain(|list| list.rsplit(':').next().is_some_and(|id| nodes.binary_search(&id.into()).is_err()));
        expect(lists.is_empty(), || format!("lists of nodes that are gone: {lists:?}"))?;
        for channel in CHANNELS {
            let tally: BTreeMap<String, i64> = self.store.run(&["HGETALL", &side(channel, "tally")]).await?;
            let people: i64 = self.store.run(&["HLEN", &side(channel, "people")]).await?;
            // A share that was damaged may be of any size.
            let shares = tally.values().fold(people, |sum: i64, share| sum.saturating_add(*share));
            same(&format!("the shares on {channel}"), shares, self.ours(channel))?;
            let own: Option<i64> = self.store.run(&["GET", &side(channel, "own")]).await?;
            let ours = Some(self.ours(channel)).filter(|ours| *ours > 0);
            same(&format!("our own part on {channel}"), own, ours)?;
        }
        Ok(())
    }

    /// Waits until everybody agrees, the lists are right and the store is whole for a while; how long the agreement
    /// and the lists took from `since` on.
    pub async fn settle(&mut self, since: Instant) -> Result<[Duration; 2], String> {
        let mut right: [Option<Instant>; 3] = [None; 3];
        loop {
            let looked_at = Instant::now();
            if let Some(why) = self.sockets().find_map(|(_, visitor)| visitor.complaint()) {
                return Err(why);
            }
            self.nobody_left_falsely()?;
            let late = looked_at - since > DEADLINE;
            let found = [self.agrees().await, self.lists_agree().await, self.whole().await];
            for (right, found) in right.iter_mut().zip(found) {
                match found {
                    Ok(()) => *right = right.or(Some(looked_at)),
                    Err(why) if late => return Err(why),
                    Err(_) => *right = None,
                }
            }
            match right {
                [Some(agreed), Some(listed), Some(whole)] if looked_at - agreed.max(listed).max(whole) >= HOLD => {
                    return Ok([agreed - since, listed - since]);
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// `Ok` where no visitor was sent more than one state a second, and one for each way that a fault
    /// and its end may show.
    pub fn nobody_was_told_of_flapping(&self, during: Duration) -> Result<(), String> {
        let most = during.as_secs() as u32 + 4;
        let states = self.places.iter().flat_map(|place| &place.visitors).map(Visitor::take_states).max().unwrap_or(0);
        expect(states <= most, || format!("{states} states were told to one socket in {during:.1?}"))
    }

    /// Ends a fault's effects on the world: every node runs, answers and is linked.
    pub async fn mend(&mut self) {
        for place in 0..NODES {
            self.places[place].link.set(Mode::Open);
            if self.places[place].node.is_none() {
                self.start_node(place).await;
            } else if !self.places[place].awake {
                self.signal_node(place, Signal::CONT);
            }
            let here = self.places[place].visitors.len();
            if here < CROWD / 2 {
                self.come(place, CROWD - here).await;
            }
        }
    }

    /// `Ok` where the store holds nothing of ours: of the count only what others added, and of the
    /// nodes only the one that serves the store.
    pub async fn nothing_left(&self) -> Result<(), String> {
        let serving = usize::from(self.store.brand == Brand::Embedded);
        let mut keys: Vec<String> = self.store.run(&["KEYS", "*"]).await?;
        keys.sort();
        keys.retain(|key| key != EXACT);
        // The node that serves the store has the exact channel set up, and a lease.
        let nodes: Vec<String> = self.store.run(&["ZRANGE", NODES_KEY, "0", "-1"]).await.unwrap_or_default();
        same("the nodes that are left", nodes.len(), serving).map_err(|why| format!("{why}: {nodes:?}"))?;
        keys.retain(|key| serving == 0 || key != NODES_KEY);
        expect(keys.is_empty(), || format!("keys are left: {keys:?}"))
    }

    /// What stands in the store, for a report.
    pub async fn picture(&self) -> String {
        let mut picture = String::new();
        let mut keys: Vec<Vec<u8>> = self.store.run(&["KEYS", "*"]).await.unwrap_or_default();
        keys.sort();
        for key in keys {
            let kind: String = self.store.must(&[b"TYPE", &key[..]]).await;
            let read: Vec<&[u8]> = match kind.as_str() {
                "string" => vec![b"GET", &key],
                "hash" => vec![b"HGETALL", &key],
                "set" => vec![b"SMEMBERS", &key],
                "zset" => vec![b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"],
                _ => vec![b"TYPE", &key],
            };
            let value: redis::Value = self.store.must(&read).await;
            picture.push_str(&format!("  {}: {value:?}\n", String::from_utf8_lossy(&key)));
        }
        for channel in CHANNELS {
            let here: Vec<_> = self
                .places
                .iter()
                .map(|place| place.visitors.iter().filter(|visitor| visitor.joined.contains(channel)).count())
                .collect();
            picture.push_str(&format!("  model of {channel}: {here:?} and {:?}\n", self.foreign.get(channel)));
        }
        picture
    }
}
