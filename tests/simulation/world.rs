//! The world: virtual time, one queue of events, nodes, one store and the connections between them.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use headcount::config::channels::MembersRule;
use headcount::config::{Access, Count, Deliver, PresenceConfig, Rule, Rules};
use headcount::presence::effect::News;

use crate::mutation::Mutation;
use crate::network::Connection;
use crate::node::{Asks, Node};
use crate::plan::{Action, CHANNELS, Inject, NODES, Plan};
use crate::store::{Snapshot, Store};
use crate::undisturbed::Disturbance;

/// A call that is not answered within this time ends its connection, in microseconds.
pub const TIMEOUT: u64 = 1_000_000;
/// Between two checks of the connection for messages.
pub const CHECK: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub enum Event {
    Action(Action),
    Wake { node: usize, at: u64 },
    Retry { node: usize, messages: bool },
    Connect { connection: usize },
    Connected { connection: usize },
    ToStore { connection: usize, bytes: Vec<u8> },
    ToClient { connection: usize, bytes: Vec<u8> },
    Closed { connection: usize },
    Timeout { connection: usize, call: u64 },
    Check { connection: usize },
    StoreUp { data: Snapshot, foreign: (i64, i64) },
    StoreBack { data: Snapshot, foreign: (i64, i64) },
}

/// An event, and when it is due; of two at the same time the older one comes first.
struct Queued {
    key: Reverse<(u64, u64)>,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// What a run is worth.
#[derive(Debug, Default, Clone)]
pub struct Stats {
    pub faults: u64,
    pub events: u64,
    pub calls: u64,
    /// The longest that it took to agree after the last fault, in microseconds.
    pub worst: u64,
    pub virtual_time: u64,
}

impl Stats {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        self.events += other.events;
        self.calls += other.calls;
        self.worst = self.worst.max(other.worst);
        self.virtual_time += other.virtual_time;
    }
}

pub struct World {
    pub now: u64,
    base: Instant,
    pub random: Rng,
    queue: BinaryHeap<Queued>,
    last_event: u64,
    /// The number of what happens now.
    current: u64,
    pub store: Store,
    pub nodes: [Option<Node>; NODES],
    pub connections: BTreeMap<usize, Connection>,
    pub last_connection: usize,
    /// Until when a node's messages do not get through, and whether they are lost.
    pub partitions: [(u64, bool); NODES],
    pub slow: [u64; NODES],
    /// Whether each node has the defaults; else everything goes faster.
    pub defaults: [bool; NODES],
    visitors: Option<u32>,
    pub crowded: bool,
    /// How many may be on the list of who is in the room, if there is one.
    pub members: Option<u32>,
    /// When the newest token was made of everybody who ever had one.
    pub made: BTreeMap<usize, u64>,
    pub disturbed: [Disturbance; NODES],
    /// Whether a node may have the defaults.
    pub slowest: bool,
    /// Whether requests come late.
    pub late: bool,
    /// The stamp of the last batch that was carried out, by the node's id and number.
    pub stamps: BTreeMap<(String, Vec<u8>), u64>,
    pub inject: Option<(u64, Inject)>,
    /// How many requests of nodes have arrived at the store.
    pub arrived: u64,
    rules: Arc<Rules>,
    mutation: Option<Mutation>,
    /// See [`Plan::strict`].
    pub strict: bool,
    /// Ids that the nodes have had before.
    pub old_ids: [BTreeSet<String>; NODES],
    /// What other programs have put into the exactly named channel: the least and the most.
    pub foreign: (i64, i64),
    /// Channels one of whose own keys was lost or damaged in this round.
    pub hurt: BTreeSet<usize>,
    /// Channels whose key is or was somebody else's in this round.
    pub tainted: BTreeSet<usize>,
    /// When such a key was deleted, by channel; what a node was told before may still be on its way.
    pub freed: BTreeMap<usize, u64>,
    pub stats: Stats,
    pub trace: Option<Vec<String>>,
    pub failure: Option<String>,
    /// How many calls each node has made in this virtual second.
    pub rate: [(u64, u32); NODES],
}

