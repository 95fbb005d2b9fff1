//! Takes actions out of a failing plan for as long as it still fails.

use std::fmt::Write;

use crate::mutation::Mutation;
use crate::plan::Plan;
use crate::run::run;

/// Runs that shrinking may take.
const RUNS: usize = 400;
/// Events of the trace that are shown, unless `SIMULATE_EVENTS` says otherwise.
const SHOWN: usize = 60;

fn without(plan: &Plan, from: usize, count: usize) -> Plan {
    let mut smaller = plan.clone();
    let mut index = 0;
    for round in &mut smaller.rounds {
        round.retain(|_| {
            index += 1;
            !(from..from + count).contains(&(index - 1))
        });
    }
    smaller
}

fn shrink(plan: &Plan, mutation: Option<Mutation>) -> Plan {
    let mut plan = plan.clone();
    let mut runs = 0;
    let mut count = plan.rounds.iter().map(Vec::len).sum::<usize>() / 2;
    while count > 0 {
        let (mut from, mut smaller) = (0, false);
        while from < plan.rounds.iter().map(Vec::len).sum() && runs < RUNS {
            let candidate = without(&plan, from, count);
            runs += 1;
            if run(&candidate, mutation, None).1.is_some() {
                (plan, smaller) = (candidate, true);
            } else {
                from += count;
            }
        }
        if !smaller || count > 1 {
            count /= 2;
        }
        if runs >= RUNS {
            break;
        }
    }
    plan
}

/// A failing seed for people to read: its fewest actions, and the last events.
pub fn report(plan: &Plan, mutation: Option<Mutation>) -> String {
    let small = shrink(plan, mutation);
    let mut trace = Vec::new();
    let (_, failure) = run(&small, mutation, Some(&mut trace));
    let mut text = format!("seed {} fails: {}\n", plan.seed, failure.unwrap_or_default());
    for (round, actions) in small.rounds.iter().enumerate() {
        for (at, action) in actions {
            let _ = writeln!(text, "  round {round} at {at} ms: {action:?}");
        }
    }
    let _ = writeln!(text, "the last events:");
    let hidden = trace.len().saturating_sub(crate::number("SIMULATE_EVENTS").map_or(SHOWN, |events| events as usize));
    for line in &trace[hidden..] {
        let _ = writeln!(text, "  {line}");
    }
    text
}
