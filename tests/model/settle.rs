//! What follows when the faults end: every node does what is due, one after the other.

use crate::node::Slot;
use crate::store::{Answer, Call};
use crate::{Bug, NODES, World};

/// Rounds within which all must be right: leases end, ids change, what is dead is reaped and repaired.
const ROUNDS: usize = 6;

impl World {
    /// Plays the rest of the run. Returns what is wrong at its end.
    pub fn settle(mut self, bug: Option<Bug>) -> Option<String> {
        for call in std::mem::take(&mut self.late) {
            self.store.carry_out(call, bug);
        }
        if !self.nodes.iter().any(|node| node.up) {
            return None;
        }
        for round in 0..ROUNDS {
            for index in 0..NODES {
                if !self.nodes[index].up {
                    continue;
                }
                self.nodes[index].repair = round > 1;
                self.run(index, Slot::Beat, bug);
                for slot in [Slot::Step, Slot::Beat, Slot::Step, Slot::Reap] {
                    self.run(index, slot, bug);
                }
                if round > 1 {
                    self.scrub(bug);
                }
            }
            self.store.clock += 1;
        }
        self.wrong()
    }

    /// A node finishes what is under way, and does what is due.
    fn run(&mut self, index: usize, slot: Slot, bug: Option<Bug>) {
        for _ in 0..12 {
            if let Some((call, answer)) = self.nodes[index].under_way_mut(slot) {
                if answer.is_none() {
                    *answer = Some(self.store.carry_out(*call, bug));
                }
                self.nodes[index].answered(index, slot);
            }
            let Some(call) = self.nodes[index].next(index, slot, &self.store, bug) else { break };
            self.nodes[index].send(slot, Some(call));
        }
    }

    /// What the names of the keys say: see `scrub.rs`.
    fn scrub(&mut self, bug: Option<Bug>) {
        let strangers: Vec<_> = self.store.strangers().collect();
        for id in strangers {
            if self.store.carry_out(Call::Listed { id }, bug) == Answer::Listed(true) {
                self.store.carry_out(Call::Repair { id, share: None, dead: Some(id) }, bug);
            }
            self.store.carry_out(Call::StrikeList { id }, bug);
            self.store.carry_out(Call::Repair { id, share: None, dead: Some(id) }, bug);
        }
        if self.store.own.is_some() {
            self.store.carry_out(Call::Repair { id: 0, share: None, dead: None }, bug);
        }
    }

    fn wrong(&self) -> Option<String> {
        let store = &self.store;
        let here: u8 = self.nodes.iter().filter(|node| node.up).map(|node| node.here).sum();
        if store.total.unwrap_or(0) != here as i8 || store.own.unwrap_or(0) != here || store.sum() != here {
            return Some(format!("{here} are here, but it is {store:?}"));
        }
        for (id, (lease, list)) in store.nodes.iter().zip(&store.lists).enumerate() {
            let node = &self.nodes[id / crate::LIVES];
            let current = node.up && usize::from(node.id(id / crate::LIVES)) == id;
            if lease.is_some() != current || (*list && (!current || node.here == 0)) {
                return Some(format!("id {id} is left: {store:?}"));
            }
        }
        None
    }
}
