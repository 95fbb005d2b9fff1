//! The configuration: defaults < file < environment < flags, checked once and typed.
//!
//! In: at most one TOML file, the process environment and the command line's overrides. Out: one [`Config`] of
//! typed values, or all mistakes at once, each with its source, the key, the value and what is allowed. Raw
//! text is turned into typed values here and nowhere else. The rule: [`keys`] is the only list of keys; a key
//! that is not in it is an error, and no error shows a value that may be a secret.

pub(crate) mod address;
mod auth;
pub mod channels;
mod files;
pub mod keys;
mod model;
mod network;
mod problem;
mod reader;
pub(crate) mod redact;
mod reload;
mod rules;
mod sources;
mod store_address;
mod store_users;
mod tls;
mod token_keys;
mod value;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use address::{BindAddress, Listen, MetricsAt, Trusted};
pub use auth::Auth;
pub use channels::{Access, Count, Deliver, Rule, Rules};
pub(crate) use files::read_file;
pub use model::{
    CheckUser, Config, Embedded, Forwarded, Fsync, Limits, Loaded, Log, LogFormat, Overrides, PresenceConfig, Redis,
    ServerConfig, SessionConfig, StoreConfig, StoreTls, StoreUser,
};
pub use problem::{Invalid, Problem};
pub use reload::ChangedKeys;
use sources::Variables;
pub(crate) use store_address::{HostPort, StoreAddress};
pub use tls::Tls;

/// By default, the embedded store is as open as Redis is.
const OPEN_STORE: &str = "store.password is not set, so every user of this machine can read and change the embedded \
                          store. Set it on a machine that you share";

/// Loads the configuration as at startup.
///
/// # Errors
/// Returns [`Invalid`] with every mistake of every source, not just the first.
pub fn load(overrides: &Overrides) -> Result<Loaded, Invalid> {
    load_with(overrides, Variables::new(std::env::vars_os()))
}

/// Does the same as [`load`], with the environment as an argument.
///
/// # Errors
/// See [`load`].
pub fn load_from(overrides: &Overrides, env: HashMap<String, String>) -> Result<Loaded, Invalid> {
    load_with(overrides, Variables { readable: env, unreadable: Vec::new() })
}

