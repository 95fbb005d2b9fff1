//! Which nodes' shares are being withdrawn, and which channels dead nodes' visitors are being swept out of; both are
//! limited. The nodes include ids that this node has given up itself.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::effect::Job;
use super::lease::NodeId;

/// How many nodes are reaped at once, and how many channels are swept.
const REAPERS: usize = 8;

/// See the module.
#[derive(Default)]
pub struct Reapers {
    /// Nodes that are being reaped, and whether each is an id that this node has given up.
    reaping: IndexMap<NodeId, bool>,
    /// Ids that this node has given up and that may still have something in the store, and how many steps are under
    /// way with each.
    spent: IndexMap<NodeId, usize>,
    /// Channels that dead nodes' visitors are being swept out of.
    sweeping: IndexSet<Arc<str>>,
}

impl Reapers {
    /// Records that this node gives up an id. `stepping`: how many steps are under way, under any id.
    pub fn give_up(&mut self, id: NodeId, stepping: usize) {
        let under_way = stepping - self.spent.values().sum::<usize>();
        self.spent.insert(id, under_way);
    }

    /// Records that a step with this id has ended.
    pub fn step_ended(&mut self, id: &NodeId) {
        if let Some(steps) = self.spent.get_mut(id) {
            *steps = steps.saturating_sub(1);
        }
    }

    /// Starts reaping ids that this node gave up, once nothing can come under them any more: no step is under way
    /// with them, and no channel still has them among its older ids (`busy`).
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

    /// Starts withdrawing what a dead node stated; if too many nodes are being reaped, that is left for another time.
    pub fn reap(&mut self, id: NodeId, current: &NodeId) -> Option<Job> {
        (self.reaping.len() < REAPERS).then(|| self.begin(id, false, current))?
    }

    fn begin(&mut self, id: NodeId, own: bool, current: &NodeId) -> Option<Job> {
        if id == *current {
            return None;
        }
        if let Some(known_as_own) = self.reaping.get_mut(&id) {
            // If the reaping fails, no other node may know of the id, so it is kept.
            *known_as_own |= own;
            return None;
        }
        self.reaping.insert(id.clone(), own);
        Some(Job::Reap(id))
    }

    /// Records that an id was reaped, or that this failed. Returns whether the id was this node's own.
    pub fn reaped(&mut self, id: &NodeId, failed: bool) -> bool {
        let own = self.reaping.swap_remove(id).unwrap_or_default();
        if own && failed {
            // No other node may know of it, if the list of nodes was lost.
            self.spent.insert(id.clone(), 0);
        }
        own
    }

    /// Starts sweeping dying numbers out of a channel's people, unless too many channels are being swept. The numbers
    /// of this node's ids are swept at once, as all of its visitors there are stated.
    pub fn sweep(&mut self, name: &Arc<str>, exact: bool, current: &NodeId) -> Option<Job> {
        let begins = self.sweeping.len() < REAPERS && self.sweeping.insert(name.clone());
        let own = || std::iter::once(current).chain(self.spent.keys()).cloned().collect();
        begins.then(|| Job::Sweep(name.clone(), exact, own()))
    }

    /// Records that a channel was swept, or that this failed.
    pub fn swept(&mut self, name: &Arc<str>) {
        self.sweeping.swap_remove(name);
    }

    /// Takes every id that this node has given up and that may have something in the store. That includes ids that
    /// are being reaped, because the reaping ends with the task.
    pub fn take_spent(&mut self) -> Vec<NodeId> {
        let mut spent: Vec<NodeId> = self.spent.drain(..).map(|(id, _)| id).collect();
        spent.extend(self.reaping.iter().filter(|(_, own)| **own).map(|(id, _)| id.clone()));
        spent
    }
}
