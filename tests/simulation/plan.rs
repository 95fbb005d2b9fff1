//! What happens in a run: drawn from a seed before it begins, so that it can be printed and shrunk.

use fastrand::Rng;

pub const NODES: usize = 3;
/// The first is named exactly, the others by a pattern. The last counts visitors.
pub const CHANNELS: [&str; 4] = ["users:count", "page:/a", "page:/b", "room:1"];
pub const SOCKETS: usize = 3;
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
    let mut plan = Plan { seed, defaults, calm, strict, visitors: None, crowded: false, inject: None, rounds };
    add(&mut plan, seed);
    plan.crowded = seed.is_multiple_of(2) && !plan.needs_scrub();
    plan
}

impl Plan {
    /// Whether it may leave what nobody finds who does not go through all keys: a dead node is found by its
    /// entry among the nodes, and its shares by its list and by those who are on the same channel. One of
    /// these is lost beside a node that is gone, or back; or the store says what is not so.
    fn needs_scrub(&self) -> bool {
        let any = |of: fn(&Action) -> bool| self.rounds.iter().flatten().any(|(_, action)| of(action));
        let lost = any(|action| match action {
            Action::Lose { key } | Action::Damage { key, .. } => !matches!(key, Key::Total(_) | Key::Own(_)),
            _ => false,
        });
        let emptied = any(|action| matches!(action, Action::FlushAll | Action::Kill { empty: true, .. }));
        let crashed = any(|action| matches!(action, Action::Crash { .. }));
        let gone = any(|action| {
            use Action::{Crash, Rollback, Stop, Upgrade};
            matches!(action, Crash { .. } | Stop { .. } | Upgrade { .. } | Rollback { .. })
        });
        (lost && gone)
            || (emptied && crashed)
            || any(|action| {
                matches!(action, Action::Clock { .. } | Action::Rollback { .. } | Action::Refuse { error: 11.., .. })
            })
    }
}

/// What was added to the simulation later is drawn beside the rest, so that each seed keeps what it has.
fn add(plan: &mut Plan, seed: u64) {
    let mut rng = Rng::with_seed(seed ^ 0xadd);
    let (visitors, nodes, keys) = (rng.bool(), !plan.calm && rng.u8(..4) == 0, !plan.calm && rng.u8(..4) == 0);
    plan.visitors = (rng.u8(..3) == 0).then(|| rng.u32(1..3));
    plan.strict &= !(visitors && keys);
    for round in &mut plan.rounds {
        let end = round.last().map_or(1, |(at, _)| at + 1);
        for _ in 0..if visitors { rng.usize(5..40) } else { 0 } {
            let (node, who) = (rng.usize(..NODES), rng.usize(..PEOPLE));
            let action = match rng.u8(..20) {
                0 => Action::Watch { node, channel: ROOM },
                1 => Action::Unwatch { node, channel: ROOM },
                2 | 3 if keys => {
                    let key = [Key::Total(ROOM), Key::Own(ROOM), Key::People, Key::Owner][rng.usize(..4)];
                    if rng.bool() { Action::Lose { key } } else { Action::Damage { key, how: rng.usize(..8) } }
                }
                2..=12 => Action::Visit { node, who },
                _ => Action::Part { node, who },
            };
            round.push((rng.u64(..end), action));
        }
        // What is left while the data goes back in time.
        let rollbacks = round.iter().filter_map(|(at, action)| match action {
            Action::Rollback { ms } => Some((*at, *ms)),
            _ => None,
        });
        for (at, ms) in rollbacks.collect::<Vec<_>>() {
            let (node, channel) = (rng.usize(..NODES), rng.usize(..SOCKETS));
            round.push((at + rng.u64(..ms), Action::Leave { node, channel }));
        }
        for _ in 0..if nodes { rng.usize(1..6) } else { 0 } {
            let node = rng.usize(..NODES);
            let ms = if rng.bool() { rng.u64(1..400) } else { rng.u64(400..6_000) };
            let action = match rng.u8(..3) {
                0 => Action::Upgrade { node },
                1 => Action::Suspend { node, ms },
                _ => Action::Leap { node, ms },
            };
            round.push((rng.u64(..end), action));
        }
        round.sort_by_key(|(at, _)| *at);
    }
}

fn action(rng: &mut Rng, moods: &[u8]) -> Action {
    let (node, channel) = (rng.usize(..NODES), rng.usize(..SOCKETS));
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
    let channel = rng.usize(..SOCKETS);
    match rng.u8(..10) {
        0 | 1 => Key::Total(channel),
        2..=4 => Key::Tally(channel),
        5 | 6 => Key::Own(channel),
        7 | 8 => Key::Nodes,
        _ => Key::List(rng.usize(..NODES)),
    }
}
