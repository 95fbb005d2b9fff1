//! HTTP: the accept loop, one table of routes, the page, the WebSocket handshake, health, metrics.
//!
//! In: connections. Out: responses, and upgraded connections to the session of the same thread. It
//! knows what a request is, not what a message is. The rule: a request that is refused is told why
//! in one line of plain text.

pub mod accept;
mod admission;
mod assets;
mod bridge;
mod client_ip;
mod connection;
mod events;
mod handshake;
mod health;
mod proxy_protocol;
mod query;
pub mod routes;
mod visitor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::{Response, StatusCode};

use crate::config::Config;
use crate::hub::Registry;
use crate::metrics::Metrics;
use crate::net::conn_limits::{HeldCount, IpLimiter};
use assets::Assets;

/// A response whose body is in memory.
pub type Reply = Response<Full<Bytes>>;

/// What every request may need to know.
pub struct App {
    config: RwLock<Arc<Config>>,
    registry: Arc<Registry>,
    metrics: Metrics,
    assets: Assets,
    leaving: AtomicBool,
    draining: AtomicBool,
    /// Sockets by address.
    per_address: Arc<IpLimiter>,
    /// Descriptors that clients may take.
    descriptors: usize,
    /// Connections that are open and have not become a socket.
    open: HeldCount,
    /// Clients whose bytes pass through a pair of sockets.
    carried: HeldCount,
    /// That there are no more descriptors was logged.
    told_full: AtomicBool,
    /// That there are as many clients as may be was logged, since there were clearly fewer.
    told_many: AtomicBool,
}

impl App {
    /// For a node with this configuration, whose clients may take so many descriptors.
    pub fn new(config: Config, descriptors: usize, registry: Arc<Registry>, metrics: Metrics) -> Self {
        let (assets, config) = (Assets::load(), RwLock::new(Arc::new(config)));
        Self {
            config,
            registry,
            metrics,
            assets,
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            per_address: Arc::default(),
            descriptors,
            open: HeldCount::default(),
            carried: HeldCount::default(),
            told_full: AtomicBool::new(false),
            told_many: AtomicBool::new(false),
        }
    }

    /// Puts another configuration into effect, from the next request on.
    pub fn configure(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the node says that it is not ready, so that nobody is sent here; who comes is served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// From now on the node takes no new socket.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }

    /// Connections that are open and have not become a client: being answered, or waiting for a request.
    pub fn connections(&self) -> usize {
        self.open.held()
    }

    /// Connections of clients, whatever they have become.
    fn clients(&self) -> usize {
        self.connections() + usize::try_from(self.metrics.sockets.get()).unwrap_or(0)
    }

    /// Descriptors that clients take: one each, and a pair more where one carries its bytes.
    fn taken(&self) -> usize {
        self.clients() + 2 * self.carried.held()
    }

    /// Says once that clients are refused for want of descriptors.
    fn tell_full(&self) {
        if !self.told_full.swap(true, Ordering::Relaxed) {
            let (clients, descriptors) = (self.clients(), self.descriptors);
            tracing::warn!(clients, descriptors, "full: no more open files are allowed; raise the limit (LimitNOFILE)");
        }
    }

    fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Answers with a status and a line that says why.
    fn refuse(&self, status: StatusCode, why: &str) -> Reply {
        self.metrics.rejected.inc();
        plain(status, &format!("{why}\n"))
    }
}

/// A plain text response.
fn plain(status: StatusCode, text: &str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

/// Adds the methods that a route takes.
fn allow(mut reply: Reply, methods: &'static str) -> Reply {
    reply.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(methods));
    reply
}
