//! What `CLIENT PAUSE` holds up, and until when.

use crate::store::pubsub::Slot;

/// Until when what is held up.
#[derive(Debug, Default)]
pub struct Pause {
    /// In milliseconds since 1970; 0 is not at all.
    pub until: u64,
    /// Whether everything is, and not only what may change something.
    pub all: bool,
    /// Whose requests are held up.
    pub held: Vec<Slot>,
}

impl Pause {
    /// Holds requests up. Two pauses last as long as the longer, and are as strict as the stricter.
    pub fn begin(&mut self, until: u64, all: bool) {
        self.until = self.until.max(until);
        self.all |= all;
    }

    /// When it ends.
    pub fn next_time(&self) -> Option<u64> {
        (self.until > 0).then_some(self.until)
    }
}
