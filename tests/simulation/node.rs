//! A node: the product's presence state and jobs, over connections that the world makes and breaks. Its
//! sockets are numbers; what its hub does with messages and values is what the product's router does.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use headcount::backplane::{Error, Keys};
use headcount::config::{PresenceConfig, Rules};
use headcount::presence::NodeId;
use headcount::presence::effect::{Effect, Job, JobOutcome, News};
use headcount::presence::jobs::Context;
use headcount::presence::scripts::Scripts;
use headcount::presence::state::PresenceState;

use crate::hub::Hub;
use crate::mutation::Mutation;
use crate::plan::{CHANNELS, ROOM};
use crate::seam::Seam;

type JobFuture = Pin<Box<dyn Future<Output = JobOutcome> + Send>>;

/// A process that runs.
pub struct Node {
    pub state: PresenceState,
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
    /// Whether it lists who is in the room.
    pub lists: bool,
    /// Channels from which sockets were sent away.
    pub expelled: Vec<usize>,
    seam: Seam,
    context: Context<Seam>,
    jobs: BTreeMap<u64, JobFuture>,
    /// The job that waits for a call.
    callers: BTreeMap<u64, u64>,
    last_job: u64,
    pub last_handle: u64,
    base: Instant,
    pub mutation: Option<Mutation>,
    /// When its connection for commands came up, by its own clock.
    linked: Option<Instant>,
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
        config: PresenceConfig,
        rules: Arc<Rules>,
        base: Instant,
        now: u64,
        seed: u64,
        mutation: Option<Mutation>,
    ) -> Self {
        let (seam, lists) = (Seam::new(mutation), rules.members(CHANNELS[ROOM]).is_some());
        let mut ids = fastrand::Rng::with_seed(seed);
        let draw = Box::new(move || NodeId::from_bits(ids.u128(..)));
        let scripts = Scripts::new(seam.clone(), Keys::new(""));
        let at = base + Duration::from_micros(now);
        Self {
            state: PresenceState::new(config.clone(), rules.clone(), at, seed, draw),
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
            lists,
            expelled: Vec::new(),
            seam,
            context: Context { scripts, config, rules },
            jobs: BTreeMap::new(),
            callers: BTreeMap::new(),
            last_job: 0,
            last_handle: 0,
            base,
            mutation,
            linked: None,
        }
    }

    /// What its clock says.
    pub fn at(&self, now: u64) -> Instant {
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
        self.linked = up.then(|| self.at(now));
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
            let effects: Vec<_> = self.state.effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Run(job) => self.begin(job, now, asks),
                    Effect::Value(name, value) => self.value(&name, &value, now, asks),
                    Effect::Members(_, listing) => self.listed(listing),
                    Effect::Heartbeat(_) => {}
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
            Some(mutation) => {
                let lease = self.context.config.lease;
                let old_link = self.linked.is_some_and(|linked| self.at(now).saturating_duration_since(linked) > lease);
                mutation.job(job, old_link)
            }
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

    /// The node leaves.
    pub fn close(&mut self, now: u64) {
        self.stopping = true;
        self.state.close(self.at(now));
    }
}
