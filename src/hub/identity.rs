//! Who a client is, and who that is on one channel.

use sha2::{Digest, Sha256};

use crate::presence::VisitorId;

/// Who a client is, for as long as it is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Whoever keeps this id, in as many connections as they like.
    Client(Box<str>),
    /// Nobody knows: the connection is a visitor of its own, by these random bits.
    Connection([u8; 16]),
}

impl Identity {
    /// A connection that did not say whose it is.
    pub fn draw() -> Self {
        let mut bits = [0; 16];
        if getrandom::fill(&mut bits).is_err() {
            fastrand::fill(&mut bits);
        }
        Self::Connection(bits)
    }

    /// Who that is on one channel: a hash, so that an id never reaches the store, and that nobody can be
    /// followed from channel to channel. Two kinds of identity are never the same visitor.
    pub fn on(&self, channel: &str) -> VisitorId {
        let (kind, id): (&[u8], &[u8]) = match self {
            Self::Client(id) => (b"client", id.as_bytes()),
            Self::Connection(bits) => (b"connection", bits),
        };
        // No kind and no channel name holds a zero, so no two triples have the same bytes.
        let hash = Sha256::new().chain_update(kind).chain_update([0]).chain_update(channel).chain_update([0]);
        let hash = hash.chain_update(id).finalize();
        let mut visitor = [0; 16];
        visitor.copy_from_slice(&hash[..16]);
        VisitorId(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_is_the_same_on_all_nodes_and_another_on_each_channel() {
        let ann = Identity::Client("0123456789abcdef".into());
        assert_eq!(ann.on("page:/"), Identity::Client("0123456789abcdef".into()).on("page:/"));
        // sha256("client\0page:/\00123456789abcdef"): other versions must compute the same.
        assert_eq!(ann.on("page:/").0[..4], [0x44, 0xeb, 0xe5, 0x08]);
        assert_ne!(ann.on("page:/"), ann.on("page:/a"));
        assert_ne!(ann.on("page:/"), Identity::Connection(*b"0123456789abcdef").on("page:/"));
        assert_ne!(Identity::draw(), Identity::draw());
    }
}