pub fn config(defaults: bool) -> PresenceConfig {
    let ms = Duration::from_millis;
    let (heartbeat, lease, grace, repair) = if defaults { (500, 2500, 500, 10_000) } else { (100, 500, 100, 2_000) };
    PresenceConfig {
        heartbeat: ms(heartbeat),
        lease: ms(lease),
        grace: ms(grace),
        repair: ms(repair),
        quiet: ms(if defaults { 250 } else { 100 }),
        batch: ms(if defaults { 50 } else { 10 }),
    }
}

impl World {
    pub fn new(plan: &Plan, mutation: Option<Mutation>, traced: bool) -> Self {
        // What the store draws at random comes from the thread's generator.
        fastrand::seed(plan.seed);
        let rule = |pattern: &str, count, linger, members| Rule {
            pattern: pattern.into(),
            count,
            linger: Duration::from_millis(linger),
            members,
            deliver: Deliver::Latest,
            access: Access::Open,
            publish: false,
            board: None,
            of: None,
        };
        let members = plan.members.map(|most| MembersRule { most, bytes: 65_536 });
        Self {
            now: 0,
            base: Instant::now(),
            random: Rng::with_seed(plan.seed ^ 0x5eed),
            queue: BinaryHeap::new(),
            last_event: 0,
            current: 0,
            store: Store::new(),
            nodes: [const { None }; NODES],
            connections: BTreeMap::new(),
            last_connection: 0,
            partitions: [(0, false); NODES],
            slow: [0; NODES],
            defaults: [plan.defaults; NODES],
            visitors: plan.visitors,
            crowded: plan.crowded,
            members: plan.members,
            made: BTreeMap::new(),
            disturbed: [Disturbance::START; NODES],
            slowest: plan.is_slow(),
            late: plan.has_stragglers(),
            stamps: BTreeMap::new(),
            inject: plan.inject,
            arrived: 0,
            rules: Arc::new(Rules(vec![
                rule("users:count", Count::Sockets, 0, None),
                rule("page:*", Count::Sockets, 0, None),
                rule("room:*", Count::Visitors, if plan.defaults { 1000 } else { 200 }, members),
            ])),
            mutation,
            strict: plan.strict,
            old_ids: [const { BTreeSet::new() }; NODES],
            foreign: (0, 0),
            hurt: BTreeSet::new(),
            tainted: BTreeSet::new(),
            freed: BTreeMap::new(),
            stats: Stats::default(),
            trace: traced.then(Vec::new),
            failure: None,
            rate: [(0, 0); NODES],
        }
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} ms  {}", self.now as f64 / 1000.0, text()));
        }
    }

    pub fn fail(&mut self, why: String) {
        self.note(|| format!("FAILED {why}"));
        self.failure.get_or_insert(why);
    }

    pub fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.last_event += 1;
        self.queue.push(Queued { key: Reverse((at.max(self.now), self.last_event)), event });
    }

    /// What happens now is put off; it stays behind what was to happen before it.
    pub fn put_off(&mut self, at: u64, event: Event) {
        self.queue.push(Queued { key: Reverse((at.max(self.now), self.current)), event });
    }

    /// What is going to happen, in no order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.queue.iter().map(|queued| &queued.event)
    }

    /// Runs whatever happens until then.
    pub fn run_until(&mut self, end: u64) {
        self.run_while(end, |_| true);
        self.now = self.now.max(end);
    }

    /// Runs whatever happens until then, for as long as this holds.
    pub fn run_while(&mut self, end: u64, holds: impl Fn(&Self) -> bool) {
        let is_due = |next: &Queued| next.key.0.0 <= end;
        while self.failure.is_none() && self.queue.peek().is_some_and(is_due) && holds(self) {
            let Some(Queued { key: Reverse((at, number)), event }) = self.queue.pop() else { return };
            (self.now, self.current) = (at, number);
            self.stats.events += 1;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Action(action) => self.act(action),
            Event::Wake { node, at } => {
                if self.nodes[node].as_ref().is_some_and(|node| node.wake == at) {
                    self.with(node, event, |node, now, asks| node.run(now, asks));
                }
            }
            Event::Retry { node, messages } => self.connect(node, messages),
            Event::StoreUp { data, foreign } => self.store_up(&data, foreign),
            Event::StoreBack { data, foreign } => {
                self.note(|| "the store is back with what it had".into());
                self.hurt.extend(0..CHANNELS.len());
                self.kill_store();
                self.store_up(&data, foreign);
            }
            event => self.on_network(event),
        }
    }

    /// Lets a node take something in, once it runs, and do what is due.
    pub fn with(&mut self, index: usize, event: Event, work: impl FnOnce(&mut Node, u64, &mut Asks)) {
        let now = self.now;
        let Some(node) = &mut self.nodes[index] else { return };
        if node.paused > now {
            let until = node.paused;
            return self.put_off(until, event);
        }
        let mut asks = Asks::default();
        let id = node.state.id().clone();
        work(node, now, &mut asks);
        node.run(now, &mut asks);
        if *node.state.id() != id {
            self.old_ids[index].insert(id.to_string());
        }
        let wake = node.wake;
        if std::mem::replace(&mut node.set, wake) != wake {
            self.at(wake, Event::Wake { node: index, at: wake });
        }
        self.carry_out(index, asks);
    }

    fn carry_out(&mut self, index: usize, asks: Asks) {
        for (call, bytes) in asks.calls {
            self.call(index, call, bytes);
        }
        for (channel, on) in asks.subscriptions {
            self.subscribe(index, channel, on);
        }
        for news in asks.news {
            if !matches!(news, News::Stating | News::Refused) {
                self.note(|| format!("node {index}: {news:?}"));
            }
        }
        let expelled = self.nodes[index].as_mut().map(|node| std::mem::take(&mut node.expelled)).unwrap_or_default();
        for channel in expelled {
            // A node that was paused hears late of what it was told.
            let until = |at: &u64| (at + TIMEOUT).max(self.disturbed[index].until);
            let told_before = self.freed.get(&channel).is_some_and(|at| self.now < until(at));
            if !self.tainted.contains(&channel) && !told_before {
                self.fail(format!("node {index} sent everybody away from {}", CHANNELS[channel]));
            }
        }
        self.watch_told(index);
        if asks.end {
            self.note(|| format!("node {index} has stopped"));
            let upgrade = self.nodes[index].as_ref().is_some_and(|node| node.upgrade);
            self.end_node(index, true);
            if upgrade {
                self.defaults[index] ^= true;
                self.start_node(index);
            }
        }
    }

    pub fn start_node(&mut self, index: usize) {
        if self.nodes[index].is_some() {
            return;
        }
        let seed = self.random.u64(..);
        self.note(|| format!("node {index} starts"));
        let config = config(self.defaults[index]);
        let mut node = Node::start(config, self.rules.clone(), self.base, self.now, seed, self.mutation);
        node.limit = self.visitors;
        self.nodes[index] = Some(node);
        self.partitions[index].0 = 0;
        self.disturbed[index].linked = u64::MAX;
        self.connect(index, false);
        self.connect(index, true);
    }

    /// A node's process ends. What it had under way may still arrive.
    pub fn end_node(&mut self, index: usize, arrives: bool) {
        self.nodes[index] = None;
        self.old_ids[index].clear();
        let of_node = |(number, connection): (&usize, &Connection)| (connection.node == index).then_some(*number);
        for number in self.connections.iter().filter_map(of_node).collect::<Vec<_>>() {
            self.hang_up(number, arrives);
        }
    }

    pub fn kill_store(&mut self) {
        self.store.kill();
        (self.store.stalled, self.store.refuses) = (0, None);
        for number in self.connections.keys().copied().collect::<Vec<_>>() {
            let wait = self.latency(number);
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.slot = None;
            }
            self.after(wait, Event::Closed { connection: number });
        }
    }

    fn store_up(&mut self, data: &Snapshot, foreign: (i64, i64)) {
        if self.store.is_up() {
            return;
        }
        self.note(|| format!("the store is up, with {} keys", data.len()));
        self.foreign = foreign;
        self.store.start(self.now, data);
    }
}
