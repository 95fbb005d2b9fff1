//! Who a client is, and which visitor it is on each channel.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::presence::{Profile, VisitorId};

/// Who a client is for as long as it is connected, and what others may be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub who: Who,
    /// What its token says about it, for clients that may see who is here.
    pub info: Option<Arc<Info>>,
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The `sub` of a verified token; it may have any number of connections.
    Subject(Box<str>),
    /// An id that the client keeps; it may have any number of connections.
    Client(Box<str>),
    /// Unknown: the connection is a visitor of its own, identified by these random bits.
    Connection([u8; 16]),
}

/// A token's `info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// One JSON value without line breaks, at most 1 KiB.
    pub json: Box<str>,
    /// When the token was issued, in seconds since 1970; 0 if it does not say. Of several tokens, the
    /// newest counts.
    pub made: u64,
}

impl From<Who> for Identity {
    fn from(who: Who) -> Self {
        Self { who, info: None }
    }
}

impl Identity {
    /// Returns the identity of a client that keeps this id.
    pub fn client(id: &str) -> Self {
        Who::Client(id.into()).into()
    }

    /// Returns a random identity, for a connection that did not say who it is.
    pub fn draw() -> Self {
        let mut bits = [0; 16];
        if getrandom::fill(&mut bits).is_err() {
            fastrand::fill(&mut bits);
        }
        Who::Connection(bits).into()
    }

    /// Returns what others may see of it: the name and the info from its token.
    pub fn profile(&self) -> Option<Arc<Profile>> {
        let name = if let Who::Subject(sub) = &self.who { Some(sub.clone()) } else { None };
        let info = self.info.as_ref();
        if name.is_none() && info.is_none() {
            return None;
        }
        let made = info.map_or(0, |info| info.made);
        Some(Arc::new(Profile { name, info: info.map(|info| info.json.clone()), made }))
    }

    /// Returns the visitor that it is on one channel: a hash, so that no id reaches the store and nobody
    /// can be tracked from channel to channel. Two kinds of identity never give the same visitor.
    pub fn on(&self, channel: &str) -> VisitorId {
        let (kind, id): (&[u8], &[u8]) = match &self.who {
            Who::Subject(sub) => (b"subject", sub.as_bytes()),
            Who::Client(id) => (b"client", id.as_bytes()),
            Who::Connection(bits) => (b"connection", bits),
        };
        // Neither a kind nor a channel name contains a zero byte, so no two triples have the same bytes.
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
        let ann = Identity::client("0123456789abcdef");
        assert_eq!(ann.on("page:/"), Identity::client("0123456789abcdef").on("page:/"));
        // sha256("client\0page:/\00123456789abcdef"): every version must compute the same hash.
        assert_eq!(ann.on("page:/").0[..4], [0x44, 0xeb, 0xe5, 0x08]);
        assert_ne!(ann.on("page:/"), ann.on("page:/a"));
        let others = [Who::Connection(*b"0123456789abcdef"), Who::Subject("0123456789abcdef".into())];
        for other in others.map(Identity::from) {
            assert_ne!(ann.on("page:/"), other.on("page:/"));
        }
        assert_ne!(Identity::draw(), Identity::draw());
    }

    #[test]
    fn what_a_token_says_of_somebody_makes_nobody_else_of_them() {
        let ann = Identity::from(Who::Subject("ann".into()));
        let told = Identity { info: Some(Arc::new(Info { json: "{}".into(), made: 1 })), ..ann.clone() };
        assert_eq!(told.on("page:/"), ann.on("page:/"));
        let profile = Profile { name: Some("ann".into()), info: Some("{}".into()), made: 1 };
        assert_eq!((told.profile().as_deref(), Identity::draw().profile()), (Some(&profile), None));
    }
}
