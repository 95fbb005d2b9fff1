//! Puts the layers together: starts them from the store outwards, and stops them in the opposite order.
//!
//! Each worker has its own thread and its own runtime; the first also accepts connections and
//! talks to the store. The rule: only this file knows all layers.

mod embedded_store;
mod error;
mod fd_budget;
mod key_refresh;
mod listeners;
mod reload;
mod store_users;
mod watchdog;
mod workers;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use humantime::format_duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::auth::{Tokens, Verification};
use crate::backplane::{Client, Keys, Subscriber};
use crate::boards::{Trending, boards};
use crate::config::{self, Config, Listen, Loaded, Overrides};
use crate::http::accept::{WorkerHandle, accept};
use crate::http::{App, Descriptors};
use crate::hub::publishing::publishing;
use crate::hub::queue::ByteBudget;
use crate::hub::revocations::Revocations;
use crate::hub::{Registry, Router, StoreWatch};
use crate::log::Threshold;
use crate::metrics::Metrics;
use crate::net::listener::Listener;
use crate::presence::{Presence, presence};
use crate::pulse::Pulse;
use crate::session::Order;
use crate::signals::{Asked, Signals};
use crate::store::StoreError;
use crate::systemd::{self, Manager};
use embedded_store::{EmbeddedStore, Serving};
pub use error::Error;
use fd_budget::FdBudget;
pub use key_refresh::fetch as fetch_keys;
use reload::Reload;
pub use store_users::check_user;
use watchdog::{Watchdog, see_out};
use workers::Workers;

/// The share of the drain time over which sockets are closed; the rest is for their goodbyes and for
/// withdrawing what is left.
const CLOSING: f64 = 0.7;
/// The largest share of the drain time spent waiting for pending requests, and the time between two checks.
const ANSWERING: f64 = 0.1;
const LOOK: Duration = Duration::from_millis(5);
/// The least time for withdrawing the tallies, even in a drain of zero length.
const WITHDRAW: Duration = Duration::from_millis(500);
/// The longest wait for a worker to take a new configuration.
const CONFIGURE: Duration = Duration::from_secs(2);

/// A server that is listening.
pub struct Server {
    reload: Reload,
    descriptors: FdBudget,
    listeners: Vec<Listener>,
    metrics_listener: Option<Listener>,
    signals: Signals,
    metrics: Metrics,
    host: EmbeddedStore,
    serving: Option<Serving>,
}

impl Server {
    /// Starts listening, and serves the store if it should do so at once, but no clients yet. `held` are the
    /// sockets that the service manager holds for us, each with its name.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(
        loaded: Loaded,
        overrides: Overrides,
        threshold: Threshold,
        held: Vec<(OwnedFd, String)>,
    ) -> Result<Self, Error> {
        let config = &loaded.config;
        let descriptors = FdBudget::raise(config);
        let listeners = listeners::for_clients(config, held)?;
        let metrics_listener = listeners::for_metrics(config)?;
        let metrics = Metrics::default();
        let mut host = EmbeddedStore::new(config, descriptors.store, metrics.clone());
        let serving = host.start().await?;
        let reload = Reload { loaded, overrides, threshold };
        Ok(Self { reload, descriptors, listeners, metrics_listener, signals: Signals::new()?, metrics, host, serving })
    }

    /// Describes where the counts are kept.
    pub fn store(&self) -> String {
        let url = self.reload.loaded.config.redis.shown();
        if self.serving.is_some() { format!("its own store at {url}") } else { url }
    }

    /// Returns the addresses that it listens on, with the actual ports.
    pub fn addresses(&self) -> Vec<Listen> {
        self.listeners.iter().map(|listener| listener.at.clone()).collect()
    }

    /// Serves until a signal arrives, then shuts down gracefully. Returns the number of the signal that cut the
    /// shutdown short, if there was one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(mut self) -> Result<Option<i32>, Error> {
        let metrics = self.metrics.clone();
        let descriptors = self.descriptors.web;
        let mut node = Node::start(&self.reload.loaded.config, descriptors, self.metrics, self.host, self.serving)?;
        let manager = Manager::find();
        let (mut accepting, mut supervising) = (JoinSet::new(), JoinSet::new());
        supervising.spawn(node.supervisor(manager.clone()).run());
        for listener in self.listeners.drain(..) {
            accepting.spawn(accept(node.app.clone(), listener, node.lanes.clone(), false));
        }
        if let Some(listener) = self.metrics_listener.take() {
            accepting.spawn(accept(node.app.clone(), listener, node.lanes.clone(), true));
        }
        manager.ready();
        let signal = loop {
            tokio::select! {
                asked = self.signals.next() => match asked {
                    Asked::Stop(signal, _) => break signal,
                    Asked::Reload => {
                        manager.reloading();
                        if self.reload.again() {
                            node.configure(self.reload.loaded.config.clone()).await;
                        }
                        manager.ready();
                    }
                },
                fault = node.fault() => return Err(fault),
            }
        };
        supervising.shutdown().await;
        let config::ServerConfig { notice, drain, .. } = self.reload.loaded.config.server;
        let linger = self.reload.loaded.config.channels.longest_linger();
        let (shown, over) = (format_duration(notice), format_duration(drain));
        tracing::info!(signal, notice = %shown, drain = %over, "stopping");
        tokio::select! {
            left = node.leave(notice, drain, linger, accepting) => left.map(|()| None),
            number = self.signals.stop() => {
                tracing::warn!("stopping at once: other nodes withdraw this one's share");
                Ok(Some(number))
            }
            never = see_out(manager, metrics) => never,
        }
    }
}

