//! Decides who serves the store: another process, or this one.
//!
//! A node serves its embedded store at the address of `redis.url` only if nobody listens there, the
//! address is this machine's own, and no store but ours was ever seen there: a real Redis that
//! restarts must find its port free. A node that cannot listen connects instead, so that of many that
//! start at once only one serves. The backplane does not know: it just finds a Redis at the address.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::store_users::user;
use crate::backplane::{Credentials, Keys, Link};
use crate::config::{self, Config, Embedded};
use crate::metrics::Metrics;
use crate::net::listener::tcp;
use crate::pulse::Pulse;
use crate::store::{Credential, EvictionPolicy, Fsync, Options, Store, StoreError};

/// The longest wait for a connection to the address. If it takes longer, somebody is there.
const PROBE: Duration = Duration::from_millis(500);
/// The time between two checks of an address where nobody serves, plus up to as much again at random, so that
/// several nodes that lost their store do not all check at once.
const LOOK: Duration = Duration::from_millis(50);
/// The pause after an attempt to open a store whose folder another process holds.
const LOCKED: Duration = Duration::from_millis(500);
/// The backlog of the store's listening socket.
const BACKLOG: u32 = 1024;
/// The file in the state folder that records that another store was seen.
const SEEN: &str = "other-store";

/// Hosts the embedded store, if it is this node's turn.
pub struct EmbeddedStore {
    embedded: Embedded,
    options: Options,
    /// Host and port; None if the store is not reached over TCP.
    address: Option<(String, u16)>,
    /// Whether the address is this machine's own, so that this node may serve there.
    local: bool,
    /// Whether another store was seen at the address; remembered across restarts if there is a state folder.
    seen: bool,
    memory: Option<PathBuf>,
    stop: watch::Sender<bool>,
    /// The credentials for this process's own store, while it serves one.
    credentials: watch::Sender<Option<Credentials>>,
    metrics: Metrics,
}

/// A store that is being served.
pub type Serving = JoinHandle<Result<(), StoreError>>;

impl EmbeddedStore {
    /// Creates the host for a store with at most `descriptors` clients; nothing is served yet.
    pub fn new(config: &Config, descriptors: usize, metrics: Metrics) -> Self {
        let info = config.redis.url.as_str().into_connection_info();
        let address = info.ok().and_then(|info| match info.addr() {
            ConnectionAddr::Tcp(host, port) => Some((host.clone(), *port)),
            _ => None,
        });
        let memory = config.server.state_dir.as_ref().map(|folder| folder.join(SEEN));
        let remembered = memory.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let seen = remembered.is_some_and(|text| text.trim() == config.redis.shown());
        let (embedded, options) = (config.store.embedded, options(config, descriptors));
        let local = embedded == Embedded::Auto && config.redis.is_loopback();
        let (stop, credentials) = (watch::Sender::new(false), watch::Sender::new(None));
        Self { embedded, options, address, local, seen, memory, stop, credentials, metrics }
    }

    /// The credentials to connect to the store with: the node's own while it serves the store, so that nobody
    /// can lock it out; otherwise None, which stands for those of the configuration.
    pub fn credentials(&self) -> watch::Receiver<Option<Credentials>> {
        self.credentials.subscribe()
    }

    /// Returns the sender that stops the store: sending true closes its listener and connections in one step.
    pub fn stopper(&self) -> watch::Sender<bool> {
        self.stop.clone()
    }

    /// The pulse of the thread that serves the store, if there is one.
    pub fn pulse(&self) -> Pulse {
        self.options.pulse.clone()
    }

    /// Serves the store now if it should do so at once, so that the startup message can say so.
    ///
    /// # Errors
    /// With `always`, the address cannot be listened on; or the store's folder cannot be used.
    pub async fn start(&mut self) -> Result<Option<Serving>, StoreError> {
        match self.embedded {
            Embedded::Never => Ok(None),
            Embedded::Auto => self.try_serve_or_wait().await,
            Embedded::Always => {
                let address = self.addresses().await.first().copied();
                let address = address.ok_or_else(|| StoreError::Serve(io::ErrorKind::AddrNotAvailable.into()))?;
                self.serve(tcp(address, BACKLOG, false).map_err(StoreError::Serve)?).await.map(Some)
            }
        }
    }

    /// Watches the store, and serves it when it is this node's turn. Ends when the store is stopped.
    ///
    /// # Errors
    /// The store's folder cannot be used, or its log is damaged.
    pub async fn run(
        mut self,
        mut serving: Option<Serving>,
        mut link: watch::Receiver<Link>,
        shown: String,
    ) -> Result<(), StoreError> {
        let mut stop = self.stop.subscribe();
        if self.seen && self.local {
            tracing::info!(
                remembered = self.remembered(),
                "another store was seen at redis.url earlier: this server waits for it; to serve the embedded store \
                 instead, remove that file or set store.embedded to \"always\""
            );
        }
        loop {
            if let Some(store) = serving.take() {
                let ended = store.await.unwrap_or(Err(StoreError::Ended));
                self.metrics.store_serving.set(0);
                self.credentials.send_replace(None);
                if *stop.borrow() || self.embedded == Embedded::Always {
                    return ended;
                }
                if let Err(error) = ended {
                    tracing::error!(%error, "the embedded store stopped; looking for another store");
                }
            }
            let state = link.borrow_and_update().clone();
            if let Link::Up(peer) = &state {
                self.note(peer.ours, &shown);
            }
            let look = match state {
                Link::Down(_) if self.embedded == Embedded::Auto && !self.seen => LOOK.mul_f64(1.0 + fastrand::f64()),
                _ => Duration::MAX,
            };
            let stopped = async { stop.wait_for(|stop| *stop).await.is_ok() };
            tokio::select! {
                changed = link.changed() => if changed.is_err() { return Ok(()) },
                _ = stopped => return Ok(()),
                () = sleep(look) => serving = self.try_serve_or_wait().await?,
            }
        }
    }

