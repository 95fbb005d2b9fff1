//! What happens in a run: drawn from a seed before it begins, so that it can be printed and shrunk.

use fastrand::Rng;

pub const NODES: usize = 3;
/// The first is named exactly, the others by a pattern.
pub const CHANNELS: [&str; 3] = ["users:count", "page:/a", "page:/b"];

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
    Pause {
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

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Key {
    Total(usize),
    Tally(usize),
    Own(usize),
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

/// The kinds of which nothing breaks: starts, and what other programs publish. What they add without
/// publishing it shows only after a repair.
const CALM: [u8; 2] = [1, 20];
/// The kinds after which the store's clock or its nodes are not what they were.
const UNSTRICT: [u8; 7] = [8, 9, 11, 14, 15, 16, 17];

pub fn draw(seed: u64) -> Plan {
    let mut rng = Rng::with_seed(seed);
    let defaults = rng.u8(..4) == 0;
    let rounds = rng.usize(1..=2);
    // A run has a mood: some kinds of fault come often in it, and most do not come at all.
    let calm = rng.u8(..8) == 0;
    let kinds = rng.usize(1..=4);
    let moods: Vec<u8> = (0..kinds).map(|_| if calm { CALM[rng.usize(..CALM.len())] } else { rng.u8(..21) }).collect();
    let strict = !moods.iter().any(|mood| UNSTRICT.contains(mood));
    let rounds = (0..rounds)
        .map(|round| {
            let actions = rng.usize(5..60);
            let length = rng.u64(300..5_000);
            let mut all: Vec<(u64, Action)> =
                (0..actions).map(|_| (rng.u64(..length), action(&mut rng, &moods))).collect();
            if round == 0 {
                (0..NODES).for_each(|node| all.push((rng.u64(..300), Action::Start { node })));
            }
            all.sort_by_key(|(at, _)| *at);
            all
        })
        .collect();
    Plan { seed, defaults, calm, strict, rounds }
}

impl Plan {
    /// Whether it has what is not solved. A dead node is found by its entry among the nodes, and its shares by
    /// its list and by those who are on the same channel. Where one of these keys is lost beside a node that
    /// is gone, or comes back with a failover, nobody may be left who knows of it. `tests/RESULTS.md` has
    /// what follows.
    pub fn is_open(&self) -> bool {
        let actions = || self.rounds.iter().flatten().map(|(_, action)| action);
        let lost = |action: &Action| {
            let (Action::Lose { key } | Action::Damage { key, .. }) = action else { return false };
            matches!(key, Key::Nodes | Key::List(_) | Key::Tally(_))
        };
        let gone =
            |action: &Action| matches!(action, Action::Crash { .. } | Action::Stop { .. } | Action::Rollback { .. });
        actions().any(lost) && actions().any(gone)
    }
}

fn action(rng: &mut Rng, moods: &[u8]) -> Action {
    let (node, channel) = (rng.usize(..NODES), rng.usize(..CHANNELS.len()));
    if rng.u8(..10) < 6 {
        return match rng.u8(..10) {
            0..=4 => Action::Join { node, channel },
            5..=7 => Action::Leave { node, channel },
            8 => Action::Watch { node, channel },
            _ => Action::Unwatch { node, channel },
        };
    }
    let ms = if rng.bool() { rng.u64(1..400) } else { rng.u64(400..6_000) };
    match moods[rng.usize(..moods.len())] {
        0 => Action::Crash { node },
        1 => Action::Start { node },
        2 => Action::Stop { node },
        3 => Action::Pause { node, ms },
        4 | 5 => Action::Cut { node, messages: rng.u8(..3) == 0, arrives: rng.bool() },
        6 => Action::Partition { node, ms, lost: rng.bool() },
        7 => Action::Slow { node, ms },
        8 => Action::Kill { ms, empty: rng.bool() },
        9 => Action::Rollback { ms: rng.u64(50..1_500) },
        10 => Action::Stall { ms },
        11 => Action::Clock { ms: rng.i64(-200_000..200_000) / [1, 10, 100][rng.usize(..3)] },
        12 | 13 => Action::Refuse { error: rng.usize(..ERRORS.len()), percent: [20, 50, 100][rng.usize(..3)], ms },
        14 => {
            if rng.u8(..3) == 0 {
                Action::ScriptFlush
            } else {
                Action::FlushAll
            }
        }
        15 | 16 => Action::Lose { key: key(rng) },
        17 => Action::Damage { key: key(rng), how: rng.usize(..8) },
        18 => Action::Foreign { by: [1, 1, -1, 5][rng.usize(..4)] },
        19 => Action::ForeignSet { to: rng.i64(-3..20) },
        _ => Action::ForeignPublish { channel, number: rng.i64(-3..50) },
    }
}

fn key(rng: &mut Rng) -> Key {
    let channel = rng.usize(..CHANNELS.len());
    match rng.u8(..10) {
        0 | 1 => Key::Total(channel),
        2..=4 => Key::Tally(channel),
        5 | 6 => Key::Own(channel),
        7 | 8 => Key::Nodes,
        _ => Key::List(rng.usize(..NODES)),
    }
}