fn load_with(overrides: &Overrides, env: Variables) -> Result<Loaded, Invalid> {
    // systemd sets this variable for a unit with a StateDirectory.
    let state_directory = env.readable.get("STATE_DIRECTORY").and_then(|all| all.split(':').next());
    let state_directory = state_directory.filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut reader = sources::collect(overrides, env)?;
    let server = ServerConfig {
        listen: network::listen(&mut reader, overrides),
        workers: match reader.int("server.workers") as usize {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        },
        notice: reader.duration("server.notice"),
        drain: reader.duration("server.drain"),
        origins: network::origins(&mut reader, "server.origins"),
        hosts: network::hosts(&mut reader, "server.hosts"),
        metrics: network::metrics(&mut reader, "server.metrics"),
        backlog: reader.int("server.backlog") as u32,
        trusted_proxies: network::trusted(&mut reader, "server.trusted_proxies"),
        forwarded_header: network::forwarded(&mut reader, "server.forwarded_header"),
        proxy_protocol: reader.boolean("server.proxy_protocol"),
        state_dir: reader.folder("server.state_dir").or(state_directory),
    };
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        reader.reject("server.proxy_protocol", "needs server.trusted_proxies: only of those it is read");
    }
    let tls = files::tls(&mut reader, server.listen.iter().any(|listen| listen.tls));
    let redis = Redis {
        url: files::redis_address(&mut reader),
        key_prefix: reader.prefix("redis.key_prefix"),
        connect_timeout: reader.duration("redis.connect_timeout"),
        response_timeout: reader.duration("redis.response_timeout"),
        tls: files::store_tls(&mut reader),
        sentinel_user: reader.plain("redis.sentinel_user"),
        sentinel_password: files::password_file(&mut reader, "redis.sentinel_password_file"),
    };
    let store = StoreConfig {
        embedded: reader.embedded("store.embedded"),
        path: reader.folder("store.path"),
        fsync: reader.fsync("store.fsync"),
        password: files::store_password(&mut reader),
        users: store_users::users(&mut reader, overrides.check_user),
        max_memory: reader.size("store.max_memory"),
        eviction: reader.word("store.eviction"),
        max_clients: reader.int("store.max_clients") as usize,
        max_bulk: reader.size("store.max_bulk"),
        max_query_buffer: reader.size("store.max_query_buffer"),
        max_pending_output: reader.size("store.max_pending_output"),
        max_client_memory: reader.size("store.max_client_memory"),
        busy_after: reader.duration("store.busy_after"),
        script_time: reader.duration("store.script_time"),
    };
    let guarded = store.password.is_some() || redis.password().is_some();
    if store.embedded == Embedded::Always && !guarded && !redis.is_loopback() {
        reader.reject("store.embedded", "needs store.password where redis.url is not this machine's own address");
    }
    if store.embedded == Embedded::Always
        && StoreAddress::parse(&redis.url).is_some_and(|address| address.is_elsewhere())
    {
        reader.reject(
            "store.embedded",
            "serves plain text at redis.url: take out TLS, sentinels and the cluster there, or \"always\"",
        );
    }
    let redis = Redis { url: value::with_password(redis.url, store.password.as_deref()), ..redis };
    let presence = PresenceConfig {
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
        visitors_per_address: Some(reader.int("limits.visitors_per_address") as u32).filter(|limit| *limit > 0),
        connects_per_second: reader.int("limits.connects_per_second") as u32,
        joins_per_second: reader.int("limits.joins_per_second") as u32,
        new_channels_per_second: reader.int("limits.new_channels_per_second") as u32,
        channels_per_address: Some(reader.int("limits.channels_per_address") as u32).filter(|limit| *limit > 0),
        messages_per_address: reader.int("limits.messages_per_address") as u32,
        tokens_per_second: reader.int("limits.tokens_per_second") as u32,
        publishes_per_second: reader.int("limits.publishes_per_second") as u32,
        exempt_addresses: network::trusted(&mut reader, "limits.exempt_addresses"),
        channels: reader.int("limits.channels") as usize,
        client_buffer: reader.size("limits.client_buffer"),
        message: reader.size("limits.message"),
        messages_per_second: reader.int("limits.messages_per_second") as u32,
        channels_per_client: reader.int("limits.channels_per_client") as usize,
        pushes_per_second: reader.int("limits.pushes_per_second") as u32,
        handshake: reader.duration("limits.handshake"),
    };
    let session = SessionConfig {
        ping: reader.duration("session.ping"),
        pong: reader.duration("session.pong"),
        close: reader.duration("session.close"),
    };
    let log = Log { level: reader.level("log.level"), format: reader.log_format("log.format") };
    let auth = token_keys::auth(&mut reader);
    let channels = Arc::new(reader.channels());
    reader.check_access(&channels, &auth);
    if channels.0.iter().any(|rule| rule.of.is_some())
        && StoreAddress::parse(&redis.url).is_some_and(|address| address.is_cluster())
    {
        reader.reject(
            "channels",
            "a board with `of` cannot be kept on a cluster: it reads keys of many slots in one step",
        );
    }
    let unseen = reader.unseen.take().unwrap_or_default();
    let warnings = std::mem::take(&mut reader.warnings);
    let mut notes = Vec::new();
    if store.embedded != Embedded::Never && !guarded && redis.is_loopback() {
        notes.push(OPEN_STORE);
    }
    let hidden = std::mem::take(&mut reader.hidden);
    let effective = reader.finish()?;
    let config = Config { server, tls, redis, store, auth, presence, limits, session, log, channels };
    Ok(Loaded { config, effective, hidden, unseen, warnings, notes })
}