    /// Like `try_serve`, but waits if the folder is locked: another process may hold it longer than the address.
    async fn try_serve_or_wait(&self) -> Result<Option<Serving>, StoreError> {
        match self.try_serve().await {
            Err(StoreError::Locked { .. }) => {
                sleep(LOCKED).await;
                Ok(None)
            }
            other => other,
        }
    }

    /// Says where it is recorded that another store was seen.
    fn remembered(&self) -> String {
        self.memory.as_ref().map_or("until this process ends".to_owned(), |file| file.display().to_string())
    }

    /// Notes what kind of store was seen. If it is not ours, this node waits for it from now on.
    fn note(&mut self, ours: Option<bool>, shown: &str) {
        if ours != Some(false) || std::mem::replace(&mut self.seen, true) {
            return;
        }
        if self.local {
            tracing::info!(
                remembered = self.remembered(),
                "the store is another server: this node waits for it from now on and never takes its address"
            );
        }
        if let Some(file) = &self.memory
            && let Err(error) = std::fs::write(file, shown)
        {
            tracing::warn!(file = %file.display(), %error, "cannot record that another store was seen; this is \
                forgotten at a restart");
        }
    }

    /// Serves the store if nobody else does, the address is local, and no other store was ever seen there.
    async fn try_serve(&self) -> Result<Option<Serving>, StoreError> {
        if self.seen {
            return Ok(None);
        }
        let addresses = self.addresses().await;
        let Some(&first) = addresses.first() else { return Ok(None) };
        if !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Ok(None);
        }
        for &address in &addresses {
            if !refused(address).await {
                return Ok(None);
            }
        }
        match tcp(first, BACKLOG, false) {
            Ok(listener) => self.serve(listener).await.map(Some),
            // Somebody was faster.
            Err(_) => Ok(None),
        }
    }

    async fn serve(&self, listener: TcpListener) -> Result<Serving, StoreError> {
        let options = self.options.clone();
        let own = options.own_credential.clone();
        self.credentials.send_replace(own.map(|own| Credentials { user: own.user, password: own.password }));
        // Opening a long log takes time, but the sockets of this node do not wait for it.
        let opening = tokio::task::spawn_blocking(|| Store::open(options));
        let store = opening.await.unwrap_or(Err(StoreError::Ended)).inspect_err(|_| {
            self.credentials.send_replace(None);
        })?;
        let stop = self.stop.subscribe();
        let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let kept = self.options.path.as_ref().map_or("in memory".to_owned(), |path| path.display().to_string());
        tracing::info!(address, kept, "serving the embedded store");
        self.metrics.store_serving.set(1);
        Ok(tokio::spawn(async move { store.serve(listener, stop).await }))
    }

    /// Resolves the host name; IPv4 first, so that all nodes of a machine agree on the first address.
    async fn addresses(&self) -> Vec<SocketAddr> {
        let Some((host, port)) = &self.address else { return Vec::new() };
        let mut addresses: Vec<SocketAddr> = match timeout(PROBE, lookup_host((host.as_str(), *port))).await {
            Ok(Ok(found)) => found.collect(),
            _ => Vec::new(),
        };
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.dedup();
        addresses
    }
}

/// Returns the options to open the store with, for at most `descriptors` clients.
fn options(config: &Config, descriptors: usize) -> Options {
    let store = config.store.clone();
    Options {
        path: store.path,
        fsync: match store.fsync {
            config::Fsync::Always => Fsync::Always,
            config::Fsync::EverySecond => Fsync::EverySecond,
            config::Fsync::No => Fsync::No,
        },
        // The URL names the same store, so its password is the default.
        password: store.password.or_else(|| config.redis.password()),
        users: store.users.iter().map(user).collect(),
        own_credential: Credential::draw()
            .inspect_err(|error| tracing::warn!(%error, "the embedded store's clients can lock this server out of it"))
            .ok(),
        reserved_keys: Some(Keys::new(&config.redis.key_prefix).own_prefix().into_bytes()),
        max_memory: store.max_memory,
        policy: EvictionPolicy::parse(&store.eviction).unwrap_or_default(),
        max_clients: store.max_clients.min(descriptors),
        max_bulk: store.max_bulk,
        max_query_buffer: store.max_query_buffer,
        max_pending_output: store.max_pending_output,
        max_client_memory: store.max_client_memory,
        busy_after: store.busy_after.as_millis() as u64,
        script_time: store.script_time.as_millis() as u64,
        client_ceiling: descriptors,
        ..Options::default()
    }
}

/// Whether nobody listens there. If a connection succeeds or takes long, somebody does.
async fn refused(address: SocketAddr) -> bool {
    match timeout(PROBE, TcpStream::connect(address)).await {
        Ok(Err(error)) => [io::ErrorKind::ConnectionRefused, io::ErrorKind::AddrNotAvailable].contains(&error.kind()),
        // A connection to a free ephemeral port may connect to itself.
        Ok(Ok(stream)) => stream.local_addr().is_ok_and(|local| local == address),
        Err(_) => false,
    }
}
