//! The member list of one channel, as told to its clients on one worker.

use std::cell::OnceCell;
use std::time::Instant;

use bytes::Bytes;

use super::wire;
use crate::presence::Listing;

/// The member list that a channel's clients on this worker were told, and the one to tell them next.
#[derive(Debug, Default)]
pub struct LocalMembers {
    shown: Listing,
    latest: Listing,
    /// The frame with the whole shown list, for sockets that were behind.
    whole: OnceCell<Bytes>,
    /// The latest list waits to be pushed.
    pending: bool,
    not_before: Option<Instant>,
}

impl LocalMembers {
    /// Creates it with the list that joiners are shown from now on.
    pub fn new(listing: Listing) -> Self {
        Self { shown: listing.clone(), latest: listing, ..Self::default() }
    }

    /// Returns the list that joiners are shown.
    pub fn shown(&self) -> &Listing {
        &self.shown
    }

    /// Returns the frame with the whole shown list.
    pub fn whole(&self, channel: &str) -> Bytes {
        self.whole.get_or_init(|| wire::members(channel, &self.shown)).clone()
    }

    /// Takes in a newer list, which waits to be pushed.
    pub fn offer(&mut self, listing: Listing) {
        (self.latest, self.pending) = (listing, true);
    }

    /// Returns when the waiting list is to be pushed.
    pub fn wake(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.pending)
    }

    /// Returns whether a list is due to be pushed now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.pending && self.not_before.is_none_or(|at| at <= now)
    }

    /// Lets nothing be pushed before `until`.
    pub fn rest(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }

    /// Shows the latest list; the next one may follow at `next`. Returns the frame for clients that know
    /// the list shown before, if anything changed.
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
