//! This node's id and its lease.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// 128 random bits in hex, drawn anew at each start and whenever a lease has ended: never derived
/// from host, port, config or disk, so that no two nodes ever share one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Draws an id.
    pub fn draw() -> Self {
        let mut bits = [0u8; 16];
        if getrandom::fill(&mut bits).is_err() {
            // Without the kernel's randomness an id that is merely unlikely to collide must do.
            fastrand::fill(&mut bits);
        }
        Self(bits.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// The id of another node, as the store has it.
    pub fn of(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as it is in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The lease as this node knows it.
#[derive(Debug)]
pub struct Lease {
    /// The id that it is for.
    pub id: NodeId,
    /// Its end as last confirmed, in milliseconds of the store's clock. None before it was taken.
    pub end: Option<i64>,
    /// Whether a heartbeat was confirmed on the current connection.
    pub held: bool,
    /// When this connection was made.
    pub connected: Instant,
}

impl Lease {
    /// No lease yet, under a new id.
    pub fn new() -> Self {
        Self { id: NodeId::draw(), end: None, held: false, connected: Instant::now() }
    }

    /// Gives up the id for a new one, and returns it.
    pub fn renew_id(&mut self) -> NodeId {
        (self.end, self.held) = (None, false);
        std::mem::replace(&mut self.id, NodeId::draw())
    }

    /// Whether this node may withdraw others' tallies: not in the first lease after it connected,
    /// when after a long outage everybody's lease has ended and they are all about to say so.
    pub fn may_reap(&self, length: Duration) -> bool {
        self.held && self.connected.elapsed() > length
    }
}
