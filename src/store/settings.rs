//! Settings: the options to open a store with, and how `CONFIG` shows and changes them.

use std::borrow::Cow;
use std::path::PathBuf;

use super::eviction::Policy;
use super::keyspace_events::Classes;
use super::number::{hex, parse_int};
use crate::pulse::Pulse;

/// The version of Redis whose commands, replies and error texts this store follows.
pub const REDIS_VERSION: &str = "7.0.15";

/// When the log is forced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before a change is acknowledged. No acknowledged change is ever lost, but each change waits for the disk.
    Always,
    /// Once a second. A power failure may lose the last second of changes; a crash of the process loses none.
    #[default]
    EverySecond,
    /// Whenever the operating system decides to.
    No,
}

impl Fsync {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Always, "always"), (Self::EverySecond, "everysec"), (Self::No, "no")];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(fsync, _)| *fsync == self).map_or("", |(_, name)| name)
    }

    /// Finds the value with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(fsync, _)| *fsync)
    }
}

/// The name of the user that this process's own clients have.
pub const NODE: &str = "headcount-node";

/// A user other than the default one.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password, if it has one.
    pub password: Option<String>,
    /// What the user may do, as rules of Redis's `ACL SETUSER`.
    pub rules: Vec<String>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User {}", self.name)
    }
}

/// A user name and a random password, valid only in this process.
#[derive(Clone)]
pub struct Credential {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credential {
    /// Creates a credential with a random password.
    ///
    /// # Errors
    /// Fails if the system cannot supply random numbers.
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
    /// The password that clients must give before anything else. Default: none.
    pub password: Option<String>,
    /// Users in addition to the default user, whose rights are unrestricted. Default: none.
    pub users: Vec<User>,
    /// The credential that identifies this process's own clients. They are never locked out: they need
    /// no other password, can connect when there is no room for others, and are exempt from the memory
    /// limit. Default: none.
    pub own_credential: Option<Credential>,
    /// The prefix of the keys for which scripts are exempt from the memory limit. Default: none.
    pub reserved_keys: Option<Vec<u8>>,
    /// The folder in which the log is kept. Default: none, nothing is kept on disk.
    pub path: Option<PathBuf>,
    /// When the log is forced to disk. Default: every second.
    pub fsync: Fsync,
    /// How much memory keys and values may take, in bytes. Beyond that, keys are evicted, or commands
    /// that need more memory are refused. Default: 0, no limit.
    pub max_memory: usize,
    /// Which keys are evicted beyond `max_memory`. Keys that begin with `reserved_keys` are never
    /// evicted, nor are the totals that belong to them. Default: none.
    pub policy: Policy,
    /// How many clients may be connected. Default: 10,000.
    pub max_clients: usize,
    /// The longest argument of a command, in bytes. Default: 64 MiB.
    pub max_bulk: usize,
    /// The longest command as a whole, and the longest transaction, in bytes. Default: 128 MiB.
    pub max_query_buffer: usize,
    /// How many bytes may be pending for a subscriber before it is disconnected. Default: 32 MiB.
    pub max_pending_output: usize,
    /// How much memory all clients together may take for requests and unfetched replies, in bytes.
    /// Beyond that, the clients that take most are disconnected. Default: 1 GiB; 0 is no limit.
    pub max_client_memory: usize,
    /// How many clients the process has file descriptors for; `maxclients` cannot be set higher. Default: no bound.
    pub client_ceiling: usize,
    /// How long a script may run, in milliseconds, before other clients are told that the store is busy
    /// and may end the script. Default: 5,000.
    pub busy_after: u64,
    /// How long a script may run, in milliseconds. Default: 10,000.
    pub script_time: u64,
    /// How much memory all scripts together may take, in bytes. Default: 64 MiB.
    pub script_memory: usize,
    /// Which keyspace events are published. Default: none.
    pub keyspace_events: Classes,
    /// How long a command may take, in microseconds, before `SLOWLOG` lists it. Default: 10,000; -1 is never.
    pub slower_than: i64,
    /// How many commands `SLOWLOG` keeps. Default: 128.
    pub slow_commands: usize,
    /// How long a command may take, in milliseconds, before `LATENCY` lists it. Default: 0, which lists none.
    pub latency_threshold: u64,
    /// How many keys are remembered for clients that cache them; beyond that, some are reported as
    /// changed. Default: a million; 0 is no limit.
    pub tracked_keys: usize,
    /// Shows whether the serving thread is still running its loop.
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

/// The highest value of `script-time-limit`, in milliseconds.
const LONGEST_SCRIPT: i64 = 3_600_000;

const POLICIES: &str = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
    volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
const TOO_LARGE: &str = "argument must be a memory value";
/// The lowest value of both limits on a request's size, as in Redis.
const LEAST: usize = 1 << 20;
/// The highest value of `proto-max-bulk-len`: the length of Redis's longest string.
const MAX_BULK: usize = 512 << 20;
/// The highest value of `client-query-buffer-limit`.
const MAX_QUERY_BUFFER: usize = 4 << 30;
const MOST_CLIENTS: i64 = 4_294_967_295;

const NO_INTEGER: &str = "argument couldn't be parsed into an integer";

/// Parses a number of at least 0.
fn not_negative(value: &[u8]) -> Result<u64, Cow<'static, str>> {
    let number = parse_int(value).ok_or(NO_INTEGER)?;
    u64::try_from(number).map_err(|_| "argument must be between 0 and 9223372036854775807 inclusive".into())
}

/// Parses a number of bytes that is within the limits for a request.
fn memory_within(value: &[u8], most: usize) -> Result<usize, Cow<'static, str>> {
    let bytes = memory(value).ok_or(TOO_LARGE)?;
    if !(LEAST..=most).contains(&bytes) {
        return Err(format!("argument must be between {LEAST} and {most} inclusive").into());
    }
    Ok(bytes)
}

impl Options {
    /// The parameters that `CONFIG GET` shows, under Redis's names.
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

    /// Sets one parameter, as `CONFIG SET` does. The error is the reason; it is empty for an unknown name.
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

/// Parses a number of bytes, with an optional unit such as `kb`, `mb` or `gb`.
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
