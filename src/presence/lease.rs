//! This node's id and its lease.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest pause before a heartbeat that the store refused is sent again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The shortest watch: however short a lease is, a node that was refused may stay silent for [`LONGEST_PAUSE`].
const LEAST_WATCH: Duration = Duration::from_millis(1_500);

/// 128 random bits in hex, drawn anew at each start and whenever a lease has ended: never derived from host, port,
/// config or disk, so that no two nodes ever share one. The ids of other nodes, as the store has them, may be any
/// bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<[u8]>);

impl NodeId {
    /// Draws an id.
    pub fn draw() -> Self {
        let mut bits = [0u8; 16];
        if getrandom::fill(&mut bits).is_err() {
            // Without the kernel's randomness, an id that is merely unlikely to collide has to do.
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

    /// The id as the store has it.
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
    /// The id that the lease is for.
    pub id: NodeId,
    /// Its end as last confirmed, in milliseconds of the store's clock. None until a lease is taken for this id.
    pub end: Option<i64>,
    /// Whether the lease is confirmed: on this connection, or in a cluster on an earlier one. No channel is worked on
    /// without it.
    pub held: bool,
    /// Whether a heartbeat was confirmed on this connection, and none was refused since.
    pub proven: bool,
    /// Since when this node has been able to see whose leases are renewed: since it connected (in a cluster, to the
    /// shard that has the leases), since it found its own lease gone, or since it renewed its lease late.
    pub watching: Instant,
    /// When the lease was last confirmed, under any id.
    renewed: Option<Instant>,
    /// Whether the shares are on other servers than the leases, with clocks of their own.
    pub sharded: bool,
}

impl Lease {
    /// Starts without a lease.
    pub fn new(id: NodeId, now: Instant) -> Self {
        Self { id, end: None, held: false, proven: false, watching: now, renewed: None, sharded: false }
    }

    /// Records that the store has confirmed the lease until `end`. If the last time was long ago, the store was slow
    /// or refused heartbeats, and not only this node's: the others are about to renew their leases.
    pub fn confirm(&mut self, end: i64, length: Duration, now: Instant) {
        if self.is_late(length, now) {
            self.watching = now;
        }
        (self.end, self.held, self.proven, self.renewed) = (Some(end), true, true, Some(now));
    }

    /// Whether the last confirmation was too long ago for others to have renewed their leases since.
    fn is_late(&self, length: Duration, now: Instant) -> bool {
        let soon = (length / 2).max(LONGEST_PAUSE);
        self.renewed.is_none_or(|before| now.saturating_duration_since(before) > soon)
    }

    /// Replaces the id, and returns the old one. The store may have lost every node's lease with this one.
    pub fn change_id(&mut self, id: NodeId, now: Instant) -> NodeId {
        (self.end, self.held, self.watching) = (None, false, now);
        std::mem::replace(&mut self.id, id)
    }

    /// Whether the lease is held across reconnects: in a cluster, the other shards do not wait for the one that has
    /// the leases.
    pub fn outlives_links(&self) -> bool {
        self.sharded && self.end.is_some()
    }

    /// Until when this node may state anything, by the clock of the server that has the channel. None until a lease
    /// is taken for this id. In a cluster, that clock is not the lease's, so the limit is a tombstone instead.
    pub fn limit(&self) -> Option<i64> {
        self.end.map(|end| if self.sharded { i64::MAX } else { end })
    }

    /// Whether this node may withdraw other nodes' shares: not in the first lease after it connected, lost its own
    /// lease or renewed it late, and not while its own renewal is late: it may have stood still, or its clock leapt.
    /// After an outage or a loss of data all leases are gone, and the live nodes are about to take new ones.
    pub fn may_reap(&self, length: Duration, now: Instant) -> bool {
        self.held
            && !self.is_late(length, now)
            && now.saturating_duration_since(self.watching) > length.max(LEAST_WATCH)
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
        // The store answers nobody for two seconds; this node's lease does not end in that time.
        (9..=14).for_each(|beat| lease.confirm(0, length, at(500 * beat)));
        assert!(!lease.may_reap(length, at(7_000)));
        assert!(lease.may_reap(length, at(7_001)));
        lease.change_id(NodeId::from_bits(2), at(8_000));
        (16..=20).for_each(|beat| lease.confirm(0, length, at(500 * beat + 100)));
        assert!(!lease.may_reap(length, at(10_500)));
        assert!(lease.may_reap(length, at(10_501)));
        // However short a lease is, other nodes may be slower.
        let mut lease = Lease::new(NodeId::from_bits(3), start);
        lease.confirm(0, Duration::from_millis(300), at(100));
        lease.confirm(0, Duration::from_millis(300), at(1_100));
        assert!(!lease.may_reap(Duration::from_millis(300), at(1_600)));
        assert!(lease.may_reap(Duration::from_millis(300), at(1_601)));
    }

    #[test]
    fn a_node_whose_own_renewal_is_late_judges_nobody() {
        let (start, length) = (Instant::now(), Duration::from_millis(2_500));
        let at = |millis| start + Duration::from_millis(millis);
        let mut lease = Lease::new(NodeId::from_bits(1), start);
        (0..=6).for_each(|beat| lease.confirm(0, length, at(500 * beat)));
        assert!(lease.may_reap(length, at(4_250)));
        assert!(!lease.may_reap(length, at(4_251)), "it has stood still, or its clock has leapt");
        lease.confirm(0, length, at(4_252));
        assert!(!lease.may_reap(length, at(4_300)), "the others may renew theirs only now, too");
    }
}
