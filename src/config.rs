//! The configuration: defaults < file < environment < flags, checked once and typed.
//!
//! In: at most one TOML file, the process environment, the command line's overrides.
//! Out: one [`Config`] of typed values, or every mistake at once, each naming its source, the key,
//! the value and what is allowed. Raw text becomes typed values here and nowhere else.
//! The rule: [`keys`] is the one list of keys; what is not in it is an error, and no error shows what
//! may be a secret.

pub mod address;
pub mod channels;
mod files;
pub mod keys;
mod network;
mod reader;
pub(crate) mod redact;
mod reload;
mod rules;
mod sources;
mod value;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use address::{Listen, Place, Trusted};
pub use channels::{Deliver, Rule, Rules};
pub use files::Tls;
use reader::Reader;
pub use reload::Changes;
use sources::Variables;

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
    /// Time for which a node that is to stop serves on, while `/readyz` says that it leaves.
    pub notice: Duration,
    /// Time over which the sockets are closed at a stop.
    pub drain: Duration,
    /// Origins whose pages may open a socket; empty stands for every origin.
    pub origins: Vec<String>,
    /// Connections that the kernel may hold for us before they are accepted.
    pub backlog: u32,
    /// Whose word on a client's address is taken.
    pub trusted_proxies: Vec<Trusted>,
    /// Which header they say it in.
    pub forwarded_header: Forwarded,
    /// Whether they say it with the PROXY protocol before anything else.
    pub proxy_protocol: bool,
    /// Where a node remembers the little that it must over a restart.
    pub state_dir: Option<PathBuf>,
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
        value::is_loopback(&self.url)
    }

    /// The password that is said there by whoever says no user's name.
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
    /// Another one must.
    Never,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// Who serves the store.
    pub embedded: Embedded,
    /// How the embedded store is opened.
    pub options: crate::store::Options,
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

/// `[session]`
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Between two pings of one socket.
    pub ping: Duration,
    /// How long a socket may take to answer a ping.
    pub pong: Duration,
    /// How long a closed socket may take to say goodbye.
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

/// What the command line sets; each value stands above file and environment.
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
    /// Nothing is to be started: credentials that only the service sees need not be read.
    pub only_check: bool,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or "the environment", or "the command line".
    pub source: String,
    /// The key's full name; empty when the source as a whole cannot be read.
    pub key: String,
    /// The value as it was given.
    pub value: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, _) => write!(f, "{}: {}", self.source, self.message),
            (_, true) => write!(f, "{}: {}: {}", self.source, self.key, self.message),
            _ => {
                let Self { source, key, value, message } = self;
                write!(f, "{source}: {key} = {value}: {message}")
            }
        }
    }
}

/// Every mistake that was found, in one error.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} mistake{}:\n{}", .0.len(), if .0.len() == 1 { "" } else { "s" },
    .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
pub struct Invalid(pub Vec<Problem>);

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

/// The embedded store is as open as Redis is by default.
const OPEN_STORE: &str = "store.password is not set, so every user of this machine can read and change the embedded \
                          store. Set it on a machine that you share";

/// Loads the configuration as a start does.
///
/// # Errors
/// [`Invalid`] holds every mistake of every source, never just the first.
pub fn load(overrides: &Overrides) -> Result<Loaded, Invalid> {
    load_with(overrides, Variables::new(std::env::vars_os()))
}

/// [`load`] with the environment as an argument.
///
/// # Errors
/// See [`load`].
pub fn load_from(overrides: &Overrides, env: HashMap<String, String>) -> Result<Loaded, Invalid> {
    load_with(overrides, Variables { readable: env, unreadable: Vec::new() })
}

fn load_with(overrides: &Overrides, env: Variables) -> Result<Loaded, Invalid> {
    // What systemd gives a unit that has a StateDirectory.
    let state_directory = env.readable.get("STATE_DIRECTORY").and_then(|all| all.split(':').next());
    let state_directory = state_directory.filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut reader = Reader::collect(overrides, env)?;
    let server = Server {
        listen: reader.listen(overrides),
        workers: match reader.int("server.workers") as usize {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        },
        notice: reader.duration("server.notice"),
        drain: reader.duration("server.drain"),
        origins: reader.origins("server.origins"),
        backlog: reader.int("server.backlog") as u32,
        trusted_proxies: reader.trusted("server.trusted_proxies"),
        forwarded_header: reader.forwarded("server.forwarded_header"),
        proxy_protocol: reader.boolean("server.proxy_protocol"),
        state_dir: reader.folder("server.state_dir").or(state_directory),
    };
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        reader.reject("server.proxy_protocol", "needs server.trusted_proxies: only of those it is read");
    }
    let tls = reader.tls(server.listen.iter().any(|listen| listen.tls));
    let redis = Redis {
        url: reader.redis_address(),
        key_prefix: reader.prefix("redis.key_prefix"),
        connect_timeout: reader.duration("redis.connect_timeout"),
        response_timeout: reader.duration("redis.response_timeout"),
    };
    let store = Store {
        embedded: reader.embedded("store.embedded"),
        options: crate::store::Options {
            path: reader.folder("store.path"),
            fsync: reader.fsync("store.fsync"),
            password: reader.store_password(),
            max_memory: reader.size("store.max_memory"),
            max_clients: reader.int("store.max_clients") as usize,
            max_bulk: reader.size("store.max_bulk"),
            max_query_buffer: reader.size("store.max_query_buffer"),
            max_pending_output: reader.size("store.max_pending_output"),
            ..crate::store::Options::default()
        },
    };
    let guarded = store.options.password.is_some() || redis.password().is_some();
    if store.embedded == Embedded::Always && !guarded && !redis.is_loopback() {
        reader.reject("store.embedded", "needs store.password where redis.url is not this machine's own address");
    }
    let redis = Redis { url: value::with_password(redis.url, store.options.password.as_deref()), ..redis };
    let presence = Presence {
        heartbeat: reader.duration("presence.heartbeat"),
        lease: reader.duration("presence.lease"),
        grace: reader.duration("presence.grace"),
        repair: reader.duration("presence.repair"),
        quiet: reader.duration("presence.quiet"),
        batch: reader.duration("presence.batch"),
    };
    if presence.lease < presence.heartbeat * 3 {
        reader
            .reject("presence.lease", "must be at least three times presence.heartbeat, or one lost heartbeat ends it");
    }
    let limits = Limits {
        clients: reader.int("limits.clients") as usize,
        clients_per_address: Some(reader.int("limits.clients_per_address") as u32).filter(|limit| *limit > 0),
        client_buffer: reader.size("limits.client_buffer"),
        message: reader.size("limits.message"),
        messages_per_second: reader.int("limits.messages_per_second") as u32,
        channels_per_client: reader.int("limits.channels_per_client") as usize,
        pushes_per_second: reader.int("limits.pushes_per_second") as u32,
        handshake: reader.duration("limits.handshake"),
    };
    let session = Session {
        ping: reader.duration("session.ping"),
        pong: reader.duration("session.pong"),
        close: reader.duration("session.close"),
    };
    let log = Log { level: reader.level("log.level"), format: reader.log_format("log.format") };
    let channels = Arc::new(reader.channels());
    let unseen = reader.unseen.take().unwrap_or_default();
    let warnings = std::mem::take(&mut reader.warnings);
    let mut notes = Vec::new();
    if store.embedded != Embedded::Never && !guarded && redis.is_loopback() {
        notes.push(OPEN_STORE);
    }
    let effective = reader.finish()?;
    let config = Config { server, tls, redis, store, presence, limits, session, log, channels };
    Ok(Loaded { config, effective, unseen, warnings, notes })
}
