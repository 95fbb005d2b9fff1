//! A node: the product's presence state and jobs, over connections that the world makes and breaks. Its
//! sockets are numbers; what its hub does with messages and values is what the product's router does.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use headcount::backplane::{Error, Keys};
use headcount::config::{Presence as Config, Rules};
use headcount::presence::effect::{Effect, Job, News, Outcome};
use headcount::presence::jobs::Context;
use headcount::presence::scripts::Scripts;
use headcount::presence::state::State;
use headcount::presence::{Change, Crowd, Household, NodeId, Origin, Reading, Value, VisitorId, flag};

use crate::mutation::Mutation;
use crate::plan::{CHANNELS, ROOM};
use crate::seam::Seam;

/// What the hub knows of a channel.
#[derive(Default)]
pub struct Hub {
    pub sockets: u64,
    pub watchers: u64,
    pub total: Option<i64>,
    /// The tabs of each visitor, and who of them is counted, where visitors are.
    tabs: BTreeMap<usize, u64>,
    counted: BTreeSet<VisitorId>,
    crowd: Crowd,
    handle: u64,
    heard: u64,
    subscribed: bool,
    live: bool,
}

/// Who somebody is. Two households share the visitors.
fn visitor(who: usize) -> VisitorId {
    VisitorId([who as u8 + 1; 16])
}

fn origin(who: usize, limit: Option<u32>) -> Origin {
    let address = if who.is_multiple_of(2) { "192.0.2.1" } else { "2001:db8::1" };
    Origin { household: Household::of(address.parse().ok()), limit }
}

type JobFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A process that runs.
pub struct Node {
    pub state: State,
    pub hubs: BTreeMap<usize, Hub>,
    /// Its connections, if they stand.
    pub commands: Option<usize>,
    pub messages: Option<usize>,
    pub stopping: bool,
    /// Another version takes its place when it has stopped.
    pub upgrade: bool,
    /// What its clock is ahead, in virtual microseconds.
    pub ahead: i64,
    /// `limits.visitors_per_address`
    pub limit: Option<u32>,
    /// Until when it does not run, in virtual microseconds.
    pub paused: u64,
    /// When it is to be woken.
    pub wake: u64,
    /// The last wake-up that was set.
    pub set: u64,
    /// Channels from which sockets were sent away.
    pub expelled: Vec<usize>,
    seam: Seam,
    context: Context<Seam>,
    jobs: BTreeMap<u64, JobFuture>,
    /// The job that waits for a call.
    callers: BTreeMap<u64, u64>,
    last_job: u64,
    last_handle: u64,
    base: Instant,
    mutation: Option<Mutation>,
}

/// What a node asks of the world after it has run.
#[derive(Default)]
pub struct Asks {
    /// Calls to be sent, with their numbers.
    pub calls: Vec<(u64, Vec<u8>)>,
    /// Channels to subscribe to, or to leave.
    pub subscriptions: Vec<(usize, bool)>,
    pub news: Vec<News>,
    /// It has ended.
    pub end: bool,
}

impl Node {
    pub fn start(
        config: Config,
        rules: Arc<Rules>,
        base: Instant,
        now: u64,
        seed: u64,
        mutation: Option<Mutation>,
    ) -> Self {
        let seam = Seam::new(mutation);
        let mut ids = fastrand::Rng::with_seed(seed);
        let draw = Box::new(move || NodeId::from_bits(ids.u128(..)));
        let scripts = Scripts::new(seam.clone(), Keys::new(""));
        let at = base + Duration::from_micros(now);
        Self {
            state: State::new(config.clone(), rules.clone(), at, seed, draw),
            hubs: BTreeMap::new(),
            commands: None,
            messages: None,
            stopping: false,
            upgrade: false,
            ahead: 0,
            limit: None,
            paused: 0,
            wake: u64::MAX,
            set: u64::MAX,
            expelled: Vec::new(),
            seam,
            context: Context { scripts, config, rules },
            jobs: BTreeMap::new(),
            callers: BTreeMap::new(),
            last_job: 0,
            last_handle: 0,
            base,
            mutation,
        }
    }

    /// What its clock says.
    fn at(&self, now: u64) -> Instant {
        self.base + Duration::from_micros(now.saturating_add_signed(self.ahead))
    }

    /// The connection for commands came up or went down; a call that waits is lost.
    pub fn link(&mut self, up: bool, now: u64, asks: &mut Asks) {
        self.seam.link(up);
        if !up {
            for call in self.callers.keys().copied().collect::<Vec<_>>() {
                self.reply(call, Err(Error::Lost("the connection broke".into())), now, asks);
            }
        }
        self.state.link(up, self.at(now));
    }

