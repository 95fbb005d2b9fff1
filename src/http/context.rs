//! What every request may need to know: of the node, and of the connection that it came on.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hyper::StatusCode;

use super::assets::Assets;
use super::places::{Descriptors, Places, Use};
use super::reply::{Reply, plain};
use crate::auth::{Tokens, Verification};
use crate::config::Config;
use crate::hub::{Publisher, Registry};
use crate::metrics::Metrics;

/// The node, as its routes see it.
pub struct App {
    config: RwLock<Arc<Config>>,
    /// Which channels there are, and how the store is.
    pub registry: Arc<Registry>,
    /// What the node counts of itself.
    pub metrics: Metrics,
    /// The page and the scripts.
    pub assets: Assets,
    /// Who may come in.
    pub places: Places,
    /// Whose tokens are taken.
    pub tokens: Arc<Tokens>,
    /// Checks them.
    pub verification: Arc<Verification>,
    /// The way to the store for what is posted.
    pub publisher: Publisher,
    leaving: AtomicBool,
    draining: AtomicBool,
}

/// What a request may need to know of its connection.
#[derive(Clone)]
pub struct Connection {
    /// The node.
    pub app: Arc<App>,
    /// The other end's address, or what a proxy said in its place; None if it is not known.
    pub peer: Option<IpAddr>,
    /// Whether it is encrypted.
    pub tls: bool,
    /// What it may be used for.
    pub purpose: Use,
}

impl App {
    /// For a node with this configuration, whose connections may take this many descriptors.
    pub fn new(
        config: Config,
        descriptors: Descriptors,
        registry: Arc<Registry>,
        verification: Arc<Verification>,
        publisher: Publisher,
        metrics: Metrics,
    ) -> Self {
        let places = Places::new(&config.limits, descriptors, metrics.clone());
        let (assets, config) = (Assets::load(), RwLock::new(Arc::new(config)));
        let (leaving, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        let tokens = verification.tokens.clone();
        Self { config, registry, metrics, assets, places, tokens, verification, publisher, leaving, draining }
    }

    /// Puts another configuration into effect, from the next request on.
    pub fn configure(&self, config: Arc<Config>) {
        self.places.addresses.configure(&config.limits);
        self.tokens.configure(config.auth.verifier.clone(), config.auth.is_on());
        self.publisher.configure(config.limits.publishes_per_second);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the node says that it is not ready, so that nobody is sent here; whoever comes is served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// From now on the node takes no new socket.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }

    /// Connections that have not become a client: being answered, or waiting for a request.
    pub fn connections(&self) -> usize {
        self.places.seats.connections()
    }

    /// Whether the node is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether the node takes no new socket.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Answers with a status and a line that says why.
    pub fn refuse(&self, status: StatusCode, why: &str) -> Reply {
        self.metrics.rejected.inc();
        plain(status, &format!("{why}\n"))
    }
}
