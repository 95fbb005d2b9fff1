//! The steps that undo changes to a stream's entries.

use super::id::Id;
use super::node::Node;

/// The counters and ids that a stream keeps besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// The number of entries.
    pub len: u64,
    /// How many entries were ever added.
    pub added: u64,
    /// The highest id ever used.
    pub last: Id,
    /// The id of the first entry.
    pub first: Id,
    /// The highest id that was deleted individually.
    pub max_deleted: Id,
}

/// A step that undoes one change.
#[derive(Debug)]
pub enum EntriesChange {
    /// Restores the counters.
    Counters(Counters),
    /// Restores an earlier state of a node, which takes a few kilobytes.
    Node(usize, Node),
    /// Removes the last node.
    PopNode,
    /// Puts a removed node back.
    PutNode(usize, Node),
}

/// Returns the step that restores the current state of a node, and the bytes that the step holds.
pub fn as_it_is(at: usize, node: &Node) -> (EntriesChange, usize) {
    (EntriesChange::Node(at, node.clone()), node.heap())
}

/// Returns the step that puts a removed node back, and the bytes that the step holds.
pub fn put_back(at: usize, node: Node) -> (EntriesChange, usize) {
    let held = node.heap();
    (EntriesChange::PutNode(at, node), held)
}
