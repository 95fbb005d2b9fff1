//! The typed values that a configuration consists of, section by section.

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

/// Everything that a node can be told, typed and in range.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where and how this node listens.
    pub server: Server,
    /// Certificate and key of the addresses whose connections are encrypted.
    pub tls: Option<Tls>,
    /// Which store keeps the counts and carries the messages.
    pub redis: Redis,
    /// The store that this node may serve itself.
    pub store: Store,
    /// Whose tokens are taken.
    pub auth: Auth,
    /// The timing of the count.
    pub presence: Presence,
    /// Bounds on what one client, or all of them, may take.
    pub limits: Limits,
    /// How silent clients are found.
    pub session: Session,
    /// What is logged, and in which form.
    pub log: Log,
    /// Which channels exist, which are counted and how they deliver.
    pub channels: Arc<Rules>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Threads that carry sockets.
    pub workers: usize,
    /// How long a node that was told to stop serves on while `/readyz` fails.
    pub notice: Duration,
    /// Time over which the sockets are closed at a stop.
    pub drain: Duration,
    /// Origins whose pages may open a socket; empty stands for every origin.
    pub origins: Vec<String>,
    /// Names by which this node may be called; empty stands for every name.
    pub hosts: Vec<String>,
    /// Where the metrics are.
    pub metrics: MetricsAt,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// Who may say what a client's address is.
    pub trusted_proxies: Vec<Trusted>,
    /// Which header they say it in.
    pub forwarded_header: Forwarded,
    /// Whether they say it with a PROXY protocol header before anything else.
    pub proxy_protocol: bool,
    /// Where a node remembers what it must across restarts.
    pub state_dir: Option<PathBuf>,
}

impl Server {
    /// Whether a peer is a proxy whose word on a client's address is taken.
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
    /// Put before every key and channel name, so that two installations can share a store.
    pub key_prefix: String,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub response_timeout: Duration,
    /// For an address with TLS.
    pub tls: StoreTls,
    /// The user that sentinels know this node by; empty for none.
    pub sentinel_user: String,
    /// That user's password.
    pub sentinel_password: Option<String>,
}

/// The files of our side of an encrypted connection to the store. They are read for each connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoreTls {
    /// The authorities to trust, in the place of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key.
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
    /// Whether the address is this machine's own.
    pub fn is_loopback(&self) -> bool {
        // An address that cannot be read was rejected; nothing is served there.
        StoreAddress::parse(&self.url).is_none_or(|address| address.is_loopback())
    }

    /// The password there, if it is for whoever gives no user name.
    pub fn password(&self) -> Option<String> {
        value::password(&self.url)
    }

    /// The address as it may be shown: without user and password.
    pub fn shown(&self) -> String {
        value::without_password(&self.url)
    }
}

/// `store.embedded`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// Serve the store where nobody else does and nobody else will.
    Auto,
    /// Serve it, or fail.
    Always,
    /// Something else must.
    Never,
}

/// `store.fsync`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before a write is acknowledged.
    Always,
    /// Once a second.
    EverySecond,
    /// Whenever the system decides.
    No,
}

/// One `[[store.users]]` table.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUser {
    /// The name.
    pub name: String,
    /// The password, if it has one.
    pub password: Option<String>,
    /// The words of `acl`.
    pub rules: Vec<String>,
}

impl fmt::Debug for StoreUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Says what is wrong with a user of the store. The store knows its commands; the configuration does not.
pub type CheckUser = fn(&StoreUser) -> Result<(), String>;

/// `[store]`
#[derive(Clone, PartialEq)]
pub struct Store {
    /// Who serves the store.
    pub embedded: Embedded,
    /// The folder in which the embedded store is kept, if it is.
    pub path: Option<PathBuf>,
    /// When writes are forced to disk.
    pub fsync: Fsync,
    /// What clients of the store must give.
    pub password: Option<String>,
    /// Users beside the default one.
    pub users: Vec<StoreUser>,
    /// Bytes of memory for keys and values; 0 stands for no limit.
    pub max_memory: usize,
    /// Which keys go when they take more, as Redis names it.
    pub eviction: String,
    /// Clients of the store.
    pub max_clients: usize,
    /// Bytes of the longest argument of a command.
    pub max_bulk: usize,
    /// Bytes of the longest command.
    pub max_query_buffer: usize,
    /// Bytes that may wait for one client of the store.
    pub max_pending_output: usize,
    /// Bytes that all clients of the store may take together.
    pub max_client_memory: usize,
    /// How long a script runs before other clients of the store are answered BUSY.
    pub busy_after: Duration,
    /// How long a script may run.
    pub script_time: Duration,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("embedded", &self.embedded).field("path", &self.path).finish_non_exhaustive()
    }
}