/// Everything between the listeners and the store, running.
struct Node {
    app: Arc<App>,
    registry: Arc<Registry>,
    lanes: Vec<WorkerHandle>,
    orders: Vec<mpsc::Sender<Order>>,
    presence: Presence,
    trending: Trending,
    counting: JoinSet<()>,
    hosting: JoinSet<Result<(), StoreError>>,
    stop_store: watch::Sender<bool>,
    workers: JoinSet<()>,
    pulses: Vec<Pulse>,
    metrics: Metrics,
    /// The connections to the store, and the tasks between them and the workers. They end with the node.
    background: JoinSet<()>,
}

/// The shortest time between two values on a channel that delivers only the latest value.
fn pace(config: &Config) -> Duration {
    Duration::from_secs(1) / config.limits.pushes_per_second
}

impl Node {
    fn start(
        config: &Config,
        descriptors: Descriptors,
        metrics: Metrics,
        host: EmbeddedStore,
        serving: Option<Serving>,
    ) -> Result<Self, Error> {
        let mut background = JoinSet::new();

        let keys = Keys::new(&config.redis.key_prefix);
        let commands = Client::new(&config.redis, host.credentials(), metrics.clone())?;
        let topology = commands.topology();
        let feed = Subscriber::new(&config.redis, host.credentials(), topology.clone(), metrics.clone())?;
        let link = commands.link();

        let (presence, count) =
            presence(config.presence.clone(), config.channels.clone(), commands.clone(), keys.clone(), metrics.clone());
        let (boards, reading) =
            boards(&config.redis, host.credentials(), topology, pace(config), keys.clone(), metrics.clone())?;
        background.spawn(reading);
        let repair = config.presence.repair;
        let trending = Trending::new(config.channels.clone(), repair, commands.clone(), keys.clone());
        background.spawn(trending.clone().run());
        let (rules, max_frame) = (config.channels.clone(), config.limits.client_buffer);
        let registry = Arc::new(Registry::new(presence.clone(), boards, rules, max_frame));

        let tokens = Arc::new(Tokens::new(config.auth.verifier.clone(), config.auth.is_on()));
        let verification = Arc::new(Verification::start(tokens.clone()));
        let (mut hosting, stop_store, store_pulse) = (JoinSet::new(), host.stopper(), host.pulse());
        hosting.spawn(host.run(serving, commands.link(), config.redis.shown()));
        let mut counting = JoinSet::new();
        counting.spawn(count);
        let rate = config.limits.publishes_per_second;
        let (publisher, publishing) = publishing(commands.clone(), keys.clone(), rate, metrics.clone());
        background.spawn(publishing.run());
        background.spawn(commands.clone().keep_up());
        background.spawn(feed.clone().keep_up());

        let Workers { lanes, deliveries, orders, running: workers, mut pulses } =
            Workers::start(config, &registry, &verification, &publisher, &metrics)?;
        pulses.push(store_pulse);
        let repair = config.presence.repair;
        let revocations = Revocations::new(tokens, commands, &keys, feed.clone(), deliveries.clone(), repair);
        let revoked = revocations.announced();
        background.spawn(revocations.run());
        let router = Router {
            registry: registry.clone(),
            feed,
            keys,
            presence: presence.clone(),
            trending: trending.clone(),
            link,
            heartbeat: presence.heartbeat(),
            shards: deliveries,
            room: ByteBudget::default(),
            metrics: metrics.clone(),
            unwanted: VecDeque::new(),
            store: config.redis.shown(),
            watch: StoreWatch::default(),
            revoked,
        };
        background.spawn(router.run());
        let app =
            Arc::new(App::new(config.clone(), descriptors, registry.clone(), verification, publisher, metrics.clone()));
        background.spawn(key_refresh::keep_fresh(app.clone()));
        Ok(Self {
            app,
            registry,
            lanes,
            orders,
            presence,
            trending,
            counting,
            hosting,
            stop_store,
            workers,
            pulses,
            metrics,
            background,
        })
    }

