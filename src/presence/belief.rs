//! What a script is told of what the store should have.

use super::lease::NodeId;
use super::visitors::Confirmed;

/// What a node believes the store to have of it.
#[derive(Debug, Clone, Copy)]
pub struct Belief<'a> {
    /// Under this id.
    pub id: &'a NodeId,
    /// The share, if that is certain.
    pub share: Option<u64>,
    /// The visitors.
    pub visitors: Confirmed,
    /// The list of members that they are on; empty where there is none.
    pub epoch: &'a str,
}

impl<'a> Belief<'a> {
    /// Nothing.
    pub fn none(id: &'a NodeId) -> Self {
        Self { id, share: None, visitors: None, epoch: "" }
    }
}
