//! The one list of configuration keys: name, default, kind and range.
//!
//! The reader takes defaults and ranges from here, `headcount check` prints in this order, and a
//! test holds `config/headcount.toml` to it. The default is written as TOML.

/// What values a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A whole number, both ends included.
    Int(i64, i64),
    /// A time such as "500ms", "10s" or "2m", both ends (in milliseconds) included.
    Duration(u64, u64),
    /// A number of bytes such as 4096 or "1MiB", both ends included.
    Size(u64, u64),
    /// True or false.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts that the reader checks further.
    List,
    /// A text that the reader checks further.
    Text,
    /// An array of tables, `[[channels]]`.
    Channels,
}

/// One row of the list.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`
    pub path: &'static str,
    /// The default, as TOML.
    pub default: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Whether a reload puts it into effect; the others wait for the next start.
    pub live: bool,
}

const fn key(path: &'static str, default: &'static str, kind: Kind) -> Key {
    Key { path, default, kind, live: false }
}

const fn live(path: &'static str, default: &'static str, kind: Kind) -> Key {
    Key { path, default, kind, live: true }
}

const HOUR: u64 = 3_600_000;
const GIB: u64 = 1 << 30;

/// Every key, in the order of the default file.
pub const KEYS: &[Key] = &[
    key("server.listen", r#"["0.0.0.0:3000"]"#, Kind::List),
    key("server.workers", "0", Kind::Int(0, 256)),
    live("server.notice", r#""0s""#, Kind::Duration(0, HOUR)),
    live("server.drain", r#""5s""#, Kind::Duration(0, HOUR)),
    live("server.origins", r#"["*"]"#, Kind::List),
    key("server.backlog", "16384", Kind::Int(16, 65_535)),
    live("server.trusted_proxies", "[]", Kind::List),
    live("server.forwarded_header", r#""x-forwarded-for""#, Kind::Choice(&["x-forwarded-for", "forwarded"])),
    live("server.proxy_protocol", "false", Kind::Bool),
    key("server.state_dir", r#""""#, Kind::Text),
    live("tls.certificate", r#""""#, Kind::Text),
    live("tls.key", r#""""#, Kind::Text),
    key("redis.url", r#""redis://127.0.0.1:6379""#, Kind::Text),
    key("redis.password_file", r#""""#, Kind::Text),
    key("redis.key_prefix", r#""""#, Kind::Text),
    key("redis.connect_timeout", r#""2s""#, Kind::Duration(10, 60_000)),
    key("redis.response_timeout", r#""1s""#, Kind::Duration(10, 60_000)),
    key("store.embedded", r#""auto""#, Kind::Choice(&["auto", "always", "never"])),
    key("store.path", r#""""#, Kind::Text),
    key("store.fsync", r#""everysec""#, Kind::Choice(&["always", "everysec", "no"])),
    key("store.password", r#""""#, Kind::Text),
    key("store.password_file", r#""""#, Kind::Text),
    key("store.max_memory", "0", Kind::Size(0, 1 << 50)),
    key("store.max_clients", "10000", Kind::Int(1, 1_000_000)),
    key("store.max_bulk", r#""64MiB""#, Kind::Size(1 << 10, GIB)),
    key("store.max_query_buffer", r#""128MiB""#, Kind::Size(1 << 10, 4 * GIB)),
    key("store.max_pending_output", r#""32MiB""#, Kind::Size(1 << 10, 4 * GIB)),
    key("presence.heartbeat", r#""500ms""#, Kind::Duration(50, 60_000)),
    key("presence.lease", r#""2500ms""#, Kind::Duration(300, HOUR)),
    key("presence.grace", r#""500ms""#, Kind::Duration(0, HOUR)),
    key("presence.repair", r#""10s""#, Kind::Duration(100, HOUR)),
    key("presence.quiet", r#""250ms""#, Kind::Duration(10, 60_000)),
    key("presence.batch", r#""50ms""#, Kind::Duration(1, 10_000)),
    live("limits.clients", "100000", Kind::Int(1, 100_000_000)),
    live("limits.clients_per_address", "0", Kind::Int(0, 100_000_000)),
    live("limits.client_buffer", r#""1MiB""#, Kind::Size(4 << 10, GIB)),
    live("limits.message", r#""16KiB""#, Kind::Size(128, 16 << 20)),
    live("limits.messages_per_second", "50", Kind::Int(1, 1_000_000)),
    live("limits.channels_per_client", "64", Kind::Int(1, 1_000_000)),
    live("limits.pushes_per_second", "10", Kind::Int(1, 1000)),
    live("limits.handshake", r#""10s""#, Kind::Duration(100, HOUR)),
    live("session.ping", r#""25s""#, Kind::Duration(100, HOUR)),
    live("session.pong", r#""10s""#, Kind::Duration(100, HOUR)),
    live("session.close", r#""5s""#, Kind::Duration(100, 60_000)),
    live("log.level", r#""info""#, Kind::Choice(&["error", "warn", "info", "debug", "trace"])),
    key("log.format", r#""auto""#, Kind::Choice(&["auto", "human", "plain", "json"])),
    live("channels", DEFAULT_CHANNELS, Kind::Channels),
];

/// The default `[[channels]]`, in TOML's inline form.
const DEFAULT_CHANNELS: &str = r#"[
  { pattern = "users:count", count = "sockets", deliver = "latest" },
  { pattern = "page:/*", count = "sockets", deliver = "latest" },
  { pattern = "public:*", count = "none", deliver = "every" },
]"#;

/// The row of a key.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The defaults as one TOML document, read by the same code as a file.
pub fn defaults() -> String {
    KEYS.iter().map(|key| format!("{} = {}\n", key.path, key.default)).collect()
}