    fn supervisor(&self, manager: Manager) -> Watchdog {
        Watchdog {
            manager,
            watchdog: systemd::watchdog(),
            pulses: self.pulses.clone(),
            metrics: self.metrics.clone(),
            registry: self.registry.clone(),
        }
    }

    /// Applies what may change while the node runs, for open connections too.
    async fn configure(&self, config: Config) {
        let config = Arc::new(config);
        self.trending.configure(config.channels.clone());
        self.registry.configure(config.channels.clone(), config.limits.client_buffer, pace(&config));
        self.app.configure(config.clone());
        for worker in &self.orders {
            if timeout(CONFIGURE, worker.send(Order::Config(config.clone()))).await.is_err() {
                tracing::error!("a worker is stuck and did not apply the new configuration");
            }
        }
    }

    /// Waits for an event that is a fault unless the node is stopping.
    async fn fault(&mut self) -> Error {
        tokio::select! {
            Some(_) = self.workers.join_next() => Error::Worker,
            Some(ended) = self.hosting.join_next() => {
                ended.unwrap_or(Err(StoreError::Ended)).err().unwrap_or(StoreError::Ended).into()
            }
        }
    }

    /// Keeps serving for `notice` while reporting that it is not ready, then stops listening and drains the
    /// clients.
    async fn leave(
        mut self,
        notice: Duration,
        drain: Duration,
        linger: Duration,
        mut accepting: JoinSet<()>,
    ) -> Result<(), Error> {
        self.app.leave();
        if !notice.is_zero() {
            tokio::select! {
                () = sleep(notice) => {}
                fault = self.fault() => return Err(fault),
            }
        }
        self.app.drain();
        accepting.shutdown().await;
        let start = Instant::now();
        tracing::info!("no longer accepting clients; closing the sockets");
        let answered = async {
            while self.app.connections() > 0 {
                sleep(LOOK).await;
            }
        };
        // Not all connections will end: a browser keeps one open for its next request.
        let _ = timeout(drain.mul_f64(ANSWERING), answered).await;
        self.drain(drain.saturating_sub(start.elapsed()), linger).await;
        Ok(())
    }

    /// Closes the sockets over the time `over`, then withdraws what is left. Visitors stay counted for up to
    /// `linger` longer.
    async fn drain(mut self, over: Duration, linger: Duration) {
        let start = Instant::now();
        self.presence.stay();
        let sockets_end = start + over.max(WITHDRAW) - (over / 10).max(WITHDRAW / 2);
        // Visitors who were sent to another node stay counted until they have had time to get there.
        let end = start + over.max(WITHDRAW) + linger;
        for worker in &self.orders {
            let _ = timeout_at(end.into(), worker.send(Order::Drain(over.mul_f64(CLOSING)))).await;
        }
        let all_closed = async { while self.workers.join_next().await.is_some() {} };
        if timeout_at(sockets_end.into(), all_closed).await.is_err() {
            tracing::warn!("some clients did not say goodbye in time; their connections end with the process");
        }
        self.presence.close();
        let withdrawn = async { while self.counting.join_next().await.is_some() {} };
        match timeout_at(end.into(), withdrawn).await {
            Ok(()) => tracing::info!(took = ?start.elapsed(), "stopped"),
            Err(_) => tracing::warn!("stopped, but the store did not answer; other nodes withdraw what is left"),
        }
        self.trending.close(WITHDRAW).await;
        // The end of this node's own store is not a fault to report.
        self.background.abort_all();
        // The store stops last, and in one step: until now the other nodes used it.
        self.stop_store.send_replace(true);
        let _ = timeout_at((end + WITHDRAW).into(), self.hosting.join_next()).await;
    }
}
