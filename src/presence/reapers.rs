//! Which nodes' shares are being withdrawn, and which channels dead nodes' visitors are swept out of, so many at
//! once. Among them are ids that this node has given up itself.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::effect::Job;
use super::lease::NodeId;

/// Nodes that are reaped at once, and channels that are swept.
const REAPERS: usize = 8;

/// See the module.
#[derive(Default)]
pub struct Reapers {
    /// Nodes that are being reaped, and whether it is an id that this node has given up.
    reaping: IndexMap<NodeId, bool>,
    /// Ids that this node has given up and that may still have something in the store, and how many
    /// steps are under way with each.
    spent: IndexMap<NodeId, usize>,
    /// Channels that dead nodes' visitors are swept out of.
    sweeping: IndexSet<Arc<str>>,
}

impl Reapers {
    /// This node gives up an id. `stepping`: the steps that are under way, with whatever id.
    pub fn give_up(&mut self, id: NodeId, stepping: usize) {
        let under_way = stepping - self.spent.values().sum::<usize>();
        self.spent.insert(id, under_way);
    }

    /// A step with this id has ended.
    pub fn step_ended(&mut self, id: &NodeId) {
        if let Some(steps) = self.spent.get_mut(id) {
            *steps = steps.saturating_sub(1);
        }
    }

    /// Has ids of its own that this node has given up struck, once nothing can come under them any more: no
    /// step, and no channel on which they are still `busy`.
    pub fn strike_spent<'a>(&mut self, current: &NodeId, busy: impl Iterator<Item = &'a NodeId>) -> Vec<Job> {
        let mut free: IndexSet<NodeId> =
            self.spent.iter().filter(|(_, steps)| **steps == 0).map(|(id, _)| id.clone()).collect();
        if !free.is_empty() {
            for id in busy {
                free.swap_remove(id);
            }
        }
        let mut jobs = Vec::new();
        for id in free.into_iter().take(REAPERS - self.reaping.len().min(REAPERS)) {
            self.spent.swap_remove(&id);
            jobs.extend(self.begin(id, true, current));
        }
        jobs
    }

    /// Has what a dead node had stated withdrawn, unless too many are under way; then another time will do.
    pub fn reap(&mut self, id: NodeId, current: &NodeId) -> Option<Job> {
        (self.reaping.len() < REAPERS).then(|| self.begin(id, false, current))?
    }

    fn begin(&mut self, id: NodeId, own: bool, current: &NodeId) -> Option<Job> {
        if id == *current {
            return None;
        }
        if let Some(known_as_own) = self.reaping.get_mut(&id) {
            // If that fails, nobody else may know of it.
            *known_as_own |= own;
            return None;
        }
        self.reaping.insert(id.clone(), own);
        Some(Job::Reap(id))
    }

    /// One was reaped, or it failed. Returns whether the id was this node's own.
    pub fn reaped(&mut self, id: &NodeId, failed: bool) -> bool {
        let own = self.reaping.swap_remove(id).unwrap_or_default();
        if own && failed {
            // Nobody else may know of it, where the nodes were lost.
            self.spent.insert(id.clone(), 0);
        }
        own
    }

    /// Has dying numbers swept out of the people of a channel, unless it is too many: at once those of this node, all of
    /// whose visitors there are stated.
    pub fn sweep(&mut self, name: &Arc<str>, exact: bool, current: &NodeId) -> Option<Job> {
        let begins = self.sweeping.len() < REAPERS && self.sweeping.insert(name.clone());
        let own = || std::iter::once(current).chain(self.spent.keys()).cloned().collect();
        begins.then(|| Job::Sweep(name.clone(), exact, own()))
    }

    /// A channel was swept, or it failed.
    pub fn swept(&mut self, name: &Arc<str>) {
        self.sweeping.swap_remove(name);
    }

    /// Every id that this node has given up and that may have something in the store, those that are being
    /// reaped, too: that ends with the task.
    pub fn take_spent(&mut self) -> Vec<NodeId> {
        let mut spent: Vec<NodeId> = self.spent.drain(..).map(|(id, _)| id).collect();
        spent.extend(self.reaping.iter().filter(|(_, own)| **own).map(|(id, _)| id.clone()));
        spent
    }
}
