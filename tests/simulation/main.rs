//! Several nodes and the store in one process on virtual time: the product's own decisions, jobs, scripts
//! and store, over a network that loses, delays and reorders, with every fault that a seed draws.
//!
//! ```text
//! just simulate 1000
//! SIMULATE_SEED=7 cargo test --package headcount-simulation one_seed -- --nocapture
//! ```
//!
//! A failing seed is shrunk to few actions, and printed with a trace of its last events. The same seed
//! gives the same trace, to the letter.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod client;
mod draw;
mod every;
mod faults;
mod hub;
mod links;
mod lists;
mod mutation;
mod network;
mod node;
mod plan;
mod run;
mod seam;
mod seeds;
mod shrink;
mod store;
mod undisturbed;
mod watch;
mod wire;
mod world;

use mutation::Mutation;
use run::run;

/// A run allocates more than it does anything else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// The planted bug that `SIMULATE_BUG` names.
fn planted() -> Option<Mutation> {
    let name = std::env::var("SIMULATE_BUG").ok()?;
    Some(Mutation::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name).expect("SIMULATE_BUG"))
}

#[test]
fn no_seed_finds_a_count_that_does_not_come_right() {
    assert_eq!(seeds::Seeds::from_environment().run(), 0);
}

#[test]
fn one_seed_comes_right() {
    let plan = draw::draw(number("SIMULATE_SEED").unwrap_or(1));
    let bug = planted();
    let (_, failure) = run(&plan, bug, None);
    assert!(failure.is_none(), "{}", shrink::report(&plan, bug));
}

#[test]
fn a_seed_gives_the_same_trace_each_time() {
    for seed in 0..5 {
        let plan = draw::draw(seed);
        let traces = [(); 2].map(|()| {
            let mut trace = Vec::new();
            run(&plan, None, Some(&mut trace));
            trace
        });
        assert!(traces[0].len() > 50, "{} events", traces[0].len());
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

/// What the simulator has found, and what that was: an id that the node had given up was forgotten when
/// reaping it failed; the list of a dead node whose entry among the nodes was lost stayed for ever;
/// a channel that was only watched stayed in the list of a store that had come back with it; a store that
/// blamed one key while a dead node was reaped kept its share; a clock that was set back let a late request
/// revive a list; a node that stopped while it reaped an id of its own left that; a share that came back as its
/// channel was taken off the list stayed; people were told to have left who were on a node that had not said so
/// yet; a token that came while its owner was being withdrawn, in vain, was not told to anybody; a node whose clock had
/// leapt took another for dead; visitors who were lost while the total was damaged stayed away until the repair after
/// the next; who had left was shown for twice as long as need be, since the end of the list was taken for its loss. Requests have other delays in each version, so each is also a planted bug or a test.
#[test]
fn seeds_that_have_failed_come_right() {
    for seed in [
        104, 308, 467, 606, 876, 1191, 1217, 1637, 1680, 1835, 1866, 2742, 4011, 5015, 50589, 55614, 56071, 52381,
        52491, 52958, 60929, 61581, 201087, 203719, 306103, 310557, 1016488, 2039886, 40063344, 40436389, 40884344,
        40683995,
    ] {
        let plan = draw::draw(seed);
        let (_, failure) = run(&plan, None, None);
        assert!(failure.is_none(), "{}", shrink::report(&plan, None));
    }
}

/// How many seeds a planted bug may take. Prints the table for `tests/RESULTS.md`.
#[test]
#[ignore = "takes minutes; by hand and nightly"]
fn every_planted_bug_is_found() {
    let most = number("SIMULATE_SEEDS").unwrap_or(3_000);
    let mut missed = Vec::new();
    println!("| planted bug | seeds until found | what it broke |\n|---|---|---|");
    for mutation in planted().map_or_else(|| Mutation::ALL.to_vec(), |bug| vec![bug]) {
        let found = (0..most).find_map(|seed| Some((seed, run(&draw::draw(seed), Some(mutation), None).1?)));
        match found {
            Some((seed, why)) => println!("| {mutation:?} | {} | {why} |", seed + 1),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found within {most} seeds: {missed:?}");
}
