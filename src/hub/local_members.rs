//! What the clients of one channel on one worker were told of who is there.

use std::cell::OnceCell;
use std::time::Instant;

use bytes::Bytes;

use super::wire;
use crate::presence::Listing;

/// What the clients of one channel on this worker were told, and what there is to tell.
#[derive(Debug, Default)]
pub struct LocalMembers {
    shown: Listing,
    latest: Listing,
    /// The whole of what is shown, for one who was behind.
    whole: OnceCell<Bytes>,
    /// Something waits for its time.
    pending: bool,
    not_before: Option<Instant>,
}

impl LocalMembers {
    /// What is shown to whoever joins from now on.
    pub fn new(listing: Listing) -> Self {
        Self { shown: listing.clone(), latest: listing, ..Self::default() }
    }

    /// What a joiner is told.
    pub fn shown(&self) -> &Listing {
        &self.shown
    }

    /// The whole of it in a frame.
    pub fn whole(&self, channel: &str) -> Bytes {
        self.whole.get_or_init(|| wire::members(channel, &self.shown)).clone()
    }

    /// There is something else to show.
    pub fn offer(&mut self, listing: Listing) {
        (self.latest, self.pending) = (listing, true);
    }

    /// When something is to be pushed.
    pub fn wake(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.pending)
    }

    /// Whether something is to be pushed now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.pending && self.not_before.is_none_or(|at| at <= now)
    }

    /// Nothing is pushed before `until`.
    pub fn rest(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }

    /// Shows the latest; the next time is at `next`. Returns what those are to be told who know what was shown
    /// before.
    pub fn advance(&mut self, channel: &str, next: Instant) -> Option<Bytes> {
        (self.pending, self.not_before) = (false, Some(next));
        self.whole = OnceCell::new();
        let before = std::mem::replace(&mut self.shown, self.latest.clone());
        match (&before, &self.shown) {
            (Listing::Shown(before), Listing::Shown(after)) => {
                after.changes(before).map(|changes| wire::members_changed(channel, &changes))
            }
            (Listing::Hidden | Listing::Unknown, Listing::Hidden | Listing::Unknown) => None,
            _ => Some(self.whole(channel)),
        }
    }
}
