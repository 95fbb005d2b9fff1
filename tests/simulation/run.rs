//! One run: each round's actions, then quiet; in the end everybody leaves.

use crate::mutation::Mutation;
use crate::plan::{Action, Plan};
use crate::world::{Event, Stats, World, config};

/// Runs a plan. The trace takes what happened, if there is one.
pub fn run(plan: &Plan, mutation: Option<Mutation>, trace: Option<&mut Vec<String>>) -> (Stats, Option<String>) {
    let mut world = World::new(plan, mutation, trace.is_some());
    // A lease, a wait before reaping as long, and two repairs; and a store whose clock was set back keeps
    // a dead node for as long as a lease may be.
    let config = config(plan.is_slow());
    let mut limit = (config.lease * 2 + config.grace + config.repair * 2).as_micros() as u64 + 5_000_000;
    let clock = |(_, action): &(u64, Action)| matches!(action, Action::Clock { .. } | Action::Rollback { .. });
    if plan.rounds.iter().flatten().any(clock) {
        limit += 65_000_000;
    }
    if plan.calm {
        limit = 2_500_000;
    }
    if plan.members.is_some_and(|most| most < 10) {
        // A list that was too long is looked at again after ten seconds.
        limit += 12_000_000;
    }
    for round in &plan.rounds {
        let start = world.now;
        for (at, action) in round {
            world.at(start + at * 1000, Event::Action(*action));
        }
        let last = round.last().map_or(0, |(at, _)| *at);
        world.run_until(start + last * 1000 + 1);
        if world.failure.is_none() {
            world.calm_down(limit);
        }
    }
    if world.failure.is_none() {
        world.leave_all(limit);
    }
    world.stats.virtual_time = world.now;
    if let (Some(trace), Some(events)) = (trace, world.trace.take()) {
        *trace = events;
    }
    (world.stats, world.failure)
}
