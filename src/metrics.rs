//! What this node counts about itself: one struct, handed to every layer, read by `/metrics`.
//!
//! A metric is one row of the list below: its help text, name and type. It is registered once, when the node
//! starts. The names follow Prometheus' conventions and include the unit. No label has an unbounded set of
//! values, so there is no label for a channel or a client.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
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

/// A limit that applies to each address, or to each token. The first five are rates per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Limit {
    /// Connections, and requests on open connections.
    Connects,
    /// Channels joined or watched.
    Joins,
    /// Channels joined or watched that no client of this node had before.
    NewChannels,
    /// Tokens shown.
    Tokens,
    /// Messages of all clients of an address.
    Messages,
    /// Clients.
    Clients,
    /// Channels that clients of an address were the first to open.
    Channels,
    /// Messages published with one token.
    Publishes,
}

impl Limit {
    /// Returns the configuration key that sets the limit.
    pub fn key(self) -> &'static str {
        match self {
            Self::Connects => "limits.connects_per_second",
            Self::Joins => "limits.joins_per_second",
            Self::NewChannels => "limits.new_channels_per_second",
            Self::Tokens => "limits.tokens_per_second",
            Self::Messages => "limits.messages_per_address",
            Self::Channels => "limits.channels_per_address",
            Self::Clients => "limits.clients_per_address",
            Self::Publishes => "limits.publishes_per_second",
        }
    }
}

/// The label of [`Metrics::limited`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Limited {
    /// Which limit was reached.
    pub limit: Limit,
}

/// Declares the metrics. The doc comment of a row is also its help text in Prometheus.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ty;)+) => {
        /// Every metric of this node. Cloning shares the values.
        #[derive(Debug, Clone)]
        pub struct Metrics {
            $($(#[doc = $help])+ pub $name: $kind,)+
            registry: Arc<Registry>,
        }

        /// The name and help text of every metric, for documentation and tests.
        pub const METRICS: &[(&str, &str)] = &[$((stringify!($name), concat!($($help),+))),+];

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("headcount");
                $(
                    let $name = <$kind>::default();
                    // The encoder ends each help text with a full stop of its own.
                    let help = concat!($($help),+).trim().trim_end_matches('.');
                    registry.register(stringify!($name), help, $name.clone());
                )+
                Self { $($name,)+ registry: Arc::new(registry) }
            }
        }
    };
}

metrics! {
    /// Times an address or a token met one of its limits.
    limited: Family<Limited, Counter>;
    /// Times the keys of auth.jwks could not be fetched.
    key_fetches_failed: Counter;
    /// Open WebSocket connections and event streams.
    sockets: Gauge;
    /// WebSocket connections and event streams closed, by reason.
    closed: Family<Reason, Counter>;
    /// Channels that clients of this node have joined or watch.
    channels: Gauge;
    /// Visitors who were not counted when they joined, because their address had as many as
    /// limits.visitors_per_address allows.
    visitors_not_counted: Counter;
    /// Messages that came from the store.
    messages: Counter;
    /// Messages longer than limits.client_buffer, which were not relayed.
    too_long: Counter;
    /// Messages given to a socket: handed to the kernel, or queued.
    deliveries: Counter<u64, AtomicU64>;
    /// Times a socket would block, so that bytes had to wait in this process.
    blocked: Counter<u64, AtomicU64>;
    /// 1 while the store accepts heartbeats and acknowledges subscriptions.
    store_up: Gauge;
    /// 1 while this process serves the embedded store.
    store_serving: Gauge;
    /// Times the connection to the store, or the subscription, was lost.
    store_lost: Counter;
    /// Times the store cut the subscription off and went on running.
    store_cut: Counter;
    /// Times the part of a cluster that has a channel was out of reach, while others were not.
    channels_degraded: Counter;
    /// Times a primary of a cluster said that a slot has moved to another server.
    store_moved: Counter;
    /// Times a primary of a cluster said that a key may already be on another server, while its slot moves.
    store_asked: Counter;
    /// Statements of how many clients this node has on a channel.
    statements: Counter;
    /// Dead nodes whose tallies this node withdrew.
    reaped: Counter;
    /// Totals that a repair of this node changed.
    repaired: Counter;
    /// Times this node's own lease ended and it took a new id.
    lease_lost: Counter;
    /// Statements, heartbeats and subscriptions that the store refused.
    refused: Counter;
    /// Reads of boards.
    board_reads: Counter;
    /// Reads of boards that the store refused.
    board_refused: Counter;
    /// 1 while the store reports changes to boards, 0 while they are read at every pace tick.
    boards_tracked: Gauge;
    /// Requests that were answered with an error before they became a socket.
    rejected: Counter;
}

impl Metrics {
    /// Returns the metrics in the OpenMetrics text format, which Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_shown_with_its_help_and_its_present_value() {
        let metrics = Metrics::default();
        metrics.clone().sockets.set(7);
        metrics.closed.get_or_create(&Reason { reason: "normal" }).inc();
        metrics.limited.get_or_create(&Limited { limit: Limit::Connects }).inc();
        let text = metrics.render();
        assert!(text.contains("\nheadcount_sockets 7\n"), "{text}");
        for (name, help) in METRICS {
            assert!(text.contains(&format!("# HELP headcount_{name} {}", help.trim())), "{name} is not in:\n{text}");
        }
    }
}
