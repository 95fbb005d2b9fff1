//! What this node counts about itself: one struct, handed to every layer, read by `/metrics`.
//!
//! The names follow Prometheus' conventions; units are in the names. No label has an unbounded set
//! of values: there is none for a channel or a client.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The label of [`Metrics::closed`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// The name of a close code, from the one table of close codes.
    pub reason: &'static str,
}

/// Every metric of this node. Cloning shares the values.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Open WebSocket connections and event streams.
    pub sockets: Gauge,
    /// WebSocket connections closed, by reason.
    pub closed: Family<Reason, Counter>,
    /// Channels that this node's clients have joined or watch.
    pub channels: Gauge,
    /// Messages that came from the store.
    pub messages: Counter,
    /// Messages handed to the kernel, or queued, for a socket.
    pub deliveries: Counter<u64, AtomicU64>,
    /// Times a socket would block, so that bytes had to wait in this process.
    pub blocked: Counter<u64, AtomicU64>,
    /// 1 while the store answers and the subscription is live.
    pub store_up: Gauge,
    /// 1 while this process serves the embedded store.
    pub store_serving: Gauge,
    /// Times the connection to the store, or the subscription, was lost.
    pub store_lost: Counter,
    /// Times the store ended the subscription while this node was behind with it.
    pub store_cut: Counter,
    /// Numbers that this node stated.
    pub statements: Counter,
    /// Dead nodes whose tallies this node withdrew.
    pub reaped: Counter,
    /// Totals that a repair of this node changed.
    pub repaired: Counter,
    /// Times this node's own lease ended and it took a new id.
    pub lease_lost: Counter,
    /// Statements and heartbeats that the store refused, such as over a key that holds no integer.
    pub refused: Counter,
    /// Requests that were answered with an error before they became a socket.
    pub rejected: Counter,
}

impl Metrics {
    /// The metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut registry = Registry::with_prefix("headcount");
        let r = &mut registry;
        r.register("sockets", "Open WebSocket connections and event streams", self.sockets.clone());
        r.register("closed", "WebSocket connections and event streams closed, by reason", self.closed.clone());
        r.register("channels", "Channels that clients of this node have joined or watch", self.channels.clone());
        r.register("messages", "Messages that came from the store", self.messages.clone());
        r.register("deliveries", "Messages given to a socket", self.deliveries.clone());
        r.register("blocked", "Times a socket would block and bytes had to wait", self.blocked.clone());
        r.register("store_up", "1 while the store answers and the subscription is live", self.store_up.clone());
        r.register("store_serving", "1 while this process serves the embedded store", self.store_serving.clone());
        r.register("store_lost", "Times the store or the subscription was lost", self.store_lost.clone());
        r.register("store_cut", "Times the store ended a subscription that was behind", self.store_cut.clone());
        r.register("statements", "Numbers that this node stated", self.statements.clone());
        r.register("reaped", "Dead nodes whose tallies this node withdrew", self.reaped.clone());
        r.register("repaired", "Totals that a repair of this node changed", self.repaired.clone());
        r.register("lease_lost", "Times this node's own lease ended", self.lease_lost.clone());
        r.register("refused", "Statements and heartbeats that the store refused", self.refused.clone());
        r.register("rejected", "Requests that were answered with an error", self.rejected.clone());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
