//! This node's id and its lease.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// the one to the shard that has the leases, or since its own lease was found gone.
    pub watching: Instant,
    /// The shares are on other servers than the leases, with clocks of their own.
    pub sharded: bool,
}

impl Lease {
    /// No lease yet.
    pub fn new(id: NodeId, now: Instant) -> Self {
        Self { id, end: None, held: false, proven: false, watching: now, sharded: false }
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

    /// Whether this node may withdraw others' shares: not in the first lease after it connected or lost its
    /// own. After a long outage or a loss of data everybody's lease is gone, and they are all about to say so.
    pub fn may_reap(&self, length: Duration, now: Instant) -> bool {
        self.held && now.saturating_duration_since(self.watching) > length
    }
}
