//! The state of `CLIENT PAUSE`.

use crate::store::pubsub::ClientSlot;

/// Which requests are held up, and until when.
#[derive(Debug, Default)]
pub struct Pause {
    /// The end of the pause in milliseconds since 1970; 0 if there is none.
    pub until: u64,
    /// Whether all requests are held up, and not only those that may change something.
    pub all: bool,
    /// The clients whose requests are held up.
    pub held: Vec<ClientSlot>,
}

impl Pause {
    /// Begins or extends a pause. Of two pauses, the later end and the stricter mode prevail.
    pub fn begin(&mut self, until: u64, all: bool) {
        self.until = self.until.max(until);
        self.all |= all;
    }

    /// When the pause ends, if there is one.
    pub fn next_time(&self) -> Option<u64> {
        (self.until > 0).then_some(self.until)
    }
}
