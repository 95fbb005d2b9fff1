//! What happens in a run, so that it can be printed and shrunk.

pub const NODES: usize = 3;
/// The first is named exactly, the others by a pattern. The last counts visitors.
pub const CHANNELS: [&str; 4] = ["users:count", "page:/a", "page:/b", "room:1"];
pub const SOCKETS: usize = 3;
/// What is subscribed to beside the channels: changes of the list of who is in the room.
pub const LIST: usize = CHANNELS.len();
pub const TOPICS: [&str; 5] = [CHANNELS[0], CHANNELS[1], CHANNELS[2], CHANNELS[3], "headcount:v1:{room:1}:members"];
pub const ROOM: usize = 3;
/// Who may visit.
pub const PEOPLE: usize = 6;

/// A schedule, the virtual milliseconds of each action from the start of its round.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// Whether nodes have the configuration's defaults; else everything goes faster.
    pub defaults: bool,
    /// Nothing breaks, so everything has to agree at once.
    pub calm: bool,
    /// Nothing happens that makes a lease, or what was withdrawn, come back.
    pub strict: bool,
    /// `limits.visitors_per_address`
    pub visitors: Option<u32>,
    /// How many may be on the list of who is in the room, if there is one.
    pub members: Option<u32>,
    /// The store is so full of other programs' keys that no scrub comes to an end.
    pub crowded: bool,
    /// What happens at which request that arrives at the store.
    pub inject: Option<(u64, Inject)>,
    pub rounds: Vec<Vec<(u64, Action)>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    Join {
        node: usize,
        channel: usize,
    },
    Leave {
        node: usize,
        channel: usize,
    },
    Watch {
        node: usize,
        channel: usize,
    },
    Unwatch {
        node: usize,
        channel: usize,
    },
    Start {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Stop {
        node: usize,
    },
    /// A new version takes a node's place, with leases of another length.
    Upgrade {
        node: usize,
    },
    Pause {
        node: usize,
        ms: u64,
    },
    /// It does not run, and its clock does not, either.
    Suspend {
        node: usize,
        ms: u64,
    },
    /// Its clock jumps ahead.
    Leap {
        node: usize,
        ms: u64,
    },
    /// A tab of somebody's comes to the channel of visitors, or goes.
    Visit {
        node: usize,
        who: usize,
    },
    Part {
        node: usize,
        who: usize,
    },
    /// Somebody who is here shows a token that was made then.
    Describe {
        node: usize,
        who: usize,
        made: u64,
    },
    /// A connection breaks. What was under way to the store arrives so much later.
    Straggle {
        node: usize,
        ms: u64,
    },
    /// A connection breaks. What was under way to the store arrives nevertheless, or not.
    Cut {
        node: usize,
        messages: bool,
        arrives: bool,
    },
    /// Nothing gets through in either direction; it is delayed, or lost.
    Partition {
        node: usize,
        ms: u64,
        lost: bool,
    },
    Slow {
        node: usize,
        ms: u64,
    },
    /// The store is away; what it has afterwards.
    Kill {
        ms: u64,
        empty: bool,
    },
    /// A failover: the store is back with what it had so long ago.
    Rollback {
        ms: u64,
    },
    Stall {
        ms: u64,
    },
    Clock {
        ms: i64,
    },
    /// The store answers so many of a hundred calls with an error.
    Refuse {
        error: usize,
        percent: u8,
        ms: u64,
    },
    FlushAll,
    ScriptFlush,
    Lose {
        key: Key,
    },
    Damage {
        key: Key,
        how: usize,
    },
    /// Another program adds to the exactly named channel.
    Foreign {
        by: i64,
    },
    ForeignSet {
        to: i64,
    },
    /// Another program publishes a number that is not the key's.
    ForeignPublish {
        channel: usize,
        number: i64,
    },
}

/// One thing that goes wrong at one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inject {
    /// It is answered with this error.
    Error(usize),
    /// The connection breaks, before it is carried out or after.
    Cut {
        arrives: bool,
    },
    /// Somebody is faster.
    FlushAll,
    Lose(Key),
    /// Its node is gone.
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    Total(usize),
    Tally(usize),
    Own(usize),
    People,
    Owner,
    Members,
    Nodes,
    /// The list of a node's channels.
    List(usize),
}

/// What a store may answer with that is no result.
pub const ERRORS: [&str; 13] = [
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "NOPERM this user has no permissions to run the 'evalsha' command",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOREPLICAS Not enough good replicas to write.",
    "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOAUTH Authentication required.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR value is not an integer or out of range",
];
