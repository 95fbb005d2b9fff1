//! Puts the layers together: starts them from right to left, and stops them from left to right.
//!
//! One thread a worker, each with a runtime of its own; the first also accepts connections and
//! talks to the store. The rule: this file alone knows all layers.

mod host;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::backplane::{Commands, Feed, Keys};
use crate::census::{Census, census};
use crate::config::Config;
use crate::http::App;
use crate::http::accept::{Lane, accept, listen};
use crate::hub::{DELIVERIES, Delivery, Registry, Router, Shard};
use crate::metrics::Metrics;
use crate::session::{ATTACHES, Worker, run};
use crate::shutdown::Signals;
use crate::store::StoreError;
use host::{Host, Serving};

/// The part of the drain over which sockets are closed; the rest is for their goodbyes and for
/// withdrawing what is left.
const CLOSING: f64 = 0.7;
/// Even a drain of no time leaves this long to withdraw the tallies.
const WITHDRAW: Duration = Duration::from_millis(500);
/// Workers that one node may have: a bit each in the registry.
const MAX_WORKERS: usize = 64;

/// Why a server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; free the address, or set server.listen or PORT to another")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// The store's URL cannot be used.
    #[error("redis.url cannot be used: {0}")]
    Store(#[from] redis::RedisError),
    /// A worker ended, and with it the service of its clients.
    #[error("a worker ended unexpectedly; the log says why")]
    Worker,
    /// The embedded store cannot be served, or its folder cannot be used.
    #[error("{0}")]
    Embedded(#[from] StoreError),
    /// The kernel gave no thread, epoll or signal handler.
    #[error("the system gave this process too little to run: {0}")]
    System(#[from] io::Error),
}

/// A server that listens.
pub struct Server {
    config: Config,
    listeners: Vec<TcpListener>,
    signals: Signals,
    metrics: Metrics,
    host: Host,
    serving: Option<Serving>,
}

impl Server {
    /// Listens, and serves the store if that is to be done at once, but no client yet.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let open = |&address: &SocketAddr| {
            listen(address, config.server.backlog).map_err(|error| Error::Listen { address, error })
        };
        let listeners = config.server.listen.iter().map(open).collect::<Result<_, _>>()?;
        let metrics = Metrics::default();
        let mut host = Host::new(&config, metrics.clone());
        let serving = host.start().await?;
        Ok(Self { config, listeners, signals: Signals::new()?, metrics, host, serving })
    }

    /// Where the counts are kept, in words.
    pub fn store(&self) -> String {
        let url = self.config.redis.shown();
        if self.serving.is_some() { format!("its own store at {url}") } else { url }
    }

    /// Where it listens, with real ports.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until a signal comes, then drains. Returns the number of the signal that cut a drain
    /// short, if one did.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(mut self) -> Result<Option<i32>, Error> {
        let limits = raise_descriptors(&self.config);
        self.config.limits.clients = limits;
        let mut node = Node::start(&self.config, self.metrics, self.host, self.serving)?;
        let mut accepting = JoinSet::new();
        for listener in self.listeners.drain(..) {
            accepting.spawn(accept(node.app.clone(), listener, node.lanes.clone()));
        }
        let name = tokio::select! {
            (name, _) = self.signals.next() => name,
            // Without a drain a worker ends for a fault only.
            Some(_) = node.workers.join_next() => return Err(Error::Worker),
            // Without a stop the host ends for a fault only.
            Some(ended) = node.hosting.join_next() => {
                return Err(ended.unwrap_or(Err(StoreError::Ended)).err().unwrap_or(StoreError::Ended).into());
            }
        };
        tracing::info!(signal = name, drain = ?self.config.server.drain, "stopping: closing the sockets");
        node.app.drain();
        accepting.shutdown().await;
        tokio::select! {
            () = node.drain(self.config.server.drain) => Ok(None),
            (_, number) = self.signals.next() => {
                tracing::warn!("stopping now: other nodes withdraw what this one had counted");
                Ok(Some(number))
            }
        }
    }
}

/// Everything between the listeners and the store, running.
struct Node {
    app: Arc<App>,
    lanes: Vec<Lane>,
    deliveries: Vec<mpsc::Sender<Delivery>>,
    census: Census,
    counting: JoinSet<()>,
    hosting: JoinSet<Result<(), StoreError>>,
    stop_store: watch::Sender<bool>,
    workers: JoinSet<()>,
    /// Ends with the node.
    _background: JoinSet<()>,
}

