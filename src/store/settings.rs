//! What can be set: the options to open a store with, and what `CONFIG` shows of them.

use std::borrow::Cow;
use std::path::PathBuf;

use super::eviction::Policy;
use super::keyspace_events::Classes;
use super::number::{hex, parse_int};
use crate::pulse::Pulse;

/// The Redis whose commands, replies and error texts this store keeps to.
pub const REDIS_VERSION: &str = "7.0.15";

/// When the log is forced onto the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before a change is acknowledged. Nothing acknowledged is ever lost; each change waits for the
    /// disk.
    Always,
    /// Once a second. A power cut may take the last second, a crash of the process nothing.
    #[default]
    EverySecond,
    /// When the operating system likes to.
    No,
}

impl Fsync {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Always, "always"), (Self::EverySecond, "everysec"), (Self::No, "no")];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(fsync, _)| *fsync == self).map_or("", |(_, name)| name)
    }

    /// The value of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(fsync, _)| *fsync)
    }
}

/// The name of this process's own user.
pub const NODE: &str = "headcount-node";

/// A user beside the default one.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, if it has one.
    pub password: Option<String>,
    /// What it may do, in the words of Redis's `ACL SETUSER`.
    pub rules: Vec<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User {}", self.name)
    }
}

/// A user's name and password, drawn at random, that is good in this process only.
#[derive(Clone)]
pub struct Credential {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credential {
    /// Draws one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self { user: NODE.to_owned(), password: hex(&bits) })
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential of {}", self.user)
    }
}

/// How to open a store. Every field has a default; see [`Options::default`].
#[derive(Debug, Clone)]
pub struct Options {
    /// What clients must say before anything else. Default: none.
    pub password: Option<String>,
    /// Users beside the default one, who may do everything. Default: none.
    pub users: Vec<User>,
    /// User and password by which this process's own clients show themselves. Nothing locks them out:
    /// they need no other password, find a place when there is none for others, and are never short of
    /// memory. Default: none.
    pub own_credential: Option<Credential>,
    /// What the keys begin with for which a script is never short of memory. Default: none.
    pub reserved_keys: Option<Vec<u8>>,
    /// The folder in which the log is kept. Default: none, nothing is kept.
    pub path: Option<PathBuf>,
    /// When the log is forced onto the disk. Default: every second.
    pub fsync: Fsync,
    /// How much memory keys and values may take, in bytes; then keys go, or commands that need more are refused.
    /// Default: 0, no limit.
    pub max_memory: usize,
    /// Which keys go when they take more than that. Those of `reserved_keys` never go, nor do the totals that
    /// belong to them. Default: none.
    pub policy: Policy,
    /// How many clients may be connected. Default: 10,000.
    pub max_clients: usize,
    /// The longest argument of a command, in bytes. Default: 64 MiB.
    pub max_bulk: usize,
    /// The longest command as a whole, and the longest transaction, in bytes. Default: 128 MiB.
    pub max_query_buffer: usize,
    /// How much may wait to be sent to a subscriber, in bytes; then it is dropped. Default: 32 MiB.
    pub max_pending_output: usize,
    /// How much memory all clients together may take for what they sent and have not fetched, in bytes;
    /// beyond, those that take most are dropped. Default: 1 GiB; 0 is no limit.
    pub max_client_memory: usize,
    /// How many clients the process has descriptors for; no setting goes beyond. Default: no bound.
    pub client_ceiling: usize,
    /// How long a script runs, in milliseconds, until others are told that the store is busy and may end
    /// it. Default: 5,000.
    pub busy_after: u64,
    /// How long a script may run, in milliseconds. Default: 10,000.
    pub script_time: u64,
    /// How much memory all scripts together may take, in bytes. Default: 64 MiB.
    pub script_memory: usize,
    /// What of what happens to keys is published. Default: nothing.
    pub keyspace_events: Classes,
    /// How long a command may take, in microseconds, until `SLOWLOG` tells it. Default: 10,000; -1 is never.
    pub slower_than: i64,
    /// How many commands `SLOWLOG` tells. Default: 128.
    pub slow_commands: usize,
    /// How long a command may take, in milliseconds, until `LATENCY` tells it. Default: 0, it tells nothing.
    pub latency_threshold: u64,
    /// How many keys are remembered for clients that cache them; beyond, some are told as changed. Default: a
    /// million; 0 is no limit.
    pub tracked_keys: usize,
    /// Tells whether the thread that serves still goes round.
    pub pulse: Pulse,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            password: None,
            users: Vec::new(),
            own_credential: None,
            reserved_keys: None,
            path: None,
            fsync: Fsync::default(),
            max_memory: 0,
            policy: Policy::default(),
            max_clients: 10_000,
            max_bulk: 64 << 20,
            max_query_buffer: 128 << 20,
            max_pending_output: 32 << 20,
            max_client_memory: 1 << 30,
            client_ceiling: usize::MAX,
            busy_after: 5_000,
            script_time: 10_000,
            script_memory: 64 << 20,
            keyspace_events: Classes::default(),
            slower_than: 10_000,
            slow_commands: 128,
            latency_threshold: 0,
            tracked_keys: 1_000_000,
            pulse: Pulse::default(),
        }
    }
}

