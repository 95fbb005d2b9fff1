//! Writes the state's news to the log and the metrics: one line per change, however many channels it concerns.

use std::time::{Duration, Instant};

use super::effect::News;
use crate::log::Throttle;
use crate::metrics::Metrics;

/// How long further news of the same kind is collected after a line; one more line then sums it up.
const WINDOW: Duration = Duration::from_secs(1);

/// See the module.
pub struct Report {
    metrics: Metrics,
    repaired: Burst,
    lost: Burst,
    mended: Burst,
    denied: Throttle,
}

/// When a line was written, and how many more of its kind have come since.
#[derive(Default)]
struct Burst {
    since: Option<Instant>,
    more: u64,
}

impl Burst {
    /// Whether this one gets a line of its own.
    fn is_first(&mut self, now: Instant) -> bool {
        if self.since.is_some() {
            self.more += 1;
            return false;
        }
        self.since = Some(now);
        true
    }

    /// How many more there were, once the window is over.
    fn over(&mut self, now: Instant) -> Option<u64> {
        self.since.filter(|since| now.saturating_duration_since(*since) >= WINDOW)?;
        self.since = None;
        Some(std::mem::take(&mut self.more)).filter(|more| *more > 0)
    }
}

impl Report {
    /// A report that has nothing to say yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            repaired: Burst::default(),
            lost: Burst::default(),
            mended: Burst::default(),
            denied: Throttle::new(),
        }
    }

    /// Logs what was collected, once a window is over.
    pub fn sum_up(&mut self, now: Instant) {
        if let Some(channels) = self.repaired.over(now) {
            tracing::warn!(channels, "repaired more totals");
        }
        if let Some(channels) = self.lost.over(now) {
            tracing::warn!(channels, "the store had lost more of this node's shares; stating them again");
        }
        if let Some(channels) = self.mended.over(now) {
            tracing::warn!(channels, "repaired the keys of more channels");
        }
    }

    /// Reports one piece of news.
    pub fn tell(&mut self, news: News, now: Instant) {
        match news {
            News::Stating => {
                self.metrics.statements.inc();
            }
            News::Held(node) => tracing::debug!(%node, "took the lease"),
            News::Gone { id, expected } => {
                self.metrics.lease_lost.inc();
                if !expected {
                    tracing::warn!(node = %id, "this node's lease had expired; stating everything under a new id");
                }
            }
            News::Refused => {
                self.metrics.refused.inc();
            }
            News::Denied(channel, why) => {
                self.metrics.refused.inc();
                if let Some(left_out) = self.denied.pass_at(now) {
                    tracing::error!(
                        channel = &*channel,
                        why,
                        left_out,
                        "the store does not let this server count on a channel: allow it in the user's ACL"
                    );
                }
            }
            News::Unusable(channel, why) => {
                self.metrics.refused.inc();
                tracing::error!(
                    channel = &*channel,
                    why,
                    "the channel cannot be counted: free its key, or name another channel"
                );
            }
            News::Usable(channel, total) => {
                tracing::info!(channel = &*channel, total, "the channel is counted again");
            }
            News::Repaired(channel, total) => {
                self.metrics.repaired.inc();
                if self.repaired.is_first(now) {
                    tracing::warn!(channel = &*channel, total, "repaired a total that did not match the shares");
                }
            }
            News::ShareLost(channel) => {
                if self.lost.is_first(now) {
                    tracing::warn!(channel = &*channel, "the store had lost this node's share; stating it again");
                }
            }
            News::Mended(channel, damage) => {
                if self.mended.is_first(now) {
                    tracing::warn!(channel = &*channel, damage, "repaired the channel's keys");
                }
            }
            News::Reaped(node, channels) => {
                self.metrics.reaped.inc();
                tracing::info!(%node, channels, "withdrew the shares of a node whose lease had expired");
            }
            News::NotYet(what, error) => tracing::debug!(%error, "{what}"),
        }
    }
}
