//! Which nodes nothing has happened to: nobody may take them for dead, and nobody on them may be told to have left.

use crate::hub::{is_named, name, visitor};
use crate::plan::{NODES, PEOPLE};
use crate::world::{World, config};

/// How long what was slow may go on to be, in microseconds.
const AFTER: u64 = 1_500_000;

/// What disturbs a node.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    /// Until when something does.
    pub until: u64,
    /// Since when its connection for commands stands.
    pub linked: u64,
    /// When its clock last jumped ahead of the store's.
    pub leapt: Option<u64>,
}

impl Disturbance {
    /// A node that has no connection yet.
    pub const START: Self = Self { until: 0, linked: u64::MAX, leapt: None };
}

impl World {
    /// A node does not run as it should, until then.
    pub fn disturb(&mut self, node: usize, until: u64) {
        let until = until + AFTER;
        self.disturbed[node].until = self.disturbed[node].until.max(until);
    }

    /// The store does not answer as it should, until then.
    pub fn disturb_all(&mut self, until: u64) {
        (0..NODES).for_each(|node| self.disturb(node, until));
    }

    /// The longest within which a node renews its lease, and others notice when it does not.
    fn lease(&self) -> u64 {
        let config = config(self.slowest);
        (config.lease + config.grace + config.heartbeat).as_micros() as u64
    }

    /// Whether a node runs, and nothing has happened to it for so long.
    fn is_undisturbed(&self, node: usize, time: u64) -> bool {
        let Disturbance { until, linked, .. } = self.disturbed[node];
        let runs = self.nodes[node].as_ref().is_some_and(|node| !node.stopping);
        runs && until.max(linked).saturating_add(time) <= self.now
    }

    /// An id is withdrawn at the request of a node: it must not be one that lives.
    pub fn watch_withdrawn(&mut self, by: usize, id: &str) {
        let alive = |(index, node): (usize, &Option<crate::node::Node>)| {
            node.as_ref().filter(|node| node.state.id().as_bytes() == id.as_bytes()).map(|_| index)
        };
        let Some(node) = self.nodes.iter().enumerate().find_map(alive).filter(|node| *node != by) else { return };
        // Each waits for a lease of its own length, by its own clock, before it judges who is dead.
        let leapt = self.disturbed[by].leapt.is_some_and(|at| at + self.lease() > self.now);
        if !leapt && self.is_undisturbed(node, self.lease()) {
            self.fail(format!("node {by} withdraws node {node}, which lives and to which nothing has happened"));
        }
    }

    /// Looks at what the clients of a node were told of who is in the room.
    pub fn watch_told(&mut self, node: usize) {
        let Some(hub) = self.nodes[node].as_mut().and_then(|node| node.hubs.get_mut(&crate::plan::ROOM)) else {
            return;
        };
        let (left, wrong) = (std::mem::take(&mut hub.client.left), hub.client.wrong.take());
        if let Some(wrong) = wrong {
            self.fail(format!("clients of node {node} are told that {wrong}"));
        }
        let time = self.lease() * 2 + AFTER;
        let leapt = |disturbance: &Disturbance| disturbance.leapt.is_some_and(|at| at + time > self.now);
        if self.disturbed[node].until.saturating_add(time) > self.now || self.disturbed.iter().any(leapt) {
            // It may be told only now of what was long ago, or by one whose clock was wrong about how long it waited.
            return;
        }
        for who in (0..PEOPLE).filter(|who| is_named(*who) && left.contains(&name(*who))) {
            let here = |index: &usize| {
                let since = self.nodes[*index].as_ref().and_then(|node| node.counted_since(visitor(who)));
                self.is_undisturbed(*index, time) && since.is_some_and(|since| since + time <= self.now)
            };
            if let Some(there) = (0..NODES).find(here) {
                self.fail(format!("clients of node {node} are told that v{who} has left, who is on node {there}"));
            }
        }
    }
}
