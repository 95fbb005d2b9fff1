//! Which dead nodes are withdrawn, and which channels they are swept out of, so many at once.

use std::sync::Arc;

use super::effect::{Effect, Job};
use super::lease::NodeId;
use super::state::State;

/// Nodes that are reaped at once, and channels that are swept.
const REAPERS: usize = 8;

impl State {
    /// Has ids of its own that this node has given up struck, once nothing can come under them any more.
    pub(super) fn reap_spent(&mut self) {
        let busy = |id: &NodeId| self.channels.values().any(|channel| channel.olds.contains(id));
        let free: Vec<NodeId> =
            self.spent.iter().filter(|(id, steps)| **steps == 0 && !busy(id)).map(|(id, _)| id.clone()).collect();
        for id in free {
            if self.reap(id.clone(), true) {
                self.spent.swap_remove(&id);
            }
        }
    }

    /// Has dead nodes' visitors swept out of a channel.
    pub(super) fn sweep(&mut self, name: &Arc<str>) {
        if self.sweeping.len() < REAPERS && self.sweeping.insert(name.clone()) {
            let exact = self.rules.stands(name);
            self.effects.push(Effect::Run(Job::Sweep(name.clone(), exact)));
        }
    }

    /// Has what a node had stated withdrawn. False if too many are under way.
    pub(super) fn reap(&mut self, id: NodeId, own: bool) -> bool {
        if self.reaping.contains_key(&id) || id == self.lease.id {
            return true;
        }
        if self.reaping.len() >= REAPERS {
            return false;
        }
        self.reaping.insert(id.clone(), own);
        self.effects.push(Effect::Run(Job::Reap(id)));
        true
    }
}
