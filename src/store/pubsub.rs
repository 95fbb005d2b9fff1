//! Subscriptions: which clients listen to which names.
//!
//! There are three registries (channels, patterns and shard channels), each of which maps a name to its
//! subscribers. A published message is only counted and queued here; the server delivers it when the
//! command that published it has ended.

use indexmap::{IndexMap, IndexSet};

use super::error::CommandError;
use super::small_bytes::SmallBytes;
use crate::glob;

/// The slot of a client in the server's table.
pub type ClientSlot = usize;

/// What kind of name a subscription is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionKind {
    /// One channel.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// One shard channel; on a single server this is just a separate namespace.
    Shard,
}

impl SubscriptionKind {
    /// The first word of a delivered message.
    pub fn message(self) -> &'static [u8] {
        match self {
            Self::Channel => b"message",
            Self::Pattern => b"pmessage",
            Self::Shard => b"smessage",
        }
    }
}

/// A message that waits for delivery.
#[derive(Debug)]
pub struct Message {
    /// The channel to which it was published.
    pub channel: SmallBytes,
    /// The content that was published.
    pub payload: SmallBytes,
    /// [`SubscriptionKind::Channel`] or [`SubscriptionKind::Shard`].
    pub kind: SubscriptionKind,
}

type Names = IndexMap<SmallBytes, IndexSet<ClientSlot>>;

/// All subscriptions; see the module's text.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: Names,
    patterns: Names,
    shards: Names,
    /// Messages that the running command has published.
    pub outbox: Vec<Message>,
    /// The size of these messages, in bytes.
    pub outgoing: usize,
}

/// The number of bytes that one script or transaction may publish.
const OUTGOING: usize = 256 << 20;

impl PubSub {
    /// Adds a subscription that the client does not have yet.
    pub fn subscribe(&mut self, kind: SubscriptionKind, name: &[u8], slot: ClientSlot) {
        self.names_mut(kind).entry(SmallBytes::new(name)).or_default().insert(slot);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, kind: SubscriptionKind, name: &[u8], slot: ClientSlot) {
        let names = self.names_mut(kind);
        if let Some(slots) = names.get_mut(name) {
            slots.swap_remove(&slot);
            if slots.is_empty() {
                names.swap_remove(name);
            }
        }
    }

    /// Queues a message; returns how many subscriptions it matches. A message without subscribers is not queued.
    pub fn publish(&mut self, channel: &[u8], payload: &[u8], kind: SubscriptionKind) -> Result<usize, CommandError> {
        let direct = self.names(kind).get(channel).map_or(0, IndexSet::len);
        let receivers = direct + self.matching(channel, kind).map(|(_, slots)| slots.len()).sum::<usize>();
        if receivers > 0 {
            if self.outgoing > OUTGOING {
                return Err(CommandError::new("OOM one script or transaction may not publish so much"));
            }
            self.outgoing += channel.len() + payload.len() + size_of::<Message>();
            let message = Message { channel: SmallBytes::new(channel), payload: SmallBytes::new(payload), kind };
            self.outbox.push(message);
        }
        Ok(receivers)
    }

    /// The clients that are subscribed to a message's channel by its name.
    pub fn direct(&self, message: &Message) -> impl Iterator<Item = ClientSlot> + '_ {
        self.names(message.kind).get(&message.channel).into_iter().flatten().copied()
    }

    /// The patterns that a channel matches, each with its clients.
    pub fn matching(
        &self,
        channel: &[u8],
        kind: SubscriptionKind,
    ) -> impl Iterator<Item = (&SmallBytes, &IndexSet<ClientSlot>)> {
        self.patterns
            .iter()
            .filter(move |(pattern, _)| kind == SubscriptionKind::Channel && glob::matches(pattern, channel))
    }

    /// Whether anybody listens to channels, by name or by pattern.
    pub fn has_listeners(&self) -> bool {
        !(self.channels.is_empty() && self.patterns.is_empty())
    }

    /// The channels or shard channels that have subscribers.
    pub fn active(&self, kind: SubscriptionKind) -> impl Iterator<Item = &[u8]> {
        self.names(kind).keys().map(|name| &**name)
    }

    /// The number of subscribers to a name.
    pub fn subscribers(&self, kind: SubscriptionKind, name: &[u8]) -> usize {
        self.names(kind).get(name).map_or(0, IndexSet::len)
    }

    /// The number of names of a kind that have subscribers.
    pub fn count(&self, kind: SubscriptionKind) -> usize {
        self.names(kind).len()
    }

    fn names(&self, kind: SubscriptionKind) -> &Names {
        match kind {
            SubscriptionKind::Channel => &self.channels,
            SubscriptionKind::Pattern => &self.patterns,
            SubscriptionKind::Shard => &self.shards,
        }
    }

    fn names_mut(&mut self, kind: SubscriptionKind) -> &mut Names {
        match kind {
            SubscriptionKind::Channel => &mut self.channels,
            SubscriptionKind::Pattern => &mut self.patterns,
            SubscriptionKind::Shard => &mut self.shards,
        }
    }
}