/// The longest that a script may be allowed to run, in milliseconds.
const LONGEST_SCRIPT: i64 = 3_600_000;

const POLICIES: &str = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
    volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
const TOO_LARGE: &str = "argument must be a memory value";
/// The least that both bounds of a request's size may be set to, as in Redis.
const LEAST: usize = 1 << 20;
/// The most that `proto-max-bulk-len` may be set to: the longest string of Redis.
const MAX_BULK: usize = 512 << 20;
/// The most that `client-query-buffer-limit` may be set to.
const MAX_QUERY_BUFFER: usize = 4 << 30;
const MOST_CLIENTS: i64 = 4_294_967_295;

const NO_INTEGER: &str = "argument couldn't be parsed into an integer";

/// A number of at least 0.
fn not_negative(value: &[u8]) -> Result<u64, Cow<'static, str>> {
    let number = parse_int(value).ok_or(NO_INTEGER)?;
    u64::try_from(number).map_err(|_| "argument must be between 0 and 9223372036854775807 inclusive".into())
}

/// A number of bytes that is neither too small nor too large for a request.
fn memory_within(value: &[u8], most: usize) -> Result<usize, Cow<'static, str>> {
    let bytes = memory(value).ok_or(TOO_LARGE)?;
    if !(LEAST..=most).contains(&bytes) {
        return Err(format!("argument must be between {LEAST} and {most} inclusive").into());
    }
    Ok(bytes)
}

