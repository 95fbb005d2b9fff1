//! The protocol of the count as a model that is searched to a depth: three nodes, one channel, every order
//! of calls, replies, lost replies and late requests within the bounds below.
//!
//! From every state that can be reached, the rest of the run is then played without any fault: it must end
//! with the right total, and with nothing of nodes that are gone. The actions have the names of the scripts.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod handles;
mod node;
mod settle;
mod store;

use std::time::Instant;

use node::{Node, Slot};
use stateright::{Checker, Model, Property};
use store::{Call, Key, LIVES, Store};

const NODES: usize = 3;

/// How often each thing may happen in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    ticks: u8,
    joins: u8,
    leaves: u8,
    cuts: u8,
    crashes: u8,
    losses: u8,
}

/// A bug that is planted to see that the search finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bug {
    AddsEachTime,
    NeverUnlisted,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    store: Store,
    nodes: [Node; NODES],
    /// Requests of connections that are gone, which may still arrive.
    late: Vec<Call>,
    budget: Budget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Tick,
    Join(usize),
    Leave(usize),
    /// A node sends what is due: a heartbeat, a step for the channel, or the next call of a reap.
    Send(usize, Slot),
    /// The store carries out what a node has sent.
    Deliver(usize, Slot),
    Answer(usize, Slot),
    /// The connection breaks; what was not carried out may still be.
    Cut(usize),
    /// A request arrives whose connection is gone.
    Late(usize),
    Crash(usize),
    Lose(Key),
}

struct Protocol {
    budget: Budget,
    bug: Option<Bug>,
}

