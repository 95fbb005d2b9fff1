//! What is done for a channel, one thing at a time.

/// One thing to do for a channel. A channel does one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// State the number that is here.
    State,
    /// State who is here, where visitors are counted.
    Visit,
    /// Read the total.
    Read,
    /// Read the list of members.
    Members,
    /// Strike the channel from this node's list.
    Unlist,
    /// Repair the total.
    Repair,
    /// Take back the 0 that it was set up as.
    Unset,
}