impl Options {
    /// What `CONFIG GET` shows, under Redis's names.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let path = self.path.as_ref().map_or(String::new(), |path| path.display().to_string());
        let output = format!("normal 0 0 0 slave 0 0 0 pubsub {0} {0} 0", self.max_pending_output);
        let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        vec![
            ("appendonly", yes_no(self.path.is_some())),
            ("appendfsync", self.fsync.name().to_owned()),
            ("databases", super::keyspace::DATABASES.to_string()),
            ("dir", path),
            ("save", String::new()),
            ("maxmemory", self.max_memory.to_string()),
            ("maxmemory-policy", self.policy.name().to_owned()),
            ("maxmemory-clients", self.max_client_memory.to_string()),
            ("maxclients", self.max_clients.to_string()),
            ("proto-max-bulk-len", self.max_bulk.to_string()),
            ("client-query-buffer-limit", self.max_query_buffer.to_string()),
            ("client-output-buffer-limit", output),
            ("requirepass", self.password.clone().unwrap_or_default()),
            ("busy-reply-threshold", self.busy_after.to_string()),
            ("lua-time-limit", self.busy_after.to_string()),
            ("script-time-limit", self.script_time.to_string()),
            ("slowlog-log-slower-than", self.slower_than.to_string()),
            ("slowlog-max-len", self.slow_commands.to_string()),
            ("latency-monitor-threshold", self.latency_threshold.to_string()),
            ("latency-tracking", "yes".to_owned()),
            ("latency-tracking-info-percentiles", "50 99 99.9".to_owned()),
            ("timeout", "0".to_owned()),
            ("tcp-keepalive", "300".to_owned()),
            ("notify-keyspace-events", self.keyspace_events.to_string()),
            ("tracking-table-max-keys", self.tracked_keys.to_string()),
            ("cluster-enabled", "no".to_owned()),
        ]
    }

    /// Sets one parameter, as `CONFIG SET` does. The error is its reason, empty for an unknown name.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), Cow<'static, str>> {
        match name {
            "maxmemory" => self.max_memory = memory(value).ok_or(TOO_LARGE)?,
            "maxmemory-clients" => self.max_client_memory = memory(value).ok_or(TOO_LARGE)?,
            "proto-max-bulk-len" => self.max_bulk = memory_within(value, MAX_BULK)?,
            "client-query-buffer-limit" => self.max_query_buffer = memory_within(value, MAX_QUERY_BUFFER)?,
            "maxclients" => {
                let number = parse_int(value).filter(|number| (1..=MOST_CLIENTS).contains(number));
                let number = number.ok_or("argument must be between 1 and 4294967295 inclusive")? as usize;
                if number > self.client_ceiling {
                    return Err(format!(
                        "The operating system is not able to handle the specified number of clients, try with {}",
                        self.client_ceiling
                    )
                    .into());
                }
                self.max_clients = number;
            }
            "lua-time-limit" | "busy-reply-threshold" => {
                self.busy_after = not_negative(value)?;
            }
            "script-time-limit" => {
                let number = parse_int(value).filter(|number| (1..=LONGEST_SCRIPT).contains(number));
                self.script_time = number.ok_or("argument must be between 1 and 3600000 inclusive")? as u64;
            }
            "appendfsync" => {
                let name = String::from_utf8_lossy(value).to_lowercase();
                self.fsync =
                    Fsync::parse(&name).ok_or("argument(s) must be one of the following: everysec, always, no")?;
            }
            "requirepass" => {
                let text = String::from_utf8_lossy(value).into_owned();
                self.password = Some(text).filter(|text| !text.is_empty());
            }
            "maxmemory-policy" => {
                let policy = std::str::from_utf8(value).ok().and_then(Policy::parse);
                self.policy = policy.ok_or(POLICIES)?;
            }
            "save" if value.is_empty() => {}
            "latency-tracking" if value.eq_ignore_ascii_case(b"yes") => {}
            "timeout" if value == b"0" => {}
            "notify-keyspace-events" => {
                let classes = std::str::from_utf8(value).ok().and_then(Classes::parse);
                self.keyspace_events = classes.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            }
            "tracking-table-max-keys" => {
                self.tracked_keys = not_negative(value)? as usize;
            }
            "slowlog-log-slower-than" => {
                let number = parse_int(value).ok_or(NO_INTEGER)?;
                let within = Some(number).filter(|number| *number >= -1);
                self.slower_than = within.ok_or("argument must be between -1 and 9223372036854775807 inclusive")?;
            }
            "slowlog-max-len" => self.slow_commands = not_negative(value)? as usize,
            "latency-monitor-threshold" => self.latency_threshold = not_negative(value)?,
            "save"
            | "latency-tracking"
            | "latency-tracking-info-percentiles"
            | "timeout"
            | "appendonly"
            | "dir"
            | "databases"
            | "client-output-buffer-limit"
            | "tcp-keepalive"
            | "cluster-enabled" => {
                return Err("can't set this here: the embedded store has one way of doing it".into());
            }
            _ => return Err("".into()),
        }
        Ok(())
    }
}

/// A number of bytes, with `kb`, `mb` or `gb` behind it if need be.
fn memory(value: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}
