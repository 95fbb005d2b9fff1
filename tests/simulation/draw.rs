//! Draws what happens in a run from a seed, before it begins.

use fastrand::Rng;

use crate::plan::{Action, ERRORS, Key, NODES, PEOPLE, Plan, ROOM, SOCKETS};

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
    let mut plan =
        Plan { seed, defaults, calm, strict, visitors: None, members: None, crowded: false, inject: None, rounds };
    add(&mut plan, seed);
    add_members(&mut plan, seed);
    add_stragglers(&mut plan, seed);
    plan.crowded = seed.is_multiple_of(2) && !plan.needs_scrub();
    plan
}

impl Plan {
    /// Whether requests come late.
    pub fn has_stragglers(&self) -> bool {
        self.rounds.iter().flatten().any(|(_, action)| matches!(action, Action::Straggle { .. }))
    }

    /// Whether a node may have the defaults.
    pub fn is_slow(&self) -> bool {
        self.defaults || self.rounds.iter().flatten().any(|(_, action)| matches!(action, Action::Upgrade { .. }))
    }

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
        let late = self.has_stragglers();
        let gone = any(|action| {
            use Action::{Crash, Rollback, Stop, Upgrade};
            matches!(action, Crash { .. } | Stop { .. } | Upgrade { .. } | Rollback { .. })
        });
        // A share that somebody made up, on a channel that nobody has any more.
        let made_up = any(|action| matches!(action, Action::Damage { key: Key::Tally(_), how: 4 }));
        made_up
            || (lost && gone)
            || (emptied && gone)
            // What is late is stated after the channel was left, or under an id that was given up.
            || late
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

/// A list of who is in the room, in most runs with visitors. In few it soon has too many.
fn add_members(plan: &mut Plan, seed: u64) {
    let mut rng = Rng::with_seed(seed ^ 0x1157);
    let long = rng.u8(..10) == 0;
    plan.members = (rng.u8(..4) > 0).then_some(if long { 3 } else { 1_000 });
    let keys = !plan.calm && rng.u8(..4) == 0;
    for round in &mut plan.rounds {
        let end = round.last().map_or(1, |(at, _)| at + 1);
        for _ in 0..if plan.members.is_some() { rng.usize(..4) } else { 0 } {
            let (node, who, made) = (rng.usize(..NODES), rng.usize(..PEOPLE), rng.u64(1..9));
            round.push((rng.u64(..end), Action::Describe { node, who, made }));
        }
        for _ in 0..if keys { rng.usize(1..4) } else { 0 } {
            let key = Key::Members;
            let action = if rng.bool() { Action::Lose { key } } else { Action::Damage { key, how: rng.usize(..8) } };
            round.push((rng.u64(..end), action));
        }
        round.sort_by_key(|(at, _)| *at);
    }
}

/// Requests that come late, after what the node has said since; and errors of one key while a node is reaped.
fn add_stragglers(plan: &mut Plan, seed: u64) {
    let mut rng = Rng::with_seed(seed ^ 0x1a7e);
    let straggles = !plan.calm && rng.u8(..6) == 0;
    for round in &mut plan.rounds {
        let end = round.last().map_or(1, |(at, _)| at + 1);
        for _ in 0..if straggles { rng.usize(1..5) } else { 0 } {
            let most = [600, 2_500][rng.usize(..2)];
            let (node, at, ms) = (rng.usize(..NODES), rng.u64(..end), rng.u64(50..most));
            round.push((at, Action::Straggle { node, ms }));
            // Something must be under way, and something else be said before it arrives.
            let (who, channel) = (rng.usize(..PEOPLE), rng.usize(..SOCKETS));
            let mut change = |at: u64, action| round.push((at, action));
            change(at.saturating_sub(1), Action::Visit { node, who });
            change(at.saturating_sub(1), Action::Join { node, channel });
            change(at + rng.u64(1..300), Action::Part { node, who });
            change(at + rng.u64(1..300), Action::Leave { node, channel });
        }
        let refusals = round.iter().filter_map(|(at, action)| match action {
            Action::Refuse { error: 11.., ms, .. } => Some((*at, *ms)),
            _ => None,
        });
        for (at, ms) in refusals.collect::<Vec<_>>() {
            if rng.bool() {
                // It is reaped after its lease and the grace.
                let crash = (at + rng.u64(..ms)).saturating_sub(600);
                round.push((crash, Action::Crash { node: rng.usize(..NODES) }));
            }
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