/// `[presence]`
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// Between two renewals of this node's lease.
    pub heartbeat: Duration,
    /// How long a lease lasts after its last renewal.
    pub lease: Duration,
    /// How long after its lease ended a node's tallies are withdrawn by others.
    pub grace: Duration,
    /// Between two repairs of one channel.
    pub repair: Duration,
    /// Quiet time after which a counted channel's key is read again.
    pub quiet: Duration,
    /// Shortest time between two statements of one busy channel.
    pub batch: Duration,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Open client connections of this node.
    pub clients: usize,
    /// Of those, the ones from one address; None stands for as many as there are.
    pub clients_per_address: Option<u32>,
    /// Visitors counted on one channel from one address; None stands for as many as there are.
    pub visitors_per_address: Option<u32>,
    /// Connections and further requests a second from one address; 0 stands for any number.
    pub connects_per_second: u32,
    /// Channels that clients of one address join or watch in a second; 0 stands for any number.
    pub joins_per_second: u32,
    /// Of those, channels that nobody on this node had; 0 stands for any number.
    pub new_channels_per_second: u32,
    /// Channels that clients of one address were the first on; None stands for as many as there are.
    pub channels_per_address: Option<u32>,
    /// Messages a second of all clients of one address; 0 stands for any number.
    pub messages_per_address: u32,
    /// Tokens that clients of one address show in a second; 0 stands for any number.
    pub tokens_per_second: u32,
    /// Messages that one token publishes in a second; 0 stands for any number.
    pub publishes_per_second: u32,
    /// Addresses that have no limit of their own.
    pub exempt_addresses: Vec<Trusted>,
    /// Channels that clients of this node may have in all.
    pub channels: usize,
    /// Bytes that may wait for one client.
    pub client_buffer: usize,
    /// Bytes of one message from a client.
    pub message: usize,
    /// Messages a second from one client, on average over some seconds.
    pub messages_per_second: u32,
    /// Channels that one client may have joined or watch.
    pub channels_per_client: usize,
    /// Pushes a second on a channel that delivers `latest`.
    pub pushes_per_second: u32,
    /// Time for a connection to send its request.
    pub handshake: Duration,
}

impl Limits {
    /// Whether an address has no limit of its own.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt_addresses.iter().any(|one| one.holds(Some(address)))
    }
}

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Between two pings of one socket.
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
    /// The form of a line.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `human` on a terminal, `plain` elsewhere.
    Auto,
    /// Colours, for eyes.
    Human,
    /// One line of text an event, no colours.
    Plain,
    /// One JSON object an event.
    Json,
}

/// What the command line sets. It wins over the file and the environment.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--listen`, once or more.
    pub listen: Vec<String>,
    /// `--port`: the port of every address in `server.listen`.
    pub port: Option<u16>,
    /// `--redis-url`
    pub redis_url: Option<String>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// Nothing will be started, so credentials that only the service can see need not be read.
    pub only_check: bool,
    /// Looks at each user of the store; none leaves them unseen.
    pub check_user: Option<CheckUser>,
}

/// A configuration and how `headcount check` shows it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// Each key in the list's order with its effective value as TOML, secrets hidden.
    pub effective: Vec<(&'static str, String)>,
    /// Keys whose files only the service sees; none unless it was only to be checked.
    pub unseen: Vec<&'static str>,
    /// What works, but should not stay as it is, such as a password that everybody can read.
    pub warnings: Vec<String>,
    /// What a person who checks a configuration should know.
    pub notes: Vec<&'static str>,
}
