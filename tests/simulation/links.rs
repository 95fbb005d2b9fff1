//! How connections break, and whether what broke is over.

use crate::node::Node;
use crate::world::{Event, World};

impl World {
    /// Whether every node runs and reaches the store, and nothing is on its way from a connection that is gone.
    pub fn is_over(&self) -> bool {
        let stands = |number: Option<usize>| {
            let connection = number.and_then(|number| self.connections.get(&number));
            connection.is_some_and(|connection| connection.open && !connection.waiting.contains(&0))
        };
        let reaches = |node: &Node| node.paused <= self.now && stands(node.commands) && stands(node.messages);
        let late = |event: &Event| match event {
            Event::ToStore { connection, .. } | Event::Connect { connection } => {
                self.connections.get(connection).is_some_and(|connection| !connection.open)
            }
            _ => false,
        };
        self.nodes.iter().flatten().all(reaches) && !self.events().any(late)
    }

    /// Until when what was under way from a connection is held up.
    pub fn held(&self, number: usize) -> u64 {
        self.connections.get(&number).map_or(0, |connection| connection.held)
    }

    /// A node's connection for commands breaks, and what was under way arrives only then.
    pub fn straggle(&mut self, node: usize, until: u64) {
        let number = self.nodes[node].as_ref().and_then(|node| node.commands);
        if let Some(connection) = number.and_then(|number| self.connections.get_mut(&number)) {
            connection.held = until;
        }
        self.cut(node, false, true);
    }

    /// A connection breaks in between.
    pub fn cut(&mut self, node: usize, messages: bool, arrives: bool) {
        let Some(process) = &self.nodes[node] else { return };
        let Some(number) = (if messages { process.messages } else { process.commands }) else { return };
        if !arrives
            && let Some(connection) = self.connections.get_mut(&number)
            && let Some(slot) = connection.slot.take()
        {
            self.store.close(slot);
        }
        let latency = self.latency(number);
        if let Some(connection) = self.connections.get_mut(&number) {
            // Replies that are on their way do not come any more.
            connection.received.clear();
        }
        self.after(latency.min(2_000), Event::Closed { connection: number });
    }
}
