//! This node's id and its lease.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest pause before a heartbeat that the store refused is sent again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// However short a lease is, whoever was refused may be silent for that pause, and has not been heard yet.
const LEAST_WATCH: Duration = Duration::from_millis(1_500);

/// 128 random bits in hex, drawn anew at each start and whenever a lease has ended: never derived
/// from host, port, config or disk, so that no two nodes ever share one. What the store has as the
/// id of another node may be any bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<[u8]>);

impl NodeId {
    /// Draws an id.
    pub fn draw() -> Self {
        let mut bits = [0u8; 16];
        if getrandom::fill(&mut bits).is_err() {
            // Without the kernel's randomness an id that is merely unlikely to collide must do.
            fastrand::fill(&mut bits);
        }
        Self::from_bits(u128::from_ne_bytes(bits))
    }

    /// The id that has these bits.
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}").into_bytes().into())
    }

    /// The id of another node, as the store has it.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The id as it is in the store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The lease as this node knows it.
#[derive(Debug)]
pub struct Lease {
    /// The id that it is for.
    pub id: NodeId,
    /// Its end as last confirmed, in milliseconds of the store's clock. None before it was taken.
    pub end: Option<i64>,
    /// Whether the last heartbeat was confirmed, on this connection. Nothing is asked of the store without.
    pub held: bool,
    /// Whether a heartbeat was confirmed on this connection, and none refused since.
    pub proven: bool,
    /// Since when this node could see whose lease is renewed: since this connection was made, in a cluster
    /// the one to the shard that has the leases, since its own lease was found gone, or since it was renewed late.
    pub watching: Instant,
    /// When it was confirmed last, under whatever id.
    renewed: Option<Instant>,
    /// The shares are on other servers than the leases, with clocks of their own.
    pub sharded: bool,
}

impl Lease {
    /// No lease yet.
    pub fn new(id: NodeId, now: Instant) -> Self {
        Self { id, end: None, held: false, proven: false, watching: now, renewed: None, sharded: false }
    }

    /// The store has confirmed the lease until `end`. Where that is long after the last time, it was slow or refused,
    /// and not only this node: the others are about to say that they live.
    pub fn confirm(&mut self, end: i64, length: Duration, now: Instant) {
        let soon = (length / 2).max(LONGEST_PAUSE);
        let late = self.renewed.is_none_or(|before| now.saturating_duration_since(before) > soon);
        if late {
            self.watching = now;
        }
        (self.end, self.held, self.proven, self.renewed) = (Some(end), true, true, Some(now));
    }

    /// Gives up the id for another, and returns it. The store may have lost everybody's lease with this one.
    pub fn change_id(&mut self, id: NodeId, now: Instant) -> NodeId {
        (self.end, self.held, self.watching) = (None, false, now);
        std::mem::replace(&mut self.id, id)
    }

    /// Whether it is held while connections come and go: in a cluster, other shards than that of the leases do
    /// not wait for it.
    pub fn outlives_links(&self) -> bool {
        self.sharded && self.end.is_some()
    }

    /// The end of what may be stated, by the clock of the server that has the channel. None before a lease
    /// was taken. In a cluster, that clock is another than the lease's, and a tombstone is the end.
    pub fn limit(&self) -> Option<i64> {
        self.end.map(|end| if self.sharded { i64::MAX } else { end })
    }

    /// Whether this node may withdraw others' shares: not in the first lease after it connected, lost its own or
    /// renewed it late. After an outage or a loss of data everybody's lease is gone, and they are all about to say so.
    pub fn may_reap(&self, length: Duration, now: Instant) -> bool {
        self.held && now.saturating_duration_since(self.watching) > length.max(LEAST_WATCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_judged_while_others_may_still_be_about_to_say_that_they_live() {
        let (start, length) = (Instant::now(), Duration::from_millis(2_500));
        let at = |millis| start + Duration::from_millis(millis);
        let mut lease = Lease::new(NodeId::from_bits(1), start);
        for beat in 0..6 {
            lease.confirm(0, length, at(500 * beat));
        }
        assert!(!lease.may_reap(length, at(2_500)), "in the first lease");
        assert!(lease.may_reap(length, at(2_501)));
        // The store answers nobody for two seconds, in which no lease of this node ends.
        lease.confirm(0, length, at(4_500));
        assert!(!lease.may_reap(length, at(7_000)));
        assert!(lease.may_reap(length, at(7_001)));
        lease.change_id(NodeId::from_bits(2), at(8_000));
        lease.confirm(0, length, at(8_100));
        assert!(!lease.may_reap(length, at(10_500)));
        // However short a lease is, others may be slower.
        lease.confirm(0, length, at(8_600));
        assert!(!lease.may_reap(Duration::from_millis(300), at(9_600)));
        assert!(lease.may_reap(Duration::from_millis(300), at(9_601)));
    }
}
