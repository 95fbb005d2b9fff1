//! The count under torture: three nodes on one store, people with tabs that come and go, and a seeded row of
//! faults. After each, every socket on every node must be told the same number on each channel, and it must be the
//! number of sockets, or of people, that the test holds open, plus what other programs added; every list of who is
//! here must be right, and nobody may have been told to have left who has not. In the end everybody
//! leaves, and nothing of ours is left.
//!
//! A run prints its seed, and draws the same faults again from it:
//!
//! ```text
//! TORTURE_SEED=7 TORTURE_FAULTS=300 cargo test --test promises torture:: -- --nocapture
//! ```
//!
//! `TORTURE_SECONDS` bounds a run by time instead, `TORTURE_FLEETS=4` shares the faults among so many stores, each with
//! nodes of its own, side by side, `TORTURE_ONLY=KeyLost,NodeKilled` leaves the other kinds out, and `TORTURE_LOG=1`
//! tells each step.

mod damage;
mod faults;
mod foreign;
mod noise;
mod people;
mod rogue;
mod store;
mod visitor;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::support::beside_others;
use faults::Fault;
use store::Brand;
use world::World;

/// A run that nobody asked anything of takes so long.
const SHORT: Duration = Duration::from_secs(20);
/// After so many disagreements there is enough to look into.
const ENOUGH: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_count_comes_right_after_every_fault_on_a_real_redis() {
    torture(Brand::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_comes_right_after_every_fault_on_the_embedded_store() {
    torture(Brand::Embedded).await;
}

/// What a run is asked for.
struct Plan {
    seed: u64,
    faults: usize,
    time: Duration,
    fleets: usize,
    only: Vec<Fault>,
}

impl Plan {
    fn asked() -> Plan {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
        let faults = number("TORTURE_FAULTS");
        let time = match (number("TORTURE_SECONDS"), faults) {
            (Some(seconds), _) => Duration::from_secs(seconds),
            (None, Some(_)) => Duration::MAX,
            (None, None) => SHORT,
        };
        let only = std::env::var("TORTURE_ONLY").unwrap_or_default();
        let only = only.split(',').filter(|name| !name.is_empty());
        let only = only.map(|name| Fault::named(name).unwrap_or_else(|| panic!("no fault is named {name}"))).collect();
        let seed = number("TORTURE_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
        let fleets = number("TORTURE_FLEETS").map_or(1, |fleets| fleets.max(1) as usize);
        Plan { seed, faults: faults.map_or(usize::MAX, |faults| faults as usize), time, fleets, only }
    }
}

/// How the faults of one kind went.
#[derive(Default)]
struct Tale {
    times: u32,
    /// Until all agreed on every number, and on every list.
    worst: [Duration; 2],
}

impl Tale {
    fn add(&mut self, other: &Tale) {
        self.times += other.times;
        self.worst.iter_mut().zip(other.worst).for_each(|(worst, took)| *worst = (*worst).max(took));
    }
}

/// How the faults of one fleet went.
struct Outcome {
    done: usize,
    tales: BTreeMap<Fault, Tale>,
    wrong: Vec<String>,
}

async fn torture(brand: Brand) {
    let _turn = beside_others().await;
    let (plan, start) = (Plan::asked(), Instant::now());
    eprintln!("torture on {brand:?}: TORTURE_SEED={}", plan.seed);
    let fleets = join_all((0..plan.fleets).map(|fleet| torture_fleet(brand, &plan, fleet))).await;
    let (mut tales, mut wrong, mut done) = (BTreeMap::<Fault, Tale>::new(), Vec::new(), 0);
    for fleet in fleets {
        done += fleet.done;
        wrong.extend(fleet.wrong);
        fleet.tales.into_iter().for_each(|(fault, tale)| tales.entry(fault).or_default().add(&tale));
    }
    eprintln!("{}", summary(brand, plan.seed, done, start.elapsed(), &tales));
    assert!(wrong.is_empty(), "seed {}: {} disagreements: {wrong:#?}", plan.seed, wrong.len());
}

async fn torture_fleet(brand: Brand, plan: &Plan, fleet: usize) -> Outcome {
    let share = plan.faults / plan.fleets + usize::from(fleet < plan.faults % plan.fleets);
    let seed = plan.seed.wrapping_add(fleet as u64 * 1_000_000);
    let (mut tales, mut wrong) = (BTreeMap::<Fault, Tale>::new(), Vec::new());
    let (start, mut done) = (Instant::now(), 0);
    let over = |done: usize| done >= share || start.elapsed() >= plan.time;
    while !over(done) && wrong.len() < ENOUGH {
        // A disagreement ends a world; the next one goes on with the next fault.
        let mut world = World::begin(brand, Rng::with_seed(seed.wrapping_add(done as u64))).await;
        let mut result = world.settle(Instant::now()).await.map(drop);
        while result.is_ok() && !over(done) {
            result = one_fault(&mut world, plan, &mut tales, done).await;
            done += 1;
        }
        if result.is_ok() {
            result = leaves_nothing(&mut world).await;
        }
        if let Err(why) = result {
            let report = report(&world, done, &why).await;
            eprintln!("{report}");
            wrong.push(why);
        }
    }
    Outcome { done, tales, wrong }
}

async fn one_fault(
    world: &mut World,
    plan: &Plan,
    tales: &mut BTreeMap<Fault, Tale>,
    number: usize,
) -> Result<(), String> {
    let fault = match plan.only.as_slice() {
        [] => Fault::draw(world),
        only => only[world.rng.usize(..only.len())],
    };
    world.note(format!("{}: {fault:?}", number + 1));
    let began = Instant::now();
    fault.inflict(world).await.map_err(|why| format!("{fault:?}: {why}"))?;
    let took = world.settle(Instant::now()).await.map_err(|why| format!("after {fault:?}: {why}"))?;
    world.note(format!("all agree after {:.1?}, and on the lists after {:.1?}", took[0], took[1]));
    world.nobody_was_told_of_flapping(began.elapsed()).map_err(|why| format!("after {fault:?}: {why}"))?;
    tales.entry(fault).or_default().add(&Tale { times: 1, worst: took });
    Ok(())
}

/// Everybody leaves, the nodes stop, and no key of ours is left.
async fn leaves_nothing(world: &mut World) -> Result<(), String> {
    world.note("everybody leaves");
    for place in 0..world.places.len() {
        while world.leave(place, visitor::Exit::Close).await {}
    }
    world.settle(Instant::now()).await.map_err(|why| format!("after everybody left: {why}"))?;
    for place in 0..world.places.len() {
        world.stop_node(place).await;
    }
    let deadline = Instant::now() + world::DEADLINE;
    loop {
        match world.nothing_left().await {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() > deadline => return Err(why),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn report(world: &World, done: usize, why: &str) -> String {
    let mut report = format!("DISAGREEMENT at fault {done}: {why}\nthe last that was done:\n");
    for line in &world.story[world.story.len().saturating_sub(20)..] {
        let _ = writeln!(report, "  {line}");
    }
    let _ = writeln!(report, "in the store:\n{}", world.picture().await);
    for (number, place) in world.places.iter().enumerate() {
        let log = place.node.as_ref().map_or(String::new(), |node| node.log.text());
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n    ");
        let _ = writeln!(report, "log of node {number}:\n    {tail}");
    }
    let log = world.store.log();
    let lines: Vec<&str> = log.lines().collect();
    let _ = writeln!(report, "log of the store:\n    {}", lines[lines.len().saturating_sub(10)..].join("\n    "));
    report
}

fn summary(brand: Brand, seed: u64, done: usize, time: Duration, tales: &BTreeMap<Fault, Tale>) -> String {
    let mut text = format!(
        "{done} faults on {brand:?} in {time:.0?}, seed {seed}; times, and the longest until all agreed on the numbers, and the lists:\n"
    );
    for (fault, tale) in tales {
        let [numbers, lists] = tale.worst.map(|worst| worst.as_secs_f64());
        let _ = writeln!(text, "  {:<22} {:>4}  {numbers:>6.1} s {lists:>6.1} s", format!("{fault:?}"), tale.times);
    }
    text
}
