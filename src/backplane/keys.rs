//! Every key and channel name that this program uses in the store.
//!
//! `v1` is the version of the key layout; a later layout takes another number and can exist beside
//! this one. The braces put all keys of a channel into one Redis Cluster slot.

use std::sync::Arc;

/// What the name of one of our keys stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum StoreKey<'a> {
    /// The set of the channels of the node with this id.
    Node(&'a [u8]),
    /// One of the keys kept alongside this channel's total.
    OfChannel(&'a str),
}

/// The key names under one prefix.
///
/// ```
/// use headcount::backplane::Keys;
///
/// let keys = Keys::new("shop:");
/// assert_eq!(keys.total("users:count"), "shop:users:count");
/// assert_eq!(keys.tally("users:count"), "shop:headcount:v1:{shop:users:count}:tally");
/// ```
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Creates the names under `prefix`, which precedes every key and every channel name.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// A channel's name in the store, which is also the key of its total: a plain integer.
    pub fn total(&self, channel: &str) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// Hash: node id to the node's count on the channel.
    pub fn tally(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:tally", self.prefix)
    }

    /// The part of the total that headcount itself added: the sum of the tally when the total was last changed.
    pub fn own(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:own", self.prefix)
    }

    /// Hash: visitor to the numbers of the nodes where this visitor is present.
    pub fn people(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:people", self.prefix)
    }

    /// Hash: number of a node, as in `people`, to the node that has it.
    pub fn owner(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:owner", self.prefix)
    }

    /// Hash: visitor to what others are told about this visitor. Changes are published on a channel of the same name.
    pub fn members(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:members", self.prefix)
    }

    /// Returns the channel whose member changes are published under this name.
    pub fn of_members<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix(&*self.prefix)?.strip_prefix("headcount:v1:{")?.strip_suffix("}:members")?;
        self.channel(name)
    }

    /// Sorted set, only in a cluster: id whose share was withdrawn for good, to the time when it was.
    pub fn dead(&self, channel: &str) -> String {
        format!("{0}headcount:v1:{{{0}{channel}}}:dead", self.prefix)
    }

    /// Sorted set: node id to the end of its lease, in milliseconds of the store's clock.
    pub fn nodes(&self) -> String {
        format!("{}headcount:v1:nodes", self.prefix)
    }

    /// Set: the channels in which a node may have a tally.
    pub fn node(&self, id: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"headcount:v1:node:", id].concat()
    }

    /// The pattern with which `SCAN` finds all of these keys.
    pub fn pattern(&self) -> String {
        let mut pattern = String::new();
        for letter in self.prefix.chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern + "headcount:v1:*"
    }

    /// Parses a key's name, if it is the name of a node's or a channel's key.
    pub fn parse<'a>(&self, name: &'a [u8]) -> Option<StoreKey<'a>> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"headcount:v1:")?;
        if let Some(id) = rest.strip_prefix(b"node:") {
            return Some(StoreKey::Node(id));
        }
        // A channel's name may itself contain braces.
        let inside = rest.strip_prefix(b"{")?;
        let end = inside.windows(2).rposition(|two| two == b"}:")?;
        self.channel(std::str::from_utf8(&inside[..end]).ok()?).map(StoreKey::OfChannel)
    }

    /// Sorted set: `sub:…` or `jti:…` to the time until which such tokens are revoked, in milliseconds since 1970.
    /// Additions are published under the same name.
    pub fn revoked(&self) -> String {
        format!("{}headcount:v1:revoked", self.prefix)
    }

    /// The prefix of all keys that are this program's own.
    pub fn own_prefix(&self) -> String {
        format!("{}headcount:", self.prefix)
    }

    /// Returns the channel that a name in the store stands for.
    pub fn channel<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&*self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_key_it_is() {
        for prefix in ["", "a*[b]\\?:"] {
            let keys = Keys::new(prefix);
            for channel in ["users:count", "{a}:tally", "}:", "é"] {
                let of_it = Some(StoreKey::OfChannel(channel));
                for name in [keys.tally(channel), keys.own(channel), keys.people(channel), keys.owner(channel)] {
                    assert_eq!(keys.parse(name.as_bytes()), of_it, "{name}");
                }
                assert_eq!(keys.parse(keys.total(channel).as_bytes()), None);
            }
            assert_eq!(keys.parse(&keys.node(b"ab\xff")), Some(StoreKey::Node(b"ab\xff")));
            assert_eq!(keys.parse(keys.nodes().as_bytes()), None);
        }
        assert_eq!(Keys::new("a*[b]\\?:").pattern(), r"a\*\[b\]\\\?:headcount:v1:*");
        assert_eq!(Keys::new("a:").parse(b"b:headcount:v1:node:x"), None);
        assert_eq!(Keys::new("").parse(b"headcount:v1:{x"), None);
        assert_eq!(Keys::new("").parse(b"headcount:v1:{\xff}:tally"), None);
    }

    #[test]
    fn the_keys_of_a_channel_share_a_cluster_slot() {
        let keys = Keys::new("staging:");
        assert_eq!(keys.total("users:count"), "staging:users:count");
        assert_eq!(keys.tally("users:count"), "staging:headcount:v1:{staging:users:count}:tally");
        assert_eq!(keys.own("users:count"), "staging:headcount:v1:{staging:users:count}:own");
        assert_eq!(keys.channel("staging:users:count"), Some("users:count"));
        assert_eq!(keys.channel("users:count"), None);
        assert_eq!(keys.members("room:1"), "staging:headcount:v1:{staging:room:1}:members");
        assert_eq!(keys.of_members("staging:headcount:v1:{staging:room:1}:members"), Some("room:1"));
        assert_eq!(keys.of_members("staging:headcount:v1:{staging:room:1}:people"), None);
    }
}