impl Node {
    fn start(config: &Config, metrics: Metrics, host: Host, serving: Option<Serving>) -> Result<Self, Error> {
        let mut background = JoinSet::new();

        let keys = Keys::new(&config.redis.key_prefix);
        let commands = Commands::new(&config.redis, metrics.clone())?;
        let feed = Feed::new(&config.redis, metrics.clone())?;
        let link = commands.link();

        let (census, count) =
            census(config.census.clone(), config.channels.clone(), commands.clone(), keys.clone(), metrics.clone());
        let registry = Arc::new(Registry::new(census.clone()));

        let (mut hosting, stop_store) = (JoinSet::new(), host.stopper());
        hosting.spawn(host.run(serving, commands.link(), config.redis.shown()));
        let mut counting = JoinSet::new();
        counting.spawn(count);
        background.spawn(commands.keep_up());
        background.spawn(feed.clone().keep_up());

        let (lanes, deliveries, workers) = start_workers(config, &registry, &metrics)?;
        let router = Router {
            registry: registry.clone(),
            feed,
            keys,
            census: census.clone(),
            link,
            rules: config.channels.clone(),
            shards: deliveries.clone(),
            max_frame: config.limits.client_buffer,
            metrics: metrics.clone(),
            store: config.redis.shown(),
            subscribed: false,
            why: String::new(),
        };
        background.spawn(router.run());
        let app = Arc::new(App::new(config.clone(), registry, metrics));
        Ok(Self { app, lanes, deliveries, census, counting, hosting, stop_store, workers, _background: background })
    }

    /// Closes the sockets over the time given, then withdraws what is left. Takes no longer.
    async fn drain(mut self, over: Duration) {
        let start = Instant::now();
        let end = start + over.max(WITHDRAW);
        for worker in &self.deliveries {
            let _ = worker.send(Delivery::Drain(over.mul_f64(CLOSING))).await;
        }
        let sockets_end = end - (over / 10).max(WITHDRAW / 2);
        let all_closed = async { while self.workers.join_next().await.is_some() {} };
        if timeout_at(sockets_end.into(), all_closed).await.is_err() {
            tracing::warn!("some clients did not say goodbye in time; their connections end with the process");
        }
        self.census.close();
        let withdrawn = async { while self.counting.join_next().await.is_some() {} };
        match timeout_at(end.into(), withdrawn).await {
            Ok(()) => tracing::info!(took = ?start.elapsed(), "stopped"),
            Err(_) => tracing::warn!("stopped, but the store did not answer; other nodes withdraw what is left"),
        }
        // Last, and in one step: until now the other nodes used it.
        self.stop_store.send_replace(true);
        let _ = timeout_at((end + WITHDRAW).into(), self.hosting.join_next()).await;
    }
}

type Workers = (Vec<Lane>, Vec<mpsc::Sender<Delivery>>, JoinSet<()>);

fn start_workers(config: &Config, registry: &Arc<Registry>, metrics: &Metrics) -> Result<Workers, Error> {
    let (mut lanes, mut senders, mut running) = (Vec::new(), Vec::new(), JoinSet::new());
    for index in 0..config.server.workers.clamp(1, MAX_WORKERS) {
        let (attach_sender, attaches) = mpsc::channel(ATTACHES);
        let (delivery_sender, deliveries) = mpsc::channel(DELIVERIES);
        let (config, registry, metrics) = (config.clone(), registry.clone(), metrics.clone());
        let work = async move {
            let shard =
                Shard::new(index as u8, registry.clone(), config.channels, config.limits.clone(), metrics.clone());
            let worker = Worker::new(shard, registry, config.limits, config.session, metrics)?;
            run(worker, attaches, deliveries).await
        };
        let runtime = if index == 0 {
            running.spawn(async move { report(work.await) });
            Handle::current()
        } else {
            let (handle, thread) = start_thread(index, work)?;
            running.spawn_blocking(move || {
                if thread.join().is_err() {
                    tracing::error!("a worker's thread panicked");
                }
            });
            handle
        };
        lanes.push(Lane { runtime, attaches: attach_sender });
        senders.push(delivery_sender);
    }
    Ok((lanes, senders, running))
}

fn start_thread(
    index: usize,
    work: impl Future<Output = io::Result<()>> + Send + 'static,
) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread =
        std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || report(runtime.block_on(work)))?;
    Ok((handle, thread))
}

fn report(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "a worker cannot go on");
    }
}

/// Raises the limit of descriptors as far as the system allows, and returns how many clients fit.
fn raise_descriptors(config: &Config) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Descriptors that are not clients.
    const OURS: u64 = 128;
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let fit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| n.saturating_sub(OURS) as usize);
    if fit < config.limits.clients {
        tracing::info!(
            clients = fit,
            wanted = config.limits.clients,
            "the limit of open files allows fewer clients than limits.clients; raise it (LimitNOFILE) for more"
        );
    }
    fit.min(config.limits.clients)
}
