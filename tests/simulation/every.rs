//! One thing that goes wrong, at each request in turn.

use crate::plan::{Action, CHANNELS, ERRORS, Inject, Key, NODES, Plan, ROOM, SOCKETS};
use crate::run::run;
use crate::shrink;

/// Nodes come and go, and so do people: enough for every kind of call.
fn scene() -> Plan {
    let mut round: Vec<(u64, Action)> = (0..NODES).map(|node| (node as u64, Action::Start { node })).collect();
    for (at, node, channel) in [(20, 0, 0), (25, 1, 0), (30, 0, 1), (35, 2, 2), (40, 1, 1)] {
        round.push((at, Action::Join { node, channel }));
    }
    for (at, node, who) in [(22, 0, 0), (24, 1, 0), (26, 1, 1), (200, 2, 2)] {
        round.push((at, Action::Visit { node, who }));
    }
    for (at, node, channel) in [(180, 0, 0), (190, 2, 2)] {
        round.push((at, Action::Leave { node, channel }));
    }
    round.extend([(185, Action::Part { node: 1, who: 1 }), (250, Action::Crash { node: 0 })]);
    round.push((300, Action::Stop { node: 1 }));
    round.sort_by_key(|(at, _)| *at);
    Plan {
        seed: 1,
        defaults: false,
        calm: false,
        strict: false,
        visitors: None,
        members: Some(1_000),
        crowded: false,
        inject: None,
        rounds: vec![round],
    }
}

fn faults() -> Vec<Inject> {
    let mut all: Vec<Inject> = (0..ERRORS.len()).map(Inject::Error).collect();
    all.extend([Inject::Cut { arrives: true }, Inject::Cut { arrives: false }, Inject::FlushAll, Inject::Crash]);
    let keys = [Key::Nodes, Key::People, Key::Owner, Key::Members].into_iter().chain((0..NODES).map(Key::List));
    let keys = keys.chain((0..CHANNELS.len()).flat_map(|channel| [Key::Total(channel), Key::Own(channel)]));
    all.extend(keys.chain((0..SOCKETS).map(Key::Tally)).map(Inject::Lose));
    debug_assert!(CHANNELS.len() == ROOM + 1);
    all
}

#[test]
fn whatever_goes_wrong_at_one_request_comes_right() {
    // All of them take a while where nothing is optimized.
    let every = crate::number("SIMULATE_EVERY").unwrap_or(97);
    let (mut number, mut runs) = (0, 0);
    let (stats, failure) = run(&scene(), None, None);
    assert!(failure.is_none(), "{failure:?}");
    for at in 1..stats.calls {
        for fault in faults() {
            number += 1;
            if number % every == 0 {
                let plan = Plan { inject: Some((at, fault)), ..scene() };
                runs += 1;
                assert!(run(&plan, None, None).1.is_none(), "{fault:?} at {at}: {}", shrink::report(&plan, None));
            }
        }
    }
    eprintln!("{runs} runs with one fault each, at {} requests", stats.calls);
}
