//! The typed values of a configuration, section by section.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Listen, MetricsAt, Trusted};
use super::auth::Auth;
use super::channels::Rules;
use super::store_address::StoreAddress;
use super::tls::Tls;
use super::value;

/// The whole configuration of a node, typed and in range.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where and how this node listens.
    pub server: ServerConfig,
    /// The certificate and key for the encrypted addresses.
    pub tls: Option<Tls>,
    /// The store that keeps the counts and carries the messages.
    pub redis: Redis,
    /// The store that this node may serve itself.
    pub store: StoreConfig,
    /// How tokens are verified.
    pub auth: Auth,
    /// The timing of the count.
    pub presence: PresenceConfig,
    /// Limits per client, per address and in total.
    pub limits: Limits,
    /// How unresponsive clients are detected.
    pub session: SessionConfig,
    /// What is logged, and in which format.
    pub log: Log,
    /// Which channels exist, which are counted and how they deliver.
    pub channels: Arc<Rules>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// The number of threads that carry sockets.
    pub workers: usize,
    /// How long a stopping node keeps serving while `/readyz` fails.
    pub notice: Duration,
    /// The time over which a stopping node closes its sockets.
    pub drain: Duration,
    /// Origins whose pages may open a socket; empty for every origin.
    pub origins: Vec<String>,
    /// Host names under which clients may reach this node; empty for every name.
    pub hosts: Vec<String>,
    /// Where the metrics are served.
    pub metrics: MetricsAt,
    /// Connections that the kernel queues until they are accepted.
    pub backlog: u32,
    /// Peers that may report a client's address.
    pub trusted_proxies: Vec<Trusted>,
    /// The header in which they report it.
    pub forwarded_header: Forwarded,
    /// Whether they send a PROXY protocol header first.
    pub proxy_protocol: bool,
    /// The folder for what a node must remember across restarts.
    pub state_dir: Option<PathBuf>,
}

impl ServerConfig {
    /// Returns whether a peer is a proxy that may report a client's address.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.trusted_proxies.iter().any(|one| one.holds(peer))
    }
}

/// `server.forwarded_header`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// `X-Forwarded-For`
    Common,
    /// `Forwarded`, RFC 7239.
    Standard,
}

/// `[redis]`
#[derive(Clone, PartialEq)]
pub struct Redis {
    /// The store's address, with its password if it has one.
    pub url: String,
    /// The prefix of every key and channel name, so that two installations can share a store.
    pub key_prefix: String,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for a response.
    pub response_timeout: Duration,
    /// The files for an address with TLS.
    pub tls: StoreTls,
    /// The user name for the sentinels; empty for none.
    pub sentinel_user: String,
    /// That user's password.
    pub sentinel_password: Option<String>,
}

/// The files for our side of an encrypted connection to the store. They are read for each connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoreTls {
    /// The certificate authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("url", &value::without_password(&self.url))
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Returns whether the address is on this machine.
    pub fn is_loopback(&self) -> bool {
        // An address that cannot be parsed was already rejected; nothing is served there.
        StoreAddress::parse(&self.url).is_none_or(|address| address.is_loopback())
    }

    /// Returns the password in the address, if it applies to clients that give no user name.
    pub fn password(&self) -> Option<String> {
        value::password(&self.url)
    }

    /// Returns the address in a form that may be shown: without user and password.
    pub fn shown(&self) -> String {
        value::without_password(&self.url)
    }
}

/// `store.embedded`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// Serve the store if nobody else serves it, now or later.
    Auto,
    /// Serve it, or fail to start.
    Always,
    /// Never serve it; something else must.
    Never,
}

/// `store.fsync`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before a write is acknowledged.
    Always,
    /// Once a second.
    EverySecond,
    /// Whenever the operating system decides.
    No,
}

/// One `[[store.users]]` table.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUser {
    /// The name.
    pub name: String,
    /// The password, if it has one.
    pub password: Option<String>,
    /// The words of the key `acl`.
    pub rules: Vec<String>,
}

impl fmt::Debug for StoreUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns what is wrong with a user of the store. The store knows its commands, and the configuration does
/// not.
pub type CheckUser = fn(&StoreUser) -> Result<(), String>;

