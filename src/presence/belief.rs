//! What a script is told about what the store should have.

use super::lease::NodeId;
use super::visitors::Confirmed;

/// What a node believes the store has of it.
#[derive(Debug, Clone, Copy)]
pub struct Belief<'a> {
    /// The node's id.
    pub id: &'a NodeId,
    /// The share, if it is certain.
    pub share: Option<u64>,
    /// The visitors.
    pub visitors: Confirmed,
    /// The list of members that the visitors are on; empty if there is none.
    pub epoch: &'a str,
}

impl<'a> Belief<'a> {
    /// A node that believes nothing.
    pub fn none(id: &'a NodeId) -> Self {
        Self { id, share: None, visitors: None, epoch: "" }
    }
}
