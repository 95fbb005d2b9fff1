//! What is done for a channel, one step at a time.

/// One thing to do for a channel. A channel does one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// State how many are here.
    State,
    /// State who is here, where visitors are counted.
    Visit,
    /// Read the total.
    Read,
    /// Read the list of members.
    Members,
    /// Take the channel off this node's list.
    Unlist,
    /// Repair the total.
    Repair,
    /// Take back the 0 that the channel was set up with.
    Unset,
}
