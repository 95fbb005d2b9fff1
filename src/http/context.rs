//! What a request may need to know about the node and about its connection.

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

/// The node as its routes see it.
pub struct App {
    config: RwLock<Arc<Config>>,
    /// Its channels, and the state of the store.
    pub registry: Arc<Registry>,
    /// The node's metrics.
    pub metrics: Metrics,
    /// The page and the scripts.
    pub assets: Assets,
    /// The limits on connections and clients.
    pub places: Places,
    /// The keys that tokens are checked with, and the revoked tokens.
    pub tokens: Arc<Tokens>,
    /// Checks tokens.
    pub verification: Arc<Verification>,
    /// Publishes posted messages to the store.
    pub publisher: Publisher,
    leaving: AtomicBool,
    draining: AtomicBool,
}

/// What a request may need to know about its connection.
#[derive(Clone)]
pub struct ConnectionInfo {
    /// The node.
    pub app: Arc<App>,
    /// The address of the other end, or the one that a proxy reported instead; `None` if it is unknown.
    pub peer: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// What the connection may be used for.
    pub purpose: Use,
}

impl App {
    /// Returns the context of a node with this configuration, whose connections may use this many descriptors.
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

    /// Puts a new configuration into effect, from the next request on.
    pub fn configure(&self, config: Arc<Config>) {
        self.places.addresses.configure(&config.limits);
        self.tokens.configure(config.auth.verifier.clone(), config.auth.is_on());
        self.publisher.configure(config.limits.publishes_per_second);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Returns the configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the node report that it is not ready, so that no new clients are sent to it. It still serves those
    /// that come.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Makes the node refuse new sockets.
    pub fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }

    /// Returns how many connections have not become a client: those being answered or waiting for a request.
    pub fn connections(&self) -> usize {
        self.places.seats.connections()
    }

    /// Returns whether the node is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Returns whether the node refuses new sockets.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns a response with a status and a line with the reason.
    pub fn refuse(&self, status: StatusCode, why: &str) -> Reply {
        self.metrics.rejected.inc();
        plain(status, &format!("{why}\n"))
    }
}