impl Protocol {
    fn keys(&self, world: &World) -> Vec<Key> {
        let lists = (0..world.nodes.len()).map(|node| Key::List(world.nodes[node].id(node)));
        let mut keys = vec![Key::All, Key::Total, Key::Tally, Key::Own, Key::Nodes];
        keys.extend(lists.filter(|key| matches!(key, Key::List(id) if world.store.lists[usize::from(*id)])));
        keys
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        // All have taken a lease, which ends with the first tick.
        let nodes: [Node; NODES] = std::array::from_fn(|_| Node::start(0));
        let mut store = Store::default();
        for (index, node) in nodes.iter().enumerate() {
            store.nodes[usize::from(node.id(index))] = Some(0);
        }
        vec![World { store, nodes, late: Vec::new(), budget: self.budget }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let Budget { ticks, joins, leaves, cuts, crashes, losses } = world.budget;
        if ticks > 0 {
            actions.push(Action::Tick);
        }
        for (index, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.up) {
            if joins > 0 && node.here == 0 {
                actions.push(Action::Join(index));
            }
            if leaves > 0 && node.here > 0 {
                actions.push(Action::Leave(index));
            }
            for slot in Slot::ALL {
                match node.under_way(slot) {
                    None if node.next(index, slot, &world.store, self.bug).is_some() => {
                        actions.push(Action::Send(index, slot));
                    }
                    Some((_, None)) => actions.push(Action::Deliver(index, slot)),
                    Some(_) => actions.push(Action::Answer(index, slot)),
                    None => {}
                }
            }
            if cuts > 0 && node.is_busy() {
                actions.push(Action::Cut(index));
            }
            if crashes > 0 && node.is_known() {
                actions.push(Action::Crash(index));
            }
        }
        actions.extend((0..world.late.len()).map(Action::Late));
        if losses > 0 && world.store.total.is_some() {
            actions.extend(self.keys(world).into_iter().map(Action::Lose));
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        world.act(action, self.bug);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the count comes right", |protocol: &Self, world: &World| {
                world.clone().settle(protocol.bug).is_none()
            }),
            Property::always("ours is the sum of the shares", |_, world: &World| {
                let Store { own, total, .. } = &world.store;
                // A key that was lost is restored by whoever comes next.
                world.budget.losses == 0
                    || (own.unwrap_or(0) == world.store.sum() && *total == own.map(|own| own as i8))
            }),
            Property::sometimes("two nodes have somebody", |_, world: &World| {
                world.store.tally.iter().filter(|share| **share > 0).count() > 1
            }),
            Property::sometimes("a node has another id", |_, world: &World| {
                world.nodes.iter().any(|node| node.up && node.life > 0)
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        // The rest of the lives is for what settles.
        world.nodes.iter().all(|node| usize::from(node.life) + 2 < LIVES)
    }
}

impl World {
    fn act(&mut self, action: Action, bug: Option<Bug>) {
        match action {
            Action::Tick => {
                self.budget.ticks -= 1;
                self.store.clock += 1;
            }
            Action::Join(node) => {
                self.budget.joins -= 1;
                self.nodes[node].here = 1;
            }
            Action::Leave(node) => {
                self.budget.leaves -= 1;
                self.nodes[node].here = 0;
            }
            Action::Send(node, slot) => {
                let call = self.nodes[node].next(node, slot, &self.store, bug);
                self.nodes[node].send(slot, call);
            }
            Action::Deliver(node, slot) => {
                if let Some((call, answer @ None)) = self.nodes[node].under_way_mut(slot) {
                    *answer = Some(self.store.carry_out(*call, bug));
                }
            }
            Action::Answer(node, slot) => self.nodes[node].answered(node, slot),
            Action::Cut(node) => {
                self.budget.cuts -= 1;
                self.late.extend(self.nodes[node].cut());
            }
            Action::Late(index) => {
                let call = self.late.remove(index);
                self.store.carry_out(call, bug);
            }
            Action::Crash(node) => {
                self.budget.crashes -= 1;
                self.late.extend(self.nodes[node].cut());
                self.nodes[node].up = false;
            }
            Action::Lose(key) => {
                self.budget.losses -= 1;
                self.store.lose(key);
            }
        }
        self.late.sort_unstable();
    }
}

fn search(budget: Budget, bug: Option<Bug>) -> (Vec<&'static str>, usize) {
    let start = Instant::now();
    let checker = Protocol { budget, bug }.checker().threads(1).target_max_depth(depth()).spawn_bfs().join();
    let bad: Vec<&'static str> = checker
        .discoveries()
        .into_iter()
        .filter(|(name, _)| checker.discovery_classification(name).to_string() == "counterexample")
        .map(|(name, path)| {
            if bug.is_none() {
                let steps: Vec<_> =
                    path.clone().into_actions().into_iter().map(|action| format!("{action:?}")).collect();
                let last = path.last_state().clone();
                eprintln!("{name}: {}\n{last:?}\n{:?}", steps.join(", "), last.clone().settle(bug));
            }
            name
        })
        .collect();
    eprintln!("{bug:?}: {} states in {:.1} s", checker.unique_state_count(), start.elapsed().as_secs_f64());
    (bad, checker.unique_state_count())
}

const NOTHING: Budget = Budget { ticks: 0, joins: 0, leaves: 0, cuts: 0, crashes: 0, losses: 0 };

/// How many actions before the faults end: every order of so many is tried.
fn depth() -> usize {
    std::env::var("MODEL_DEPTH").map_or(8, |depth| depth.parse().unwrap())
}

fn budgets() -> [Budget; 3] {
    [
        Budget { ticks: 2, joins: 1, cuts: 1, ..NOTHING },
        Budget { ticks: 2, joins: 1, crashes: 1, losses: 1, ..NOTHING },
        Budget { ticks: 1, joins: 2, leaves: 1, losses: 1, ..NOTHING },
    ]
}

#[test]
fn every_run_of_three_nodes_comes_right() {
    for budget in budgets() {
        let (bad, states) = search(budget, None);
        assert!(bad.is_empty(), "{bad:?}");
        assert!(states > 1_000, "{states} states");
    }
}

/// A search that finds nothing proves something only if it would have found these.
#[test]
fn every_bug_that_is_planted_is_found() {
    let bugs = [Bug::AddsEachTime, Bug::NeverUnlisted];
    let missed: Vec<Bug> = bugs
        .into_iter()
        .filter(|bug| budgets().into_iter().all(|budget| search(budget, Some(*bug)).0.is_empty()))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}