/// `[store]`
#[derive(Clone, PartialEq)]
pub struct StoreConfig {
    /// Who serves the store.
    pub embedded: Embedded,
    /// The folder of the embedded store, if it is kept on disk.
    pub path: Option<PathBuf>,
    /// When writes are forced to disk.
    pub fsync: Fsync,
    /// The password that the store's clients must give.
    pub password: Option<String>,
    /// Users in addition to the default one.
    pub users: Vec<StoreUser>,
    /// The memory for keys and values, in bytes; 0 for no limit.
    pub max_memory: usize,
    /// The eviction policy beyond that limit, by its Redis name.
    pub eviction: String,
    /// The maximum number of clients of the store.
    pub max_clients: usize,
    /// The length of the longest command argument, in bytes.
    pub max_bulk: usize,
    /// The length of the longest command, in bytes.
    pub max_query_buffer: usize,
    /// The maximum output that may be queued for one client of the store, in bytes.
    pub max_pending_output: usize,
    /// The maximum memory that all clients of the store may use together, in bytes.
    pub max_client_memory: usize,
    /// How long a script runs before other clients get BUSY.
    pub busy_after: Duration,
    /// How long a script may run.
    pub script_time: Duration,
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("embedded", &self.embedded).field("path", &self.path).finish_non_exhaustive()
    }
}

/// `[presence]`
#[derive(Debug, Clone, PartialEq)]
pub struct PresenceConfig {
    /// The time between two renewals of this node's lease.
    pub heartbeat: Duration,
    /// How long a lease lasts after its last renewal.
    pub lease: Duration,
    /// How long other nodes wait after a node's lease has ended before they withdraw its tallies.
    pub grace: Duration,
    /// The time between two repairs of one channel.
    pub repair: Duration,
    /// How long a counted channel must be quiet before its key is read again.
    pub quiet: Duration,
    /// The shortest time between two statements about one busy channel.
    pub batch: Duration,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The maximum number of open client connections of this node.
    pub clients: usize,
    /// The maximum number of of those from one address; `None` for no limit.
    pub clients_per_address: Option<u32>,
    /// The maximum number of visitors counted on one channel from one address; `None` for no limit.
    pub visitors_per_address: Option<u32>,
    /// The maximum number of connections and further requests per second from one address; 0 for no limit.
    pub connects_per_second: u32,
    /// The maximum number of channels that clients of one address join or watch per second; 0 for no limit.
    pub joins_per_second: u32,
    /// The maximum number of of those that nobody on this node had before; 0 for no limit.
    pub new_channels_per_second: u32,
    /// The maximum number of channels that clients of one address were the first to open; `None` for no limit.
    pub channels_per_address: Option<u32>,
    /// The maximum number of messages per second from all clients of one address; 0 for no limit.
    pub messages_per_address: u32,
    /// The maximum number of tokens per second from clients of one address; 0 for no limit.
    pub tokens_per_second: u32,
    /// The maximum number of messages per second that are published with one token; 0 for no limit.
    pub publishes_per_second: u32,
    /// Addresses without a limit of their own.
    pub exempt_addresses: Vec<Trusted>,
    /// The maximum number of channels that all clients of this node may have together.
    pub channels: usize,
    /// The maximum number of bytes queued for one client.
    pub client_buffer: usize,
    /// The longest message from a client, in bytes.
    pub message: usize,
    /// The maximum number of messages per second from one client, averaged over some seconds.
    pub messages_per_second: u32,
    /// The maximum number of channels that one client may have joined or watch.
    pub channels_per_client: usize,
    /// The maximum number of pushes per second on a channel that delivers `latest`.
    pub pushes_per_second: u32,
    /// How long a connection may take to send its request.
    pub handshake: Duration,
}

impl Limits {
    /// Returns whether an address has no limit of its own.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt_addresses.iter().any(|one| one.holds(Some(address)))
    }
}

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct SessionConfig {
    /// The time between two pings of one socket.
    pub ping: Duration,
    /// How long a socket may take to answer a ping.
    pub pong: Duration,
    /// How long a socket that is being closed may take to answer.
    pub close: Duration,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// The format of a line.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `human` on a terminal, `plain` elsewhere.
    Auto,
    /// Coloured text, for people.
    Human,
    /// One line of text per event, without colours.
    Plain,
    /// One JSON object per event.
    Json,
}

/// The settings from the command line. They win over the file and the environment.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--listen`, which may be given more than once.
    pub listen: Vec<String>,
    /// `--port`: the port of every address in `server.listen`.
    pub port: Option<u16>,
    /// `--redis-url`
    pub redis_url: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// Whether the configuration is only checked; credentials that only the service can see are then not
    /// required.
    pub only_check: bool,
    /// Checks each user of the store; with `None`, users are not checked.
    pub check_user: Option<CheckUser>,
}

/// A configuration and how `headcount check` shows it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// Each key with its effective value as TOML, in the order of the list, with secrets hidden.
    pub effective: Vec<(&'static str, String)>,
    /// Fingerprints of the values that are not shown in full, so that a reload sees that they differ.
    pub(super) hidden: HashMap<&'static str, u64>,
    /// Keys whose files only the service can see; empty unless the configuration is only checked.
    pub unseen: Vec<&'static str>,
    /// Warnings about settings that work but should be changed, such as a password that everybody can read.
    pub warnings: Vec<String>,
    /// Notes for a person who checks the configuration.
    pub notes: Vec<&'static str>,
}
