//! What takes a change of a stream's entries back.

use super::id::Id;
use super::node::Node;

/// What is remembered of the entries beside themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// How many there are.
    pub len: u64,
    /// How many were ever added.
    pub added: u64,
    /// The highest id that there ever was.
    pub last: Id,
    /// The id of the first entry.
    pub first: Id,
    /// The highest id that was deleted on its own.
    pub max_deleted: Id,
}

/// See the module's text.
#[derive(Debug)]
pub enum EntriesChange {
    /// Sets the counters.
    Counters(Counters),
    /// Replaces a node, of a few kilobytes, by what it was.
    Node(usize, Node),
    /// Takes out the last node.
    PopNode,
    /// Puts a node back.
    PutNode(usize, Node),
}

/// What makes a node what it is now.
pub fn as_it_is(at: usize, node: &Node) -> (EntriesChange, usize) {
    (EntriesChange::Node(at, node.clone()), node.heap())
}

/// What puts a node back that was taken out.
pub fn put_back(at: usize, node: Node) -> (EntriesChange, usize) {
    let held = node.heap();
    (EntriesChange::PutNode(at, node), held)
}