    /// The reply to a call.
    pub fn reply(&mut self, call: u64, reply: Result<redis::Value, Error>, now: u64, asks: &mut Asks) {
        let Some(job) = self.callers.remove(&call) else { return };
        self.seam.answer(call, reply);
        self.poll(job, now, asks);
    }

    fn poll(&mut self, number: u64, now: u64, asks: &mut Asks) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let polled = job.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        for (call, bytes) in self.seam.take_calls() {
            self.callers.insert(call, number);
            asks.calls.push((call, bytes));
        }
        if let Poll::Ready(outcome) = polled {
            self.jobs.remove(&number);
            let outcome = match self.mutation {
                Some(mutation) => mutation.outcome(outcome),
                None => outcome,
            };
            self.state.apply(outcome, self.at(now));
        }
    }

    /// Lets the state do what is due, and carries out its effects.
    pub fn run(&mut self, now: u64, asks: &mut Asks) {
        loop {
            self.state.advance(self.at(now));
            let effects = self.state.effects();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Run(job) => self.begin(job, now, asks),
                    Effect::Value(name, value) => self.value(&name, &value, now, asks),
                    Effect::Heartbeat(_) | Effect::Members(..) => {}
                    Effect::Tell(news) => asks.news.push(news),
                    Effect::End => asks.end = true,
                }
            }
        }
        let wake = self.state.wake(self.at(now)).saturating_duration_since(self.base);
        self.wake = (wake.as_micros() as u64).saturating_add_signed(-self.ahead).max(now + 1);
    }

    fn begin(&mut self, job: Job, now: u64, asks: &mut Asks) {
        let Some(job) = (match self.mutation {
            Some(mutation) => mutation.job(job),
            None => Some(job),
        }) else {
            return;
        };
        self.last_job += 1;
        let context = self.context.clone();
        let future: JobFuture = match self.mutation {
            Some(Mutation::ReaperStrikesFirst) => Box::pin(crate::mutation::strike_first(context, job)),
            _ => Box::pin(context.carry_out(job)),
        };
        self.jobs.insert(self.last_job, future);
        self.poll(self.last_job, now, asks);
    }

    fn mark(&mut self, channel: usize, flags: u8, now: u64) {
        let Some(hub) = self.hubs.get_mut(&channel) else { return };
        let flags = self.mutation.map_or(flags, |mutation| mutation.flags(flags));
        let visitors = (channel == ROOM).then(|| hub.crowd.take_changes());
        for (id, counted, _) in visitors.iter().flatten() {
            if *counted {
                hub.counted.insert(*id)
            } else {
                hub.counted.remove(id)
            };
        }
        let here = if channel == ROOM { 0 } else { hub.sockets };
        let (handle, heard) = (hub.handle, hub.heard);
        let (news, at_once) = (Vec::new(), Vec::new());
        let change = Change { name: CHANNELS[channel].into(), handle, flags, here, visitors, at_once, news, heard };
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
            hub.crowd.join(visitor(who), origin(who, limit), None).0
        });
    }

    fn enter(&mut self, channel: usize, now: u64, asks: &mut Asks, work: impl FnOnce(&mut Hub) -> bool) {
        if self.stopping {
            return;
        }
        if !self.hubs.contains_key(&channel) {
            self.last_handle += 1;
            self.hubs.insert(channel, Hub { handle: self.last_handle, ..Hub::default() });
            asks.subscriptions.push((channel, true));
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
            asks.subscriptions.push((channel, false));
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

    /// The subscription to a channel was acknowledged.
    pub fn subscribed(&mut self, channel: usize, now: u64) {
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

    fn value(&mut self, name: &str, value: &Value, now: u64, asks: &mut Asks) {
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

    /// The node leaves.
    pub fn close(&mut self, now: u64) {
        self.stopping = true;
        self.state.close(self.at(now));
    }

    /// How many are on a channel and counted.
    pub fn here(&self, channel: usize) -> u64 {
        let Some(hub) = self.hubs.get(&channel) else { return 0 };
        if channel == ROOM { hub.counted.len() as u64 } else { hub.sockets }
    }

    /// Which visitors are counted here.
    pub fn counted(&self) -> BTreeSet<VisitorId> {
        self.hubs.get(&ROOM).map(|hub| hub.counted.clone()).unwrap_or_default()
    }
}
